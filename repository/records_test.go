package repository_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// auditor compares what the journal says of each generation with what is in the store.
type auditor struct {
	*env
	seen    int64                  // newest generation that was compared
	refers  []string               // all names to which clients of it come
	targets []ledger.RemovedTarget // all that is published online in it
	people  []string               // names of documents that people signed
	seals   map[int64]*ledger.Seal // of all committed generations
	burnt   int                    // other ones
}

// compare looks at all generations since the last call. Nothing was deleted meanwhile.
func (a *auditor) compare() {
	t := a.t
	t.Helper()
	intents := map[int64][]string{}
	var sealed *ledger.Seal
	var committed []int64
	var given []string              // names of the seal that is given up
	givenUp := map[int64][]string{} // by the generation in its place
	for step, err := range a.journal.Read(t.Context(), ledger.FromBeginning) {
		require.NoError(t, err)
		if step.Record == nil {
			continue
		}
		gen := step.Record.Generation
		switch b := step.Record.Body.(type) {
		case *ledger.Documents:
			for _, f := range b.Files {
				if !f.Online {
					a.people = append(a.people, f.Name())
				}
			}
		case *ledger.Intent:
			require.NotContains(t, intents, gen)
			intents[gen] = []string{}
			for role := range b.Names {
				intents[gen] = append(intents[gen], ledger.Name(gen, role))
			}
		case *ledger.Seal:
			sealed, givenUp[gen] = b, given
			given = []string{ledger.Name(gen, "snapshot")}
			for _, r := range b.Rows {
				given = append(given, ledger.Name(gen, r.Role))
			}
		case *ledger.Commit:
			a.seals[gen], given = sealed, nil
			committed = append(committed, gen)
		}
	}
	last := a.seen
	for gen, names := range intents {
		if gen <= last {
			continue
		}
		written := slices.DeleteFunc(a.store.Names(), func(name string) bool {
			return !strings.HasPrefix(name, fmt.Sprint(gen, ".")) || strings.HasSuffix(name, ".root.json") || slices.Contains(a.people, name)
		})
		if slices.Contains(committed, gen) {
			require.ElementsMatch(t, names, written, "generation %d", gen)
		} else {
			a.burnt++
			require.Subset(t, names, written, "generation %d", gen)
		}
	}
	for _, gen := range committed {
		if gen <= last {
			continue
		}
		refers, targets := a.published(gen)
		require.ElementsMatch(t, append(without(a.refers, refers), givenUp[gen]...), a.seals[gen].Superseded, "generation %d", gen)
		var removed []ledger.RemovedTarget
		for _, old := range a.targets {
			if !slices.ContainsFunc(targets, func(now ledger.RemovedTarget) bool {
				return now.Path == old.Path && maps.Equal(now.Hashes, old.Hashes)
			}) {
				removed = append(removed, old)
			}
		}
		require.Equal(t, removed, a.seals[gen].Removed, "generation %d", gen)
		for earlier, seal := range a.seals {
			if earlier <= gen {
				require.Equal(t, refers, without(refers, seal.Superseded), "generation %d refers to what %d superseded", gen, earlier)
			}
		}
		a.refers, a.targets, a.seen = refers, targets, gen
	}
	require.Greater(t, a.seen, last)
}

// without is all but some names.
func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return slices.Contains(some, name) })
}

// published are the names to which clients of a generation come, and the targets of its
// online roles, by path.
func (a *auditor) published(gen int64) (refers []string, targets []ledger.RemovedTarget) {
	get := func(name string) []byte {
		data, err := a.store.Get(a.t.Context(), name)
		require.NoError(a.t, err)
		return data
	}
	name := ledger.Name(gen, "snapshot")
	refers = append(refers, name)
	snapshot, err := roles.ParseSnapshot(get(name))
	require.NoError(a.t, err)
	for meta, err := range snapshot.Meta() {
		require.NoError(a.t, err)
		name := ledger.Name(meta.Version, meta.Role)
		refers = append(refers, name)
		if slices.Contains(a.people, name) {
			continue
		}
		for path, target := range targetsOf(a.t, get(name)) {
			targets = append(targets, ledger.RemovedTarget{Path: path, Hashes: target.Hashes})
		}
	}
	slices.SortFunc(targets, func(a, b ledger.RemovedTarget) int { return strings.Compare(a.Path, b.Path) })
	return refers, targets
}

