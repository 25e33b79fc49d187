package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/storetest"
	"github.com/bindery-tuf/bindery/roles"
)

// newest returns the name of a bin's newest file, and the file.
func (e *env) newest(bin string) (name string, data []byte) {
	e.t.Helper()
	var last int64
	for _, name := range e.store.Names() {
		var version int64
		if n, _ := fmt.Sscanf(name, "%d."+bin+".json", &version); n == 1 && name == fmt.Sprintf("%d.%s.json", version, bin) {
			last = max(last, version)
		}
	}
	name = fmt.Sprintf("%d.%s.json", last, bin)
	data, err := e.store.Get(e.t.Context(), name)
	require.NoError(e.t, err)
	return name, data
}

// requireRebuilt alters the file of a role, and requires that Rebuild makes another one with the same
// targets. What happens in between is called before Rebuild; nil is nothing.
func (e *env) requireRebuilt(role string, between func()) {
	e.t.Helper()
	name, original := e.newest(role)
	e.put(name, []byte("{}"))
	if between != nil {
		between()
	}
	require.NoError(e.t, e.repo.Rebuild(e.t.Context(), role))
	_, rebuilt := e.newest(role)
	require.Equal(e.t, targetsOf(e.t, original), targetsOf(e.t, rebuilt), role)
	e.put(name, original)
	e.store.Forget(name)
}

// reopen empties the cache, too.
func (e *env) reopen() {
	e.t.Helper()
	e.close()
	e.open()
}

// put gives a name a content, whatever it has.
func (e *env) put(name string, data []byte) {
	e.t.Helper()
	require.NoError(e.t, e.store.Delete(e.t.Context(), name))
	require.NoError(e.t, e.store.Create(e.t.Context(), name, data))
}

func targetsOf(t *testing.T, file []byte) map[string]roles.Target {
	t.Helper()
	bin, err := roles.ParseBin(file)
	require.NoError(t, err)
	all := map[string]roles.Target{}
	for target, err := range bin.Targets() {
		require.NoError(t, err)
		all[target.Path] = target
	}
	return all
}

// A bin that was altered or lost is made again on request, and its items follow.
func TestRebuild(t *testing.T) {
	for name, form := range bothForms {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " lost: ", lost), func(t *testing.T) {
				inBubble(t, 4, form, func(t *testing.T, e *env) {
					all := files("x", 40)
					e.publish(all...)
					layout, err := delegation.New("bins", 4, form)
					require.NoError(t, err)
					bin := layout.Name(layout.Find(all[0].Path))
					name, original := e.newest(bin)
					e.close() // and with it the cache
					e.put(name, []byte("{}"))
					if lost {
						require.NoError(t, e.store.Delete(t.Context(), name))
					}
					e.open()
					waits := e.add(file(all[0].Path, "new"))
					e.run(func() {
						time.Sleep(time.Minute)
						s, err := e.repo.Status(t.Context())
						require.NoError(t, err)
						require.Len(t, s.Quarantined, 1)
						require.EqualValues(t, 2, s.Generation)
						require.NoError(t, e.repo.Rebuild(t.Context(), bin))
						e.wait(waits, repository.Published)
						s, err = e.repo.Status(t.Context())
						require.NoError(t, err)
						require.Empty(t, s.Quarantined)
					})
					newer, rebuilt := e.newest(bin)
					require.NotEqual(t, name, newer)
					want := targetsOf(t, original)
					want[all[0].Path] = file(all[0].Path, "new")
					require.Equal(t, want, targetsOf(t, rebuilt))

					e.put(name, original) // for the clients of then
					e.altered = name
					e.check()
				})
			})
		}
	}
}

func TestRebuildRefuses(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		require.ErrorContains(t, e.repo.Rebuild(t.Context(), "bins-9"), "rebuild bin bins-9: no role of this name is signed online")
		// A bin that is as it was published stays as it is, also when it can be had again.
		require.NoError(t, e.repo.Rebuild(t.Context(), "bins-1"))
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, s.Generation)

		// A store that fails is no reason.
		name, data := e.newest("bins-1")
		e.put(name, []byte("{}"))
		e.inject.Plan(faulty.On(faulty.Before, "leader.Read"))
		require.ErrorIs(t, e.repo.Rebuild(t.Context(), "bins-1"), faulty.ErrInjected)
		e.inject.Plan(nil)
		s, err = e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Len(t, s.Quarantined, 1, "found on the way")
		e.put(name, data)
		before := len(e.inject.Calls())
		e.run(func() { time.Sleep(2 * time.Minute) })
		for _, c := range e.inject.Calls()[before:] {
			require.NotEqual(t, "leader.Read", c.Op, "what can't be rebuilt is looked for in the store again")
		}
		s, err = e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Empty(t, s.Quarantined)
		e.put(name, []byte("{}"))
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, e.repo.Rebuild(ended, "bins-1"), context.Canceled)
		e.put(name, data)
		require.NoError(t, e.repo.Rebuild(t.Context(), "bins-1"))
		s, err = e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Empty(t, s.Quarantined)
		require.EqualValues(t, 2, s.Generation)
		e.altered = name
		e.check()
	})
}

