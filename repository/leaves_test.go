package repository_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// fronted is a repository that begins as PEP 458's. Then roles come in front of its bins.
type fronted struct {
	*env
	version int64 // of targets
	people  roles.Authority
}

func inFronted(t *testing.T, f func(t *testing.T, e *fronted)) {
	synctest.Test(t, func(t *testing.T) {
		e := &fronted{env: newEnv(t, 4, delegation.Succinct), version: 2}
		e.people = repotest.Of(1, e.ceremony.NewEd25519())
		e.ceremony.NextTargets(func(bins *roles.Authority) { *bins = e.people })
		e.ceremony.NextBins(nil)
		e.cfg.Signers = map[string][]keys.Signer{"recent": {e.ceremony.Bins}, "older": {e.ceremony.Bins}}
		e.create()
		f(t, e)
		e.close()
	})
}

// role is a delegation that the index signs, or people do.
func (e *fronted) role(name string, paths ...string) delegation.Delegation {
	d := delegation.Delegation{Name: name, Keys: e.people, Paths: paths}
	if e.cfg.Signers[name] != nil {
		d.Keys = repotest.Of(1, e.ceremony.Bins)
	}
	return d
}

// front makes targets that delegates to roles in front of the bins.
func (e *fronted) front(front ...delegation.Delegation) repository.Documents {
	e.t.Helper()
	e.version++
	bins := delegation.Delegation{Name: "bins", Keys: e.people, HashPrefixes: []string{""}, Terminating: true}
	doc, err := delegation.NewRole("targets", e.version, time.Now().AddDate(1, 0, 0), append(front, bins))
	require.NoError(e.t, err)
	return repository.Documents{Roles: map[string][]byte{"targets": e.ceremony.SignTargets(doc)}}
}

// listing is a document that lists targets, signed by people.
func (e *fronted) listing(role string, version int64, targets ...roles.Target) []byte {
	e.t.Helper()
	files := map[string]*metadata.TargetFiles{}
	for _, t := range targets {
		var hashes metadata.Hashes
		for algorithm, hash := range t.Hashes {
			hashes = metadata.Hashes{algorithm: unhex(e.t, hash)}
		}
		files[t.Path] = &metadata.TargetFiles{Length: t.Length, Hashes: hashes}
	}
	doc, err := roles.New(metadata.TargetsType{
		Type: metadata.TARGETS, SpecVersion: roles.SpecVersion, Version: version,
		Expires: time.Now().UTC().Truncate(time.Second).AddDate(1, 0, 0), Targets: files,
	})
	require.NoError(e.t, err)
	return e.ceremony.SignRole(role, doc, e.people)
}

func unhex(t *testing.T, s string) (b metadata.HexBytes) {
	t.Helper()
	require.NoError(t, b.UnmarshalJSON([]byte(`"`+s+`"`)))
	return b
}

// binOf is the bin, of 4, that a path belongs to.
func binOf(path string) string {
	layout, _ := delegation.New("bins", 4, delegation.Succinct)
	return layout.Name(layout.Find(path))
}

// newestSeal is that of the newest generation.
func (e *env) newestSeal() (seal *ledger.Seal) {
	e.t.Helper()
	for step, err := range e.journal.Read(e.t.Context(), ledger.FromBeginning) {
		require.NoError(e.t, err)
		if step.Record != nil && step.Record.Kind() == ledger.KindSeal {
			seal = step.Record.Body.(*ledger.Seal)
		}
	}
	return seal
}

// in are the roles whose newest file lists a path.
func (e *env) in(path string, among ...string) (in []string) {
	e.t.Helper()
	for _, role := range among {
		_, data := e.newest(role)
		if _, ok := targetsOf(e.t, data)[path]; ok {
			in = append(in, role)
		}
	}
	return in
}