// An intent names the files of its generation and no others, whatever happens to it. A seal
// names what no later generation refers to, the files of a seal that was given up, the targets that are
// published no more, and those that never were because another of their generation replaced them.
func TestRecordsSayWhatIsThere(t *testing.T) {
	t.Parallel()
	all := append(repotest.Shapes(), repotest.PEP458(delegation.Succinct), repotest.PEP458(delegation.Explicit))
	first, step := thorough.OneIn(3)
	for n := first; n < len(all); n += step {
		s := all[n]
		t.Run(s.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := newEnv(t, 4, delegation.Succinct)
				e.createShape(s)
				a := auditor{env: e, seals: map[int64]*ledger.Seal{}}
				a.compare()

				upload := files("x", 12)
				for _, path := range s.Online {
					upload = append(upload, file(path, "1"))
				}
				e.publish(upload...)
				a.compare()

				// Replaced, replaced twice, removed, removed and added again, and never there.
				receipts := []*repository.Receipt{
					e.add(file(upload[0].Path, "2"), file(upload[1].Path, "2")),
					e.add(file(upload[1].Path, "3")),
					e.remove(upload[2].Path, upload[3].Path, upload[4].Path, "never/there"),
					e.add(file(upload[3].Path, "2"), upload[4], file("short-lived", "1")),
					e.remove(upload[len(upload)-1].Path, "short-lived"),
				}
				e.run(func() {
					for _, r := range receipts {
						_, err := r.Wait(t.Context())
						require.NoError(t, err)
					}
				})
				a.compare()
				removed := a.seals[a.seen].Removed
				require.Len(t, removed, 5)
				var unseen []ledger.RemovedTarget
				for _, t := range []roles.Target{file(upload[1].Path, "2"), file("short-lived", "1")} {
					unseen = append(unseen, ledger.RemovedTarget{Path: t.Path, Hashes: t.Hashes})
				}
				require.Equal(t, unseen, a.seals[a.seen].Unseen)
				require.Contains(t, removed, ledger.RemovedTarget{Path: upload[1].Path, Hashes: upload[1].Hashes})

				// A generation is burnt.
				e.inject.Plan(func(c faulty.Call) faulty.Fault {
					if c.Op == "store.Create" && strings.Contains(c.Name, ".bins-") && strings.HasPrefix(c.Name, "4.") {
						return faulty.After
					}
					return faulty.None
				})
				require.Zero(t, a.burnt)
				e.publish(files("y", 12)...)
				e.inject.Plan(nil)
				a.compare()
				require.Equal(t, 1, a.burnt)

				e.run(func() { time.Sleep(7 * 24 * time.Hour) })
				a.compare()
				e.ceremony.Now = time.Now()
				require.NoError(t, e.install(repository.Documents{Roles: s.Documents(e.ceremony, 2)}))
				e.list(s, 2)
				a.compare()

				// A generation is sealed and not committed when the store is lost.
				e.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
				e.add(file(upload[5].Path, "2"))
				e.remove(upload[6].Path)
				e.run(func() { time.Sleep(time.Second) })
				e.close()
				e.inject.Plan(nil)
				lost := e.store.Clone()
				for _, name := range lost.Names() {
					if name != "timestamp.json" {
						require.NoError(t, lost.Delete(t.Context(), name))
					}
				}
				e.store, e.cfg.Store = lost, lost
				var err error
				e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
				require.NoError(t, err)
				a.compare()
				require.Equal(t, 2, a.burnt)
				require.Len(t, a.seals[a.seen].Removed, 2)
				e.publish(file("restored", "1"))
				a.compare()
				e.close()

				e.journal = storetest.NewJournal()
				e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: e.ceremony.Documents().Roots[0]})
				require.NoError(t, err)
				a.compare()
				e.publish(file("restored", "2"))
				a.compare()
				e.checkNewest()
				e.close()
			})
		})
	}
}
