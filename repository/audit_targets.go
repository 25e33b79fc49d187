package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

// edge is one delegation: how clients come to a role.
type edge struct {
	delegator, role string
	authority       authority
	covers          func(target string) bool
	hashed          bool // by the hash of the target's path
}

// maxAuditedBits is the largest succinct delegation that is followed. TAP 15
// allows 2^32 bins.
const maxAuditedBits = 20

// walk checks targets and all it delegates to, each delegation once.
func (a *auditor) walk(targets authority) {
	all := func(string) bool { return true }
	a.follow(edge{role: metadata.TARGETS, authority: targets, covers: all}, map[[2]string]bool{})
}

func (a *auditor) follow(e edge, seen map[[2]string]bool) {
	if key := [2]string{e.delegator, e.role}; a.done() || seen[key] {
		return
	} else {
		seen[key] = true
	}
	meta, ok := a.snapshot.Meta[e.role+".json"]
	if !ok {
		by := "clients ask for"
		if e.delegator != "" {
			by = e.delegator + " delegates to"
		}
		a.errorf(checkMissing, a.fileName(metadata.SNAPSHOT, a.current[metadata.SNAPSHOT]), "it doesn't name the role %q, which %s", e.role, by)
		a.partial = true
		return
	}
	name := a.fileName(e.role, meta.Version)
	doc := fetch[metadata.TargetsType](a, expected{name: name, authority: e.authority, meta: *meta, limit: targetsLimit})
	if doc == nil {
		a.partial = true
		return
	}
	signed := doc.Signed()
	soon := a.cfg.Soon
	if e.hashed && signed.Delegations == nil {
		soon = a.cfg.SoonOnline
	}
	a.expiry(name, doc.Expires(), soon)
	for _, target := range slices.Sorted(maps.Keys(signed.Targets)) {
		a.target(name, target, signed.Targets[target], e)
	}
	if signed.Delegations == nil {
		return
	}
	a.recordBins(e.role, doc)
	a.delegations(name, e.role, signed.Delegations, seen)
}

// delegations follows each of a document's delegations.
func (a *auditor) delegations(name, role string, d *metadata.Delegations, seen map[[2]string]bool) {
	cache := authorityCache{}
	for i := range d.Roles {
		if a.done() {
			return
		}
		r := &d.Roles[i]
		a.follow(edge{
			delegator: role, role: r.Name,
			authority: cache.get(a, name, r.Name, d.Keys, r.KeyIDs, r.Threshold),
			covers:    func(target string) bool { return covers(r, target) },
			hashed:    len(r.PathHashPrefixes) > 0,
		}, seen)
	}
	s := d.SuccinctRoles
	if s == nil {
		return
	}
	if s.BitLength > maxAuditedBits {
		a.warnf(checkDelegation, name, "it delegates to 2^%d bins, and at most 2^%d are audited", s.BitLength, maxAuditedBits)
		a.partial = true
		return
	}
	auth := cache.get(a, name, s.NamePrefix+"-…", d.Keys, s.KeyIDs, s.Threshold)
	for i := range uint64(1) << s.BitLength {
		if a.done() {
			return
		}
		a.follow(edge{
			delegator: role, role: fmt.Sprintf("%s-%0*x", s.NamePrefix, (s.BitLength+3)/4, i),
			authority: auth,
			covers:    func(target string) bool { return binOf(target, s.BitLength) == i },
			hashed:    true,
		}, seen)
	}
}

// binOf is the bin of a target among 2^bits.
func binOf(target string, bits int) uint64 {
	sum := sha256.Sum256([]byte(target))
	var first uint64
	for _, b := range sum[:4] {
		first = first<<8 | uint64(b)
	}
	return first >> (32 - bits)
}

// covers tells whether a delegation leads clients that look for target to its role.
func covers(r *metadata.DelegatedRole, target string) bool {
	if len(r.Paths) > 0 {
		return slices.ContainsFunc(r.Paths, func(pattern string) bool { return matches(pattern, target) })
	}
	sum := sha256.Sum256([]byte(target))
	digest := hex.EncodeToString(sum[:])
	return slices.ContainsFunc(r.PathHashPrefixes, func(prefix string) bool { return strings.HasPrefix(digest, prefix) })
}

// matches is for patterns in which "*" ends at a "/", on which clients agree.
func matches(pattern, target string) bool {
	ok, err := path.Match(pattern, target)
	return err == nil && ok
}

// target checks one entry of the role that e leads to.
func (a *auditor) target(name, target string, entry *metadata.TargetFiles, e edge) {
	t := roles.Target{Path: target, Length: entry.Length, Hashes: map[string]string{}}
	for algorithm, h := range entry.Hashes {
		t.Hashes[algorithm] = hex.EncodeToString(h)
	}
	if entry.Custom != nil {
		t.Custom = *entry.Custom
	}
	if !e.covers(target) {
		a.report(Finding{SeverityError, checkMisplaced, name, target,
			fmt.Sprintf("clients don't look for it here: %s doesn't delegate this path to %s", e.delegator, e.role)})
	}
	if err := t.Validate(); err != nil {
		a.report(Finding{SeverityError, checkTarget, name, target, "some client refuses it: " + err.Error()})
	}
	if a.cfg.Targets != nil {
		a.targetFiles(t)
	}
}

// unreachable notes roles that the snapshot names and nothing delegates to.
func (a *auditor) unreachable() {
	if a.partial {
		return
	}
	for _, role := range slices.Sorted(maps.Keys(a.current)) {
		name := a.fileName(role, a.current[role])
		if role == metadata.SNAPSHOT || role == metadata.ROOT || a.used[name] {
			continue
		}
		a.used[name] = true
		a.notef(checkDelegation, name, "the snapshot names it, and nothing delegates to it")
	}
}