// A document puts roles in front of published paths. What clients find decides about items,
// wherever it is listed, and what is removed is gone from every role that the index signs.
func TestPathInSeveralRoles(t *testing.T) {
	t.Parallel()
	inFronted(t, func(t *testing.T, e *fronted) {
		old := map[string]roles.Target{}
		var first []roles.Target
		for _, path := range []string{"recent/same", "recent/taken", "recent/replaced", "recent/removed", "recent/twice", "recent/stays", "claimed/left", "claimed/by-both"} {
			old[path] = file(path, "old")
			first = append(first, old[path])
		}
		e.publish(first...)
		next := e.front(e.role("claimed", "claimed/*"), e.role("recent", "recent/*"), e.role("older", "recent/*"))
		byPeople := file("claimed/by-both", "people's")
		next.Roles["claimed"] = e.listing("claimed", 1, byPeople)
		require.NoError(t, e.install(next))
		e.note(repository.Item{Add: []roles.Target{byPeople}})
		e.check()
		all := []string{"recent", "older", "bins-0", "bins-1", "bins-2", "bins-3"}
		replaced, twice := file("recent/replaced", "new"), file("recent/twice", "new")
		got := e.outcomes(
			one("same", old["recent/same"], nil),
			one("taken", file("recent/taken", "new"), absent("recent/taken")),
			one("replaced", replaced, holds(old["recent/replaced"])),
			repository.Item{ID: "removed", Remove: []string{"recent/removed", "claimed/left", "recent/never"}, If: holds(old["recent/removed"])},
			repository.Item{ID: "never", Remove: []string{"claimed/never", "recent/removed"}},
			one("twice", twice, nil),
			one("twice-again", twice, holds(twice)),
		)
		published := repository.Outcome{State: repository.Published, Generation: 4}
		unchanged := repository.Outcome{State: repository.Unchanged, Generation: 4}
		require.Equal(t, []repository.Outcome{
			unchanged,
			{State: repository.Refused, Generation: 4, Reason: `target "recent/taken" exists: it is published with the SHA-256 ` + old["recent/taken"].Hashes["sha256"]},
			published, published, unchanged, published, unchanged,
		}, got)
		require.Equal(t, []string{binOf("recent/same")}, e.in("recent/same", all...))
		require.Equal(t, []string{"recent", binOf("recent/twice")}, e.in("recent/twice", all...))
		require.Empty(t, e.in("recent/removed", all...))
		require.Empty(t, e.in("claimed/left", all...))
		require.Equal(t, []ledger.RemovedTarget{
			{Path: "claimed/left", Hashes: old["claimed/left"].Hashes},
			{Path: "recent/removed", Hashes: old["recent/removed"].Hashes},
			{Path: "recent/replaced", Hashes: old["recent/replaced"].Hashes},
			{Path: "recent/twice", Hashes: old["recent/twice"].Hashes},
		}, e.newestSeal().Removed)
		e.check()

		// People own these paths: what they list stays, and nothing can be added.
		_, err := e.repo.Add(t.Context(), file("claimed/other", "1"))
		require.ErrorIs(t, err, repository.ErrSignedByPeople)
		require.ErrorContains(t, err, `the role "claimed"`)
		r, err := e.repo.Remove(t.Context(), "claimed/by-both")
		require.NoError(t, err)
		e.run(func() { e.wait(r, repository.Published) })
		require.Empty(t, e.in("claimed/by-both", all...))
		e.check()

		// Another order, and one more role that lists the path: removed, it is gone from all three.
		require.NoError(t, e.install(e.front(e.role("claimed", "claimed/*"), e.role("older", "recent/*"), e.role("recent", "recent/*"))))
		third := file("recent/twice", "third")
		e.publish(third)
		require.Equal(t, []string{"recent", "older", binOf("recent/twice")}, e.in("recent/twice", all...))
		e.check()
		r = e.remove("recent/twice")
		e.run(func() { e.wait(r, repository.Published) })
		require.Empty(t, e.in("recent/twice", all...))
		require.Equal(t, []ledger.RemovedTarget{
			{Path: "recent/twice", Hashes: third.Hashes}, {Path: "recent/twice", Hashes: twice.Hashes}, {Path: "recent/twice", Hashes: old["recent/twice"].Hashes},
		}, e.newestSeal().Removed)
		e.check()

		// All of it is made again from the journal.
		for _, role := range []string{"recent", "older", binOf("recent/twice"), binOf("claimed/left")} {
			e.requireRebuilt(role, e.reopen)
		}
		e.check()
	})
}

// Clients would lose what an online role lists if they looked in it no more: such a document is
// refused until that is removed.
func TestInstallRefusesToLoseTargets(t *testing.T) {
	inFronted(t, func(t *testing.T, e *fronted) {
		require.NoError(t, e.install(e.front(e.role("recent", "recent/*"), e.role("older", "older/*"))))
		e.publish(file("recent/a", "1"), file("recent/b", "1"), file("older/c", "1"))
		ends := e.role("claimed", "recent/b*")
		ends.Terminating = true
		hides := e.front(ends, e.role("recent", "recent/*"), e.role("older", "older/*"))
		hides.Roles["claimed"] = e.listing("claimed", 1, file("recent/b", "people's"))
		for lost, next := range map[string]repository.Documents{
			`recent: clients would look for its target "recent/a"`:  e.front(e.role("older", "older/*")),
			`recent: clients would look for its target "recent/b"`:  e.front(e.role("recent", "recent/a*"), e.role("older", "older/*")),
			`older: clients would look for its target "older/c"`:    e.front(e.role("recent", "recent/*"), e.role("older", "*")),
			`recent: clients would look for its target "recent/b" `: hides,
		} {
			err := e.install(next)
			require.ErrorContains(t, err, lost)
			require.ErrorContains(t, err, "remove that first, or keep the delegation")
		}
		status, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 3, status.Generation)
		e.check()

		// A file of a role that can't be read is no reason to refuse a document that delegates
		// the same, and one to refuse another.
		name, original := e.newest("recent")
		e.put(name, []byte("{}"))
		e.close()
		e.open()
		require.ErrorContains(t, e.install(e.front(e.role("older", "older/*"))), "recent: "+name)
		e.altered = name
		require.NoError(t, e.install(e.front(e.role("recent", "recent/*"), e.role("older", "older/*"))))
		e.put(name, original)
		e.altered = ""
		e.store.Forget(name)
		e.close()
		e.open()

		r := e.remove("recent/a", "recent/b")
		e.run(func() { e.wait(r, repository.Published) })
		require.NoError(t, e.install(e.front(e.role("older", "older/*"))))
		e.undelegated = []string{"recent"}
		e.check()
		e.publish(file("recent/a", "2"))
		require.Equal(t, []string{binOf("recent/a")}, e.in("recent/a", "bins-0", "bins-1", "bins-2", "bins-3", "recent"))
		e.check()
	})
}

