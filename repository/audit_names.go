package repository

import (
	"net/url"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// leftovers reports names in the store that clients don't ask for.
func (a *auditor) leftovers() {
	slices.Sort(a.listed)
	for _, name := range a.listed {
		if a.done() {
			return
		}
		if plain, err := url.PathUnescape(name); a.used[name] || err == nil && a.used[plain] {
			continue
		}
		role, ok := roleOf(name)
		if !ok {
			a.notef(checkStray, name, "it is not the name of any metadata")
			continue
		}
		if a.partial {
			continue // it may be in use
		}
		version, versionedRole, ok := parseVersioned(name)
		if !ok {
			a.notef(checkOrphan, name, "nothing refers to the file %q without a version", role)
			continue
		}
		a.leftover(name, versionedRole, version)
	}
}

// leftover is for the metadata of a role in a version that isn't the current one.
// Earlier ones are there for clients that paused.
func (a *auditor) leftover(name, role string, version int64) {
	current, known := a.current[role]
	// The versions of these are generations.
	online := role != metadata.TARGETS && role != delegation.BinsRole
	switch {
	case !known || !a.consistent:
		a.notef(checkOrphan, name, "nothing refers to it")
	case online && a.journal.burnt(version):
		a.notef(checkOrphan, name, "generation %d was given up before it was published", version)
	case version > current:
		a.notef(checkOrphan, name, "clients see version %d: it will be published, or was given up", current)
	}
}

// succession compares the snapshot with the one before it, if that is still there
// and by the same keys: clients refuse one from which names vanished, or in which
// versions went down (TUF specification, 5.5.5).
func (a *auditor) succession(keys authority) {
	var before int64
	for _, name := range a.listed {
		version, role, ok := parseVersioned(name)
		if ok && role == metadata.SNAPSHOT && version < a.current[metadata.SNAPSHOT] && version > before && !a.journal.burnt(version) {
			before = version
		}
	}
	if before == 0 || !a.consistent || a.done() {
		return
	}
	name := versioned(before, metadata.SNAPSHOT)
	data, err := a.store.Get(a.ctx, name)
	if err != nil {
		return
	}
	old, err := roles.ParseSnapshot(data)
	if err != nil || keys.Verify(old) != nil {
		return // clients that have it start anew
	}
	current := versioned(a.current[metadata.SNAPSHOT], metadata.SNAPSHOT)
	for m, err := range old.Meta() {
		if err != nil {
			return
		}
		switch version, named := a.current[m.Role]; {
		case !named:
			a.errorf(checkVersion, current, "it doesn't name %s.json, which %s does: clients that saw that refuse it", m.Role, name)
		case version < m.Version:
			a.warnf(checkVersion, current, "it names version %d of %s, and %s version %d: if that was published, clients that saw it refuse this",
				version, m.Role, name, m.Version)
		}
	}
}
