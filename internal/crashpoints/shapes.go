package crashpoints

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// online returns the history of a repository whose bins are directly under a targets role
// that is signed online. In the end it loses its store.
func online(t require.TestingT, name string, form delegation.Form) *History {
	a := newAuthor(t, name, form, 1<<20)
	version := int64(0)
	targets := func(binKeys ...keys.Signer) map[string][]byte {
		version++
		doc, err := a.layout.NewRole(version, noon.AddDate(1, 0, 0), repotest.Of(1, binKeys...))
		require.NoError(t, err)
		return map[string][]byte{metadata.TARGETS: a.ceremony.SignRole(metadata.TARGETS, doc, repotest.Of(1, a.online))}
	}
	second := a.ceremony.NewEd25519() // signs the bins as soon as targets names it
	a.signers = map[string][]keys.Signer{metadata.TARGETS: {a.online}, "bins-*": {second}}
	a.ceremony.NextRoot(func(r *roles.RootSpec) { r.Targets = repotest.Of(1, a.online) })
	a.documents = repository.Documents{Roots: a.ceremony.Documents().Roots, Roles: targets(a.bins)}
	first := a.add(1, 2)
	a.step(Step{Submit: []repository.Item{first, a.add(3)}, Publish: true})
	a.step(Step{Submit: []repository.Item{a.again(first)}, Decide: true})
	a.step(Step{Wait: 5 * 24 * time.Hour, Publish: true})
	a.step(Step{Submit: []repository.Item{a.add(4)}, Reopen: true})
	a.step(Step{Install: repository.Documents{Roles: targets(a.bins, second)}})
	a.step(Step{Submit: []repository.Item{a.remove(3)}, Publish: true})
	a.step(Step{Wait: time.Hour, Submit: []repository.Item{a.add(5)}, Lose: wholeStore})
	a.step(Step{Submit: []repository.Item{a.add(2)}, Publish: true})
	return a.History
}

// claimed returns the history of a repository in which people sign a role in front of the
// bins.
func claimed(t require.TestingT, name string) *History {
	a := newAuthor(t, name, delegation.Succinct, 1)
	people := repotest.Of(2, a.ceremony.NewEd25519(), a.ceremony.NewEd25519())
	binsRole := repotest.Of(2, a.ceremony.NewEd25519(), a.ceremony.NewEd25519())
	version, expires := int64(0), noon.AddDate(1, 0, 0)
	role := func() []byte {
		version++
		doc := metadata.Targets(expires)
		doc.Signed.Version = version
		content := fmt.Sprint("by people ", version)
		sum := sha256.Sum256([]byte(content))
		doc.Signed.Targets["claimed/file.whl"] = &metadata.TargetFiles{
			Length: int64(len(content)), Hashes: metadata.Hashes{"sha256": sum[:]},
		}
		signed, err := roles.New(doc.Signed)
		require.NoError(t, err)
		return a.ceremony.SignRole("claimed", signed, people)
	}
	targets, err := delegation.NewRole(metadata.TARGETS, 2, expires, []delegation.Delegation{
		{Name: "claimed", Keys: people, Paths: []string{"claimed/*"}, Terminating: true},
		{Name: delegation.BinsRole, Keys: binsRole, HashPrefixes: []string{""}, Terminating: true},
	})
	require.NoError(t, err)
	bins := func(version int64) []byte {
		doc, err := a.layout.NewRole(version, expires, repotest.Of(1, a.bins))
		require.NoError(t, err)
		return a.ceremony.SignRole(delegation.BinsRole, doc, binsRole)
	}
	a.documents = repository.Documents{Roots: a.documents.Roots, Roles: map[string][]byte{
		metadata.TARGETS: a.ceremony.SignTargets(targets), "claimed": role(), delegation.BinsRole: bins(2),
	}}
	a.claimed = "claimed/other.whl"
	a.step(Step{Submit: []repository.Item{a.add(1, 2), a.poison(a.submit([]string{a.claimed}, nil)), a.add(3)}, Publish: true})
	a.step(Step{Install: repository.Documents{Roles: map[string][]byte{"claimed": role()}}})
	a.step(Step{Submit: []repository.Item{a.add(1)}, Reopen: true})
	a.step(Step{Install: repository.Documents{Roles: map[string][]byte{"claimed": role(), delegation.BinsRole: bins(3)}}})
	a.step(Step{Submit: []repository.Item{a.remove(3), a.poison(a.submit(nil, []string{a.claimed}))}, Publish: true})
	return a.History
}