// People take over a role that the index signed, and give it back. What the journal says of any
// time can still be made again: who signs a role now says nothing of then.
func TestRebuildAfterRoleChangedHands(t *testing.T) {
	t.Parallel()
	inFronted(t, func(t *testing.T, e *fronted) {
		role := e.role("recent", "recent/*")
		role.Keys = repotest.Of(1, e.ceremony.Bins, e.ceremony.NewEd25519())
		e.people.Keys = append(e.people.Keys, role.Keys.Keys[1])
		a, b := file("recent/a", "1"), file("recent/b", "1")
		require.NoError(t, e.install(e.front(role)))
		e.publish(append(files("x", 12), a, b)...)
		r := e.remove("recent/b", "packages/x/x-0.tar.gz")
		e.run(func() { e.wait(r, repository.Published) })
		document := func(version int64, targets ...roles.Target) repository.Documents {
			return repository.Documents{Roles: map[string][]byte{"recent": e.listing("recent", version, targets...)}}
		}
		require.NoError(t, e.install(document(1, a)))
		online := e.cfg.Signers
		rebuild := func(roles ...string) {
			t.Helper()
			e.check()
			for _, role := range append(roles, "bins-0", "bins-1", "bins-2", "bins-3") {
				e.requireRebuilt(role, nil)
			}
			e.check()
		}
		rebuild("recent")

		e.close()
		e.cfg.Signers = nil
		e.open()
		require.NoError(t, e.install(document(1000, a, b)))
		e.note(repository.Item{Add: []roles.Target{b}})
		e.publish(file("packages/x/x-1.tar.gz", "2"))
		rebuild()

		e.close()
		e.cfg.Signers = online
		e.open()
		e.publish(file("recent/a", "2"), file("packages/x/x-2.tar.gz", "2"))
		r = e.remove("recent/b", "packages/x/x-3.tar.gz")
		e.run(func() { e.wait(r, repository.Published) })
		rebuild("recent")
	})
}

// A document puts a pattern in front of a published path that clients read differently. The path
// can't be added any more, but it can be removed, and is gone for every client.
func TestRemoveWhatClientsDifferOn(t *testing.T) {
	inFronted(t, func(t *testing.T, e *fronted) {
		old := file("recent/.dot", "1")
		e.publish(old, file("recent/.people", "1"), file("recent/plain", "1"))
		recent := e.role("recent", "recent/*")
		recent.Terminating = true
		require.NoError(t, e.install(e.front(recent)))
		_, err := e.repo.Add(t.Context(), old)
		require.ErrorIs(t, err, repository.ErrInvalid)
		require.EqualError(t, err, `submit: target "recent/.dot": path: a segment that begins with a dot, which clients differ on where "targets" delegates "recent/*" to "recent"`)

		all := []string{"recent", "bins-0", "bins-1", "bins-2", "bins-3"}
		require.Equal(t, []string{binOf("recent/.dot")}, e.in("recent/.dot", all...))
		r := e.remove("recent/.dot")
		e.run(func() { e.wait(r, repository.Published) })
		require.Empty(t, e.in("recent/.dot", all...))
		require.Equal(t, []ledger.RemovedTarget{{Path: "recent/.dot", Hashes: old.Hashes}}, e.newestSeal().Removed)
		r = e.remove("recent/.dot")
		e.run(func() { e.wait(r, repository.Unchanged) })

		// Also where people sign what most clients are asked.
		people := e.role("claimed", "recent/*")
		people.Terminating = true
		next := e.front(people)
		next.Roles["claimed"] = e.listing("claimed", 1)
		require.NoError(t, e.install(next))
		r = e.remove("recent/.people")
		e.run(func() { e.wait(r, repository.Published) })
		require.Empty(t, e.in("recent/.people", all...))
		_, err = e.repo.Remove(t.Context(), "recent/plain")
		require.ErrorIs(t, err, repository.ErrSignedByPeople)
	})
}