// What is rebuilt is what was published, whatever happened: items of many paths,
// some set aside, replaced, removed, in any order and size of batch, renewals,
// restarts, other bins rebuilt.
func TestRebuildRandomHistories(t *testing.T) {
	t.Parallel()
	first, step := thorough.OneIn(6)
	for seed := first; seed < 6; seed += step {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
				r := rand.New(rand.NewPCG(uint64(seed), 1))
				path := func() string { return fmt.Sprintf("packages/%d.whl", r.IntN(60)) }
				for range 40 {
					var last *repository.Receipt
					for range 1 + r.IntN(6) {
						it := repository.Item{}
						for _, n := range r.Perm(4)[:1+r.IntN(3)] {
							if p := path() + fmt.Sprint(n); r.IntN(3) > 0 {
								it.Add = append(it.Add, file(p, fmt.Sprint(r.Int())))
							} else {
								it.Remove = append(it.Remove, p)
							}
						}
						last = e.submit(it)
					}
					e.run(func() {
						_, err := last.Wait(t.Context())
						require.NoError(t, err)
					})
					switch r.IntN(6) {
					case 0:
						e.close()
						e.cfg.CheckpointBytes = 1 << (10 * r.IntN(3))
						e.open()
					case 3: // it is set aside as a whole
						bad := repository.Item{ID: fmt.Sprint("bad-", r.Int()), Add: []roles.Target{file(path()+"0", "bad"), file("../escape", "bad")}}
						entry, err := bad.Entry()
						require.NoError(t, err)
						_, err = e.journal.Enqueue(t.Context(), entry)
						require.NoError(t, err)
					case 1:
						time.Sleep(time.Duration(r.IntN(60)) * time.Hour)
					case 2:
						bin := fmt.Sprintf("bins-%d", r.IntN(4))
						e.requireRebuilt(bin, nil)
					}
				}
				e.publish(file("in the end", "1")) // nothing has expired
				e.check()
			})
		})
	}
}

// What RestoreJournal read from the store is not in the journal: only what happened
// since.
func TestRebuildAfterRestoreJournal(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		e.close()
		e.journal = storetest.NewJournal()
		var err error
		e.repo, err = repository.RestoreJournal(t.Context(), e.config(), repository.Restoration{Root: e.ceremony.Documents().Roots[0]})
		require.NoError(t, err)
		e.publish(file("a", "1"))
		e.run(func() { e.wait(e.remove(files("x", 10)[0].Path), repository.Published) })

		for _, bin := range []string{"bins-0", "bins-1"} {
			// Its newest file: the one that RestoreJournal read is the base.
			e.requireRebuilt(bin, nil)
		}
		// Without the base nothing can be made.
		name, original := e.newest("bins-0")
		base := e.store.History("2.bins-0.json")[0]
		e.put(name, []byte("{}"))
		e.put("2.bins-0.json", []byte("{}"))
		err = e.repo.Rebuild(t.Context(), "bins-0")
		require.ErrorContains(t, err, "2.bins-0.json: it was altered: the journal doesn't tell what is in it: put a copy with the SHA-256")
		e.put("2.bins-0.json", base)
		require.NoError(t, e.repo.Rebuild(t.Context(), "bins-0"))
		e.put(name, original)
		e.store.Forget(name)
		e.store.Forget("2.bins-0.json")
		e.check()
	})
}

// forged is a journal in whose history an entry was exchanged.
type forged struct{ repository.Journal }

type forgedLead struct{ repository.Lead }

func (j forged) Lead(ctx context.Context) (repository.Lead, int64, error) {
	lead, epoch, err := j.Journal.Lead(ctx)
	return forgedLead{lead}, epoch, err
}

func (l forgedLead) Read(ctx context.Context, from ledger.From) iter.Seq2[ledger.Step, error] {
	return func(yield func(ledger.Step, error) bool) {
		for step, err := range l.Lead.Read(ctx, from) {
			if step.Entry != nil {
				forged := *step.Entry
				forged.Body = bytes.Replace(forged.Body, []byte(`"length":`), []byte(`"length":1`), 1)
				step.Entry = &forged
			}
			if !yield(step, err) {
				return
			}
		}
	}
}

// The seals say which items they decided: no others are published by a rebuild.
func TestRebuildNoticesAForgedHistory(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.publish(files("x", 10)...)
		e.close()
		cfg := e.config()
		cfg.Journal = forged{e.journal}
		var err error
		e.repo, err = repository.Open(t.Context(), cfg)
		require.NoError(t, err)
		name, original := e.newest("bins-0")
		e.put(name, []byte("{}"))
		require.ErrorContains(t, e.repo.Rebuild(t.Context(), "bins-0"),
			"and it decided")
		e.put(name, original)
		e.altered = name
		e.check()
	})
}
