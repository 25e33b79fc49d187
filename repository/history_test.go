package repository_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// generations are all that a journal tells of.
func generations(t *testing.T, journal repository.Reader) (all []repository.Generation) {
	t.Helper()
	for g, err := range repository.ReadGenerations(t.Context(), journal) {
		require.NoError(t, err)
		all = append(all, g)
	}
	return all
}

// clipped is a journal whose history begins at its newest checkpoint.
type clipped struct{ repository.Reader }

func (c clipped) Read(ctx context.Context, _ ledger.From) iter.Seq2[ledger.Step, error] {
	return c.Reader.Read(ctx, ledger.FromCheckpoint)
}

// newestCheckpoint is the generation of which the newest checkpoint is.
func newestCheckpoint(t *testing.T, journal repository.Reader) int64 {
	t.Helper()
	for step, err := range journal.Read(t.Context(), ledger.FromCheckpoint) {
		require.NoError(t, err)
		if step.Record != nil {
			require.Equal(t, ledger.KindCheckpoint, step.Record.Kind())
			return step.Record.Generation
		}
	}
	return 0
}

// publishAs publishes one item, and returns its generation.
func (e *env) publishAs(who string, it repository.Item) int64 {
	e.t.Helper()
	it.By = who
	r := e.submit(it)
	var gen int64
	e.run(func() { gen = e.wait(r, repository.Published) })
	return gen
}

func TestReadGenerations(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		one := file("one", "1")
		time.Sleep(time.Hour)
		second := time.Now().UTC()
		e.publishAs("ci", repository.Item{Add: []roles.Target{one, file("two", "1")}})
		again := e.add(one)
		refused := e.submitUnnoted(repository.Item{By: "ann", Add: []roles.Target{file("one", "2")}, If: []repository.Condition{{Path: one.Path, Absent: true}}})
		e.run(func() {
			e.wait(again, repository.Unchanged)
			e.waitRefused(refused)
		})
		// One is burnt.
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && c.Name == "3.snapshot.json" {
				return faulty.Before
			}
			return faulty.None
		})
		e.publishAs("ci", repository.Item{Remove: []string{"two"}})
		e.inject.Plan(nil)
		require.NoError(t, e.install(repository.Documents{
			Roots: [][]byte{e.ceremony.NextRoot(nil)}, Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)},
		}))

		all := generations(t, e.journal)
		require.Len(t, all, 4)
		first := all[0]
		require.Equal(t, []any{int64(1), 0, 4, map[string]int64{"root": 1, "targets": 1, "bins": 1}},
			[]any{first.Number, first.Items, first.Bins, first.Documents})
		require.Len(t, first.RoleKeys, 1)
		require.Len(t, first.SignedBy["timestamp"], 1)
		g := all[1]
		require.Equal(t, second, g.Signed)
		require.Equal(t, second, g.Committed)
		require.Equal(t, []any{int64(2), 3}, []any{g.Number, g.Items})
		require.Equal(t, map[repository.State]int{repository.Published: 1, repository.Unchanged: 1, repository.Refused: 1}, g.Outcomes)
		require.Equal(t, map[string]int{"ci": 1, "": 1, "ann": 1}, g.By)
		require.Empty(t, g.Documents)
		require.Equal(t, []any{int64(4), 1, 1}, []any{all[2].Number, all[2].Items, all[2].Bins})
		require.Equal(t, map[string]int64{"root": 2, "bins": 2}, all[3].Documents)

		// The loop may be left, and part of the history be gone.
		for g := range repository.ReadGenerations(t.Context(), e.journal) {
			require.EqualValues(t, 1, g.Number)
			break
		}
		e.publish(file("three", "1"))
		all = slices.DeleteFunc(generations(t, e.journal), func(g repository.Generation) bool { return g.Number <= newestCheckpoint(t, e.journal) })
		require.ElementsMatch(t, all, generations(t, clipped{e.journal}))
		e.checkNewest()
	})
	for _, err := range repository.ReadGenerations(t.Context(), storetest.NewJournal()) {
		require.ErrorIs(t, err, repository.ErrNotRepository)
	}
}

// submitUnnoted queues an item of which clients find nothing.
func (e *env) submitUnnoted(it repository.Item) *repository.Receipt {
	e.t.Helper()
	r, err := e.repo.Submit(e.t.Context(), it)
	require.NoError(e.t, err)
	return r
}

// waitRefused requires that a condition of the item didn't hold.
func (e *env) waitRefused(r *repository.Receipt) {
	e.t.Helper()
	o, err := r.Wait(e.t.Context())
	require.ErrorContains(e.t, err, "condition not met")
	require.Equal(e.t, repository.Refused, o.State)
}

