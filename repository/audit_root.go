package repository

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

// maxRootSteps is how many roots a client follows in one refresh.
const maxRootSteps = 256

// roots checks the chain of all roots and returns the newest that is trusted,
// or nil if none is.
func (a *auditor) roots() (*roles.Document[metadata.RootType], error) {
	var versions []int64
	for _, name := range a.listed {
		if version, role, ok := parseVersioned(name); ok && role == metadata.ROOT {
			versions = append(versions, version)
		}
	}
	if len(versions) == 0 {
		return nil, fmt.Errorf("%w: there is no root metadata", ErrNotRepository)
	}
	slices.Sort(versions)
	versions = append(versions, a.newRoots(versions[len(versions)-1])...)
	if n := versions[len(versions)-1] - 1; n > maxRootSteps {
		a.warnf(checkVersion, versioned(n+1, metadata.ROOT), "clients that begin with root 1 follow %d new roots at a time, and there are %d", maxRootSteps, n)
	}
	var last, trusted *roles.Document[metadata.RootType]
	before := int64(0)
	for _, v := range versions {
		if v > before+1 {
			a.rootGap(before+1, v-1)
		}
		before = v
		root, sound := a.root(v, last)
		if root != nil {
			last = root
		}
		if sound {
			trusted = root
		}
	}
	if trusted == nil {
		trusted = last // reported; there is nothing better to go on with
	}
	if trusted == nil {
		a.partial = true
		return nil, nil
	}
	a.expiry(versioned(trusted.Version(), metadata.ROOT), trusted.Expires(), a.cfg.Soon)
	return trusted, nil
}

// newRoots are those that were written since the store was listed: clients ask for
// the next root until there is none.
func (a *auditor) newRoots(last int64) []int64 {
	var versions []int64
	for !a.done() {
		last++
		if _, err := a.store.Get(a.ctx, versioned(last, metadata.ROOT)); err != nil {
			break
		}
		versions = append(versions, last)
	}
	return versions
}

func (a *auditor) rootGap(first, last int64) {
	name := versioned(first, metadata.ROOT)
	switch {
	case first == 1 && last == 1:
		a.warnf(checkMissing, name, "it does not exist, so nobody can begin with it who doesn't have it")
	case first == last:
		a.errorf(checkMissing, name, "it does not exist: clients that trust an older root don't find the newer ones")
	default:
		a.errorf(checkMissing, name, "roots %d to %d do not exist: clients that trust an older one don't find the newer ones", first, last)
	}
}

// root checks one root, against last if that is the one before. sound tells that
// clients which trust last accept it.
func (a *auditor) root(version int64, last *roles.Document[metadata.RootType]) (root *roles.Document[metadata.RootType], sound bool) {
	name := versioned(version, metadata.ROOT)
	data, ok := a.get(name)
	if !ok {
		return nil, false
	}
	e := expected{name: name, meta: metadata.MetaFiles{Version: version}, limit: rootLimit}
	root, err := roles.Parse[metadata.RootType](data)
	r := judgeFile(e, data, root, err)
	if r == nil {
		err := verifyRole(root, root, metadata.ROOT)
		if err == nil && last != nil && last.Version()+1 == version {
			err = roles.VerifyRootUpdate(last, root)
		}
		if err != nil {
			r = &refusal{checkSignature, err.Error()}
		}
	}
	if r != nil {
		a.errorf(r.check, name, "%s", r.problem)
		return root, false
	}
	judgeForAll(a, name, root)
	if auth, err := roles.RootAuthority(root, metadata.ROOT); err == nil {
		a.spareSignatures(name, auth, root)
	}
	return root, true
}

// parseVersioned is the inverse of versioned.
func parseVersioned(name string) (version int64, role string, ok bool) {
	number, rest, found := strings.Cut(name, ".")
	role, isFile := roleOf(rest)
	version, err := strconv.ParseInt(number, 10, 64)
	return version, role, found && isFile && err == nil && version > 0 && versioned(version, role) == name
}

// roleOf returns the role of a file's name without a version.
func roleOf(file string) (role string, ok bool) {
	role, ok = strings.CutSuffix(file, ".json")
	return role, ok && role != ""
}