// rotated returns the history of a repository all of whose online keys are replaced, within a budget of
// one bin a minute.
func rotated(t require.TestingT, name string) *History {
	a := newAuthor(t, name, delegation.Succinct, 3000)
	a.budget, a.grace = 1, 10*time.Minute
	newBins, newTop := a.ceremony.NewEd25519(), a.ceremony.NewEd25519()
	a.signers = map[string][]keys.Signer{"bins-*": {newBins}, metadata.SNAPSHOT: {newTop}, metadata.TIMESTAMP: {newTop}} // and then the old ones
	documents := func(top, bins []keys.Signer) repository.Documents {
		return repository.Documents{
			Roots: [][]byte{a.ceremony.NextRoot(func(r *roles.RootSpec) { r.Snapshot, r.Timestamp = repotest.Of(1, top...), repotest.Of(1, top...) })},
			Roles: map[string][]byte{delegation.BinsRole: a.ceremony.NextBins(func(who *roles.Authority) { *who = repotest.Of(1, bins...) })},
		}
	}
	a.step(Step{Submit: []repository.Item{a.add(1, 2), a.add(3)}, Publish: true})
	a.step(Step{Wait: 2 * time.Minute, Install: documents([]keys.Signer{a.online, newTop}, []keys.Signer{a.bins, newBins})})
	a.step(Step{Wait: 2 * time.Minute, Rotate: []string{metadata.TIMESTAMP, metadata.SNAPSHOT, "bins-*"}, Publish: true})
	last := documents([]keys.Signer{newTop}, []keys.Signer{newBins})
	a.last = last
	a.step(Step{TooEarly: last, Reopen: true})
	a.step(Step{Wait: 2 * time.Minute, Publish: true}) // the other bin
	a.step(Step{Wait: 2 * time.Minute, Submit: []repository.Item{a.add(1)}, TooEarly: last, Publish: true})
	for range 6 { // each is a step that a clock may take
		a.step(Step{Wait: 4 * time.Minute})
	}
	a.step(Step{Ready: true, Install: last})
	a.step(Step{Wait: 4 * 24 * time.Hour, Publish: true}) // one bin is renewed …
	a.step(Step{Wait: 2 * time.Minute, Publish: true})    // … and then the other
	return a.History
}

// conditional returns a history with many items that change nothing or whose conditions fail. The
// bins of a batch are larger than the cache.
func conditional(t require.TestingT, name string, checkpoint int) *History {
	a := newAuthor(t, name, delegation.Succinct, checkpoint)
	a.cache = 1
	first := ifAbsent(a.add(1, 2))
	a.step(Step{Submit: []repository.Item{first, ifAbsent(a.add(2, 3)), a.add(4)}, Publish: true}) // the second is refused
	fourth := a.add(4)
	a.step(Step{Submit: []repository.Item{ifIs(fourth, "another"), a.again(first), ifAbsent(a.add(1))}, Decide: true})
	fifth := a.add(5)
	a.step(Step{Submit: []repository.Item{
		ifIs(a.add(1), first.ID), ifIs(a.add(1), first.ID), // the second is refused, by what the first did
		fifth, a.again(fifth), ifAbsent(a.again(fifth)), // once is enough
		a.remove(4), a.remove(4), ifAbsent(a.add(4)), // removed, and so it may come back
	}, Publish: true})
	a.step(Step{Submit: []repository.Item{a.remove(6), ifAbsent(a.add(5))}, Reopen: true})
	a.step(Step{Decide: true})
	a.step(Step{Wait: 5 * 24 * time.Hour, Submit: []repository.Item{a.again(fifth), ifAbsent(a.add(5))}, Publish: true}) // part of a renewal
	a.step(Step{Submit: []repository.Item{ifIs(a.remove(5), fifth.ID)}, Publish: true})
	return a.History
}

// again returns another item that asks for the same.
func (a *author) again(it repository.Item) repository.Item {
	it.ID, it.If = a.submit(nil, nil).ID, nil
	return it
}

// ifAbsent lets an item be published only if none of what it adds is published.
func ifAbsent(it repository.Item) repository.Item {
	for _, t := range it.Add {
		it.If = append(it.If, repository.Condition{Path: t.Path, Absent: true})
	}
	return it
}

// ifIs lets an item be published only if its first path has that content.
func ifIs(it repository.Item, content string) repository.Item {
	for path := range it.Paths {
		it.If = append(it.If, repository.Condition{Path: path, SHA256: repotest.File(path, content).Hashes["sha256"]})
		break
	}
	return it
}