func (e *env) diff(from, to int64) *repository.Diff {
	e.t.Helper()
	d, err := repository.ReadDiff(e.t.Context(), e.journal, from, to)
	require.NoError(e.t, err)
	return d
}

func TestReadDiff(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		other := func(t roles.Target) roles.Target {
			t.Custom = json.RawMessage(`{"yanked":true}`)
			return t
		}
		e.publishAs("ci", repository.Item{Add: []roles.Target{
			file("changed", "1"), file("removed", "1"), file("yanked", "1"), file("back", "1"), file("same", "1"),
		}})
		e.publishAs("ann", repository.Item{ID: "third", Add: []roles.Target{
			file("added", "1"), file("changed", "2"), other(file("yanked", "1")), file("back", "2"), file("gone again", "1"),
		}, Remove: []string{"removed", "never there"}})
		e.publishAs("ben", repository.Item{ID: "fourth", Add: []roles.Target{file("back", "1"), file("same", "1")}, Remove: []string{"gone again"}})

		d := e.diff(2, 4)
		hash := func(path, content string) map[string]string { return file(path, content).Hashes }
		require.Equal(t, []repository.TargetChange{
			{Path: "added", After: hash("added", "1"), Generation: 3, ID: "third", By: "ann"},
			{Path: "changed", Before: hash("changed", "1"), After: hash("changed", "2"), Generation: 3, ID: "third", By: "ann"},
			{Path: "removed", Before: hash("removed", "1"), Generation: 3, ID: "third", By: "ann"},
			{Path: "yanked", Before: hash("yanked", "1"), After: hash("yanked", "1"), Generation: 3, ID: "third", By: "ann"},
		}, d.Targets)
		require.Empty(t, d.Documents)
		require.Empty(t, d.Keys)
		require.Empty(t, d.Delegations)
		require.False(t, d.Unread)
		require.NotEmpty(t, d.Roles)
		for _, line := range []string{
			"from generation 2 to 4:\n",
			`target "added": added with sha256 ` + hash("added", "1")["sha256"][:12] + ` (generation 3, item third by "ann")` + "\n",
			`target "removed": removed, was sha256 `, `target "yanked": length or custom data changed, still sha256 `,
			fmt.Sprintf("%d online roles were signed again\n", len(d.Roles)),
		} {
			require.Contains(t, d.String(), line)
		}
		require.Empty(t, e.diff(3, 3).Targets)
		require.Len(t, e.diff(0, 2).Targets, 5)

		// Keys, thresholds, and roles.
		bins, both := e.ceremony.NewEd25519(), e.ceremony.NewEd25519()
		next := e.ceremony.NextBins(func(a *roles.Authority) { *a = repotest.Of(1, bins, both) })
		e.close()
		e.cfg.Bins, e.cfg.UncheckedKeys = bins, true
		e.open()
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": next}}))
		d = e.diff(4, 5)
		require.Equal(t, []repository.VersionChange{{Role: "bins", From: 1, To: 2}}, d.Documents)
		require.Len(t, d.Roles, 4)
		require.Len(t, d.Keys, 1)
		require.Equal(t, []any{"bins-*", 1, 1}, []any{d.Keys[0].Role, len(d.Keys[0].Added), len(d.Keys[0].Removed)})
		require.Len(t, d.Delegations, 1)
		c := d.Delegations[0]
		require.Equal(t, []any{"bins-*", "bins", 4, 1, 2}, []any{c.Role, c.Before.Delegator, c.After.Bins, len(c.Before.Keys), len(c.After.Keys)})
		for _, line := range []string{
			"document bins: version 2, was 1\n", "bins-*: key " + bins.Public().ID()[:12] + " may sign it now\n",
			"bins-*: signed by key " + bins.Public().ID()[:12] + " now\n", "may not sign it any more\n",
		} {
			require.Contains(t, d.String(), line)
		}
		d = e.diff(0, 1)
		require.Len(t, d.Delegations, 6)
		require.Contains(t, d.String(), "bins-*: new: delegated by bins, threshold 1 of keys ")
		require.Contains(t, d.String(), ", 4 bins\n")

		for words, at := range map[string][2]int64{
			"diff of generations 4 and 2: name the earlier one first":                  {4, 2},
			"there is no generation 9 yet: the newest is 5":                            {2, 9},
			"diff of generations -1 and 2: a negative number":                          {-1, 2},
			"diff of generations 8 and 9: there is no generation 9 yet: the newest is": {8, 9},
		} {
			_, err := repository.ReadDiff(t.Context(), e.journal, at[0], at[1])
			require.ErrorContains(t, err, words)
		}
		e.check()
	})
}

// A number that was burnt is said to be.
func TestReadDiffBurnt(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Create" && c.Name == "2.snapshot.json" {
				return faulty.Before
			}
			return faulty.None
		})
		e.publish(file("a", "1"))
		for _, at := range [][2]int64{{1, 2}, {2, 3}} {
			_, err := repository.ReadDiff(t.Context(), e.journal, at[0], at[1])
			require.ErrorContains(t, err, "clients never saw generation 2, because that attempt failed: 1 was followed by 3")
		}
		require.Len(t, e.diff(1, 3).Targets, 1)
	})
}

// Whatever happened, a diff says what the files of two generations differ in. Where the history before was
// dropped, it says what it can't know, and nothing that is wrong.
func TestReadDiffRandomHistories(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
				r := rand.New(rand.NewPCG(seed, 7))
				at := map[int64]map[string]roles.Target{0: {}, 1: {}}
				var kept repository.Reader // as of the middle, with all that came later
				var begins int64
				for n := range 30 {
					var last *repository.Receipt
					for range 1 + r.IntN(3) {
						it := repository.Item{}
						for _, k := range r.Perm(8)[:1+r.IntN(3)] {
							if path := fmt.Sprint("path-", k); r.IntN(3) > 0 {
								it.Add = append(it.Add, file(path, fmt.Sprint(r.IntN(3))))
							} else {
								it.Remove = append(it.Remove, path)
							}
						}
						last = e.submit(it)
					}
					e.run(func() {
						_, err := last.Wait(t.Context())
						require.NoError(t, err)
					})
					s, err := e.repo.Status(t.Context())
					require.NoError(t, err)
					at[s.Generation] = maps.Clone(e.want)
					if n == 15 {
						begins = newestCheckpoint(t, e.journal)
						kept = since{e.journal, begins}
					}
				}
				all := slices.Sorted(maps.Keys(at))
				for range 60 {
					from, to := all[r.IntN(len(all))], all[r.IntN(len(all))]
					if from > to {
						from, to = to, from
					}
					want := changes(at[from], at[to])
					requireChanges(t, want, e.diff(from, to).Targets)

					d, err := repository.ReadDiff(t.Context(), kept, from, to)
					if from < begins && to > 0 {
						require.ErrorContains(t, err, fmt.Sprintf("generation %d is before the history that is kept, which begins at generation %d: put the archived segments back",
							from, begins))
						continue
					}
					require.NoError(t, err)
					require.Equal(t, to > 0, d.Unread)
					var sure []repository.TargetChange
					for _, c := range d.Targets {
						if !c.Unsure {
							sure = append(sure, c)
							continue
						}
						require.Equal(t, at[to][c.Path].Hashes, c.After)
						want = slices.DeleteFunc(want, func(w repository.TargetChange) bool { return w.Path == c.Path })
					}
					requireChanges(t, want, sure)
				}
				e.checkNewest()
			})
		})
	}
}

// since is a journal whose history begins at the checkpoint of a generation.
type since struct {
	repository.Reader
	generation int64
}

func (s since) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		begun := false
		for step, err := range s.Reader.Read(ctx, from) {
			r := step.Record
			begun = begun || r != nil && r.Kind() == ledger.KindCheckpoint && r.Generation == s.generation
			if (begun || err != nil) && !yield(step, err) {
				return
			}
		}
	}
}

// changes are what two sets of targets differ in.
func changes(a, b map[string]roles.Target) (out []repository.TargetChange) {
	for path := range with(a, slices.Collect(maps.Values(b))...) {
		if before, after := a[path].Hashes, b[path].Hashes; !maps.Equal(before, after) {
			out = append(out, repository.TargetChange{Path: path, Before: before, After: after})
		}
	}
	slices.SortFunc(out, func(a, b repository.TargetChange) int { return cmp.Compare(a.Path, b.Path) })
	return out
}

func requireChanges(t *testing.T, want, got []repository.TargetChange) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, []any{want[i].Path, want[i].Before, want[i].After}, []any{got[i].Path, got[i].Before, got[i].After})
	}
}

func TestReadLife(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		began := time.Now().UTC()
		e.publishAs("ci", repository.Item{ID: "first", Add: []roles.Target{file("a<b", "1"), file("other", "1")}})
		time.Sleep(time.Hour)
		replaced, last := e.submit(repository.Item{ID: "second", Add: []roles.Target{file("a<b", "2")}}), e.submit(repository.Item{ID: "third", Add: []roles.Target{file("a<b", "3")}})
		refused := e.submitUnnoted(repository.Item{ID: "no", Remove: []string{"a<b"}, If: []repository.Condition{{Path: "a<b", Absent: true}}})
		e.run(func() {
			e.wait(replaced, repository.Superseded)
			e.wait(last, repository.Published)
			e.waitRefused(refused)
		})
		e.publishAs("ci", repository.Item{ID: "elsewhere", Add: []roles.Target{file("a", "1")}})
		e.submit(repository.Item{ID: "waits", By: "ann", Remove: []string{"a<b"}})
		_, err := e.journal.Enqueue(t.Context(), ledger.Entry{ID: "no-item", Accepted: began, Body: []byte(`"a<b\n"`)})
		require.NoError(t, err)

		life, err := repository.ReadLife(t.Context(), e.journal, "a<b")
		require.NoError(t, err)
		require.Empty(t, life.Gaps)
		var got []string
		for _, i := range life.Items {
			got = append(got, fmt.Sprint(i.ID, " ", i.State, " ", i.Generation, " ", i.Target != nil, " ", i.Accepted.Sub(began), " ", i.Decided.IsZero()))
		}
		require.Equal(t, []string{
			"first published 2 true 0s false",
			"second superseded 3 true 1h0m0s false",
			"third published 3 true 1h0m0s false",
			"no refused 3 false 1h0m0s false",
			"waits accepted 0 false 1h0m0s true",
		}, got)
		require.Equal(t, file("a<b", "3").Hashes, life.Items[2].Target.Hashes)
		require.Equal(t, began, life.Items[0].Decided)
		require.Contains(t, life.String(), `item first by "ci": publish 1 bytes with sha256 `+file("a<b", "1").Hashes["sha256"][:12]+": published in generation 2\n")
		require.Contains(t, life.String(), `item waits by "ann": remove: accepted`+"\n")

		nothing, err := repository.ReadLife(t.Context(), e.journal, "b")
		require.NoError(t, err)
		require.Equal(t, "target \"b\":\nno item named it\n", nothing.String())
		part, err := repository.ReadLife(t.Context(), clipped{e.journal}, "a<b")
		require.NoError(t, err)
		require.Equal(t, []int64{newestCheckpoint(t, e.journal)}, part.Gaps)
		require.Equal(t, life.Items[len(life.Items)-len(part.Items):], part.Items)
		require.Contains(t, part.String(), fmt.Sprintf("before generation %d the journal doesn't tell all", part.Gaps[0]))
		_, err = repository.ReadLife(t.Context(), storetest.NewJournal(), "a")
		require.ErrorIs(t, err, repository.ErrNotRepository)
		e.run(func() { require.NoError(t, e.repo.Drain(t.Context())) })
	})
}

// What RestoreJournal took from the store is not in the journal, and the readers say so.
func TestHistoryAfterRestoreJournal(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(file("a", "1"))
		old := e.journal.Clone()
		e.publish(file("a", "2"), file("b", "1"))
		e.publish(file("b", "2"))
		e.close()
		e.journal = old
		var err error
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.publish(file("c", "1"), file("b", "3"))

		var numbers []int64
		for _, g := range generations(t, e.journal) {
			numbers = append(numbers, g.Number)
		}
		require.Equal(t, []int64{1, 2, 5, 6}, numbers)
		d := e.diff(2, 6)
		require.Equal(t, []int64{4}, d.Gaps)
		require.Contains(t, d.String(), "generation 4 was taken from the store by Adopt or RestoreJournal")
		require.Equal(t, []string{"b", "c"}, []string{d.Targets[0].Path, d.Targets[1].Path}, "and not a")
		require.Nil(t, d.Targets[0].Before)
		require.False(t, d.Unread)
		d = e.diff(4, 6)
		require.Empty(t, d.Gaps)
		require.Equal(t, file("b", "2").Hashes, d.Targets[0].Before)
		require.True(t, d.Targets[1].Unsure)
		require.Contains(t, d.String(), "the history doesn't tell with what before, if at all")
		_, err = repository.ReadDiff(t.Context(), e.journal, 3, 6)
		require.ErrorContains(t, err, "generation 3 is not in the history: Adopt or RestoreJournal made it go on from generation 2 to 4")
		life, err := repository.ReadLife(t.Context(), e.journal, "b")
		require.NoError(t, err)
		require.Equal(t, []int64{4}, life.Gaps)
		require.Len(t, life.Items, 1)
		e.checkNewest()
	})
}
