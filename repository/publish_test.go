package repository_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

var bothForms = map[string]delegation.Form{"succinct": delegation.Succinct, "explicit": delegation.Explicit}

func TestPublish(t *testing.T) {
	for name, form := range bothForms {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 4, form, func(t *testing.T, e *env) {
				require.ElementsMatch(t, []string{
					"1.root.json", "1.targets.json", "1.bins.json",
					"1.bins-0.json", "1.bins-1.json", "1.bins-2.json", "1.bins-3.json",
					"1.snapshot.json", "timestamp.json",
				}, e.store.Names())
				e.check()

				custom := file("simple/x/index.html", "page")
				custom.Custom = json.RawMessage(`{ "yanked": false, "<html>": ["ü", 1] }`)
				e.publish(append(files("x", 20), custom)...)
				e.check()
				e.publish(file("packages/x/x-0.tar.gz", "rebuilt"))
				r := e.submit(repository.Item{Remove: []string{"packages/x/x-1.tar.gz"}, Add: []roles.Target{file("simple/x/index.html", "page 2")}})
				gone := e.remove("never/there")
				e.run(func() {
					e.wait(r, repository.Published)
					e.wait(gone, repository.Unchanged)
				})
				e.check()
			})
		})
	}
}

// A generation writes the bins it touches and one snapshot, and nothing else.
func TestPublishWritesOnlyWhatChanged(t *testing.T) {
	inBubble(t, 16, delegation.Succinct, func(t *testing.T, e *env) {
		layout, _ := delegation.New("bins", 16, delegation.Succinct)
		target := file("a/b", "c")
		bin := layout.Name(layout.Find("a/b"))
		before := e.store.Names()
		e.inject.Plan(nil)
		e.publish(target)
		var wrote []string
		for _, c := range e.inject.Calls() {
			if c.Op != "store.Get" {
				wrote = append(wrote, c.Op+" "+c.Name)
			}
		}
		slices.Sort(wrote[3:5]) // at the same time
		require.Equal(t, []string{
			"journal.Enqueue ", "leader.Pending ",
			"leader.Append intent",
			"store.Create 2." + bin + ".json",
			"store.Create 2.snapshot.json",
			"leader.Append seal",
			"store.Swap timestamp.json",
			"leader.Append commit",
		}, wrote)
		require.Len(t, e.store.Names(), len(before)+2)
		e.check()
	})
}

func TestSupersededAndBatches(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		first := e.add(file("p", "1"))
		second := e.add(file("p", "2"))
		third := e.add(file("q", "3"))
		e.run(func() {
			gen := e.wait(second, repository.Published)
			require.EqualValues(t, 2, gen)
			require.Equal(t, gen, e.wait(first, repository.Superseded))
			require.Equal(t, gen, e.wait(third, repository.Published))
		})
		e.check()
	})
}

func TestMaxBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.cfg.MaxBatch = 3
		e.create()
		var receipts []*repository.Receipt
		for _, f := range files("x", 7) {
			receipts = append(receipts, e.add(f))
		}
		e.run(func() {
			var gens []int64
			for _, r := range receipts {
				gens = append(gens, e.wait(r, repository.Published))
			}
			require.Equal(t, []int64{2, 2, 2, 3, 3, 3, 4}, gens)
		})
		e.check()
		e.close()
	})
}

// An item waits at most MaxDelay for others; a full batch doesn't wait.
func TestMaxDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.cfg.MaxDelay, e.cfg.MaxBatch = 10*time.Second, 3
		e.create()
		e.run(func() {
			start := time.Now()
			e.wait(e.add(file("a", "1")), repository.Published)
			require.Zero(t, time.Since(start), "a lone item is published at once")
			time.Sleep(6 * time.Second)
			r := e.add(file("b", "1"))
			time.Sleep(2 * time.Second)
			r2 := e.add(file("c", "1"))
			require.Equal(t, e.wait(r, repository.Published), e.wait(r2, repository.Published))
			require.Equal(t, 10*time.Second, time.Since(start), "the next generation begins MaxDelay after the last one")
			time.Sleep(time.Minute)
			start = time.Now()
			e.wait(e.add(file("d", "1")), repository.Published)
			require.Zero(t, time.Since(start))

			start = time.Now()
			for _, f := range files("x", 3) {
				r = e.add(f)
			}
			e.wait(r, repository.Published)
			require.Zero(t, time.Since(start))
		})
		e.check()
		e.close()
	})
}

// A batch may be full by its bytes, or by its bins. The next one begins at once if it is full
// too, and what is less than that waits.
func TestFullBatchesDoNotWait(t *testing.T) {
	layout, err := delegation.New("bins", 16, delegation.Succinct)
	require.NoError(t, err)
	in := map[int]roles.Target{} // one of each bin
	for _, f := range files("x", 400) {
		in[layout.Find(f.Path)] = f
	}
	var first []roles.Target
	for i := range layout.Len() {
		f := file(in[i].Path, "old")
		first = append(first, f)
	}
	entry, err := repository.Item{Add: []roles.Target{in[0]}}.Entry()
	require.NoError(t, err)
	for name, limit := range map[string]func(e *env){
		"bytes": func(e *env) { e.cfg.MaxBatchBytes = 3*int64(len(entry.Body)) + 6 }, // paths may be two bytes longer
		"cache": func(e *env) {
			_, bin := e.newest("bins-0")
			e.cfg.CacheBytes = 3*int64(len(bin)) + 6
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 16, delegation.Succinct, func(t *testing.T, e *env) {
				e.publish(first...)
				e.close()
				e.cfg.MaxDelay = 10 * time.Second
				limit(e)
				e.open()
				var receipts []*repository.Receipt
				for i := range 8 {
					receipts = append(receipts, e.add(in[i]))
				}
				start := time.Now()
				e.run(func() {
					for n, gen := range []int64{3, 3, 3, 4, 4, 4, 5, 5} {
						require.Equal(t, gen, e.wait(receipts[n], repository.Published))
						require.Equal(t, time.Duration(gen/5)*10*time.Second, time.Since(start))
					}
					if name == "cache" {
						return
					}
					// Nor does one that becomes full while others wait.
					early := e.add(in[8])
					time.Sleep(4 * time.Second)
					e.add(in[9], in[10])
					last := e.add(in[11], in[12])
					require.Equal(t, int64(6), e.wait(early, repository.Published))
					require.Equal(t, 14*time.Second, time.Since(start))
					require.Equal(t, int64(7), e.wait(last, repository.Published))
					require.Equal(t, 24*time.Second, time.Since(start))
				})
				e.check()
			})
		})
	}
}

func TestMaxPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.cfg.MaxPending = 2
		e.create()
		e.add(file("a", "1"))
		it := repository.Item{ID: "b", Add: []roles.Target{file("b", "1")}}
		last := e.submit(it)
		_, err := e.repo.Add(t.Context(), file("c", "1"))
		require.ErrorIs(t, err, repository.ErrBusy)
		e.submit(it) // it has its place already
		e.run(func() { e.wait(last, repository.Published) })
		e.publish(file("c", "1"))
		e.check()
		e.close()
	})
}

// late is a journal that returns from Enqueue long after the entries became durable.
type late struct {
	repository.Journal
	hold chan struct{}
}

func (j late) Enqueue(ctx context.Context, entries ...ledger.Entry) ([]bool, error) {
	known, err := j.Journal.Enqueue(ctx, entries...)
	<-j.hold
	return known, err
}

// An item is counted once: also while it is durable and Submit has not returned yet.
func TestMaxPendingCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		cfg := e.config()
		hold := make(chan struct{})
		cfg.Journal, cfg.MaxPending = late{cfg.Journal, hold}, 3
		var err error
		e.repo, err = repository.Create(t.Context(), cfg, e.ceremony.Documents())
		require.NoError(t, err)
		results := make(chan error, 5)
		submit := func(name string) {
			go func() {
				_, err := e.repo.Submit(t.Context(), repository.Item{ID: name, Add: []roles.Target{file(name, "1")}})
				results <- err
			}()
			synctest.Wait()
		}
		for _, name := range []string{"a", "b", "b", "c"} { // b twice: it is one item
			submit(name)
		}
		require.Empty(t, results, "all wait for the journal")
		submit("d")
		require.ErrorIs(t, <-results, repository.ErrBusy)
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, s.Queue.Pending)
		close(hold)
		for range 4 {
			require.NoError(t, <-results)
		}
		e.note(repository.Item{Add: []roles.Target{file("a", "1"), file("b", "1"), file("c", "1")}})
		e.run(func() {
			synctest.Wait()
			for _, id := range []string{"a", "b", "c"} {
				o, err := e.repo.Outcome(t.Context(), id)
				require.NoError(t, err)
				require.Equal(t, repository.Published, o.State)
			}
		})
		e.check()
		e.close()
	})
}

// What waits is bounded in bytes too: the item that reaches the bound is the last one.
func TestMaxPendingBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.cfg.MaxPendingBytes = 1000
		e.create()
		it := repository.Item{ID: "large", Add: files("x", 20)}
		last := e.submit(it)
		_, err := e.repo.Add(t.Context(), file("c", "1"))
		require.ErrorIs(t, err, repository.ErrBusy)
		require.ErrorContains(t, err, "1 items of 2")
		e.submit(it) // it has its place already
		e.run(func() { e.wait(last, repository.Published) })
		e.publish(file("c", "1"))
		e.check()
		e.close()
	})
}

// An index that makes IDs of contents pushes a file, deletes it, and pushes it again. The third
// item changes nothing, and its receipt says why.
func TestReceiptTellsARepetitionApart(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		push := repository.Item{ID: "sha256-of-a", Add: []roles.Target{file("a", "1")}}
		first := e.submit(push)
		require.False(t, first.Repeated())
		require.True(t, e.submit(push).Repeated(), "while it waits")
		e.run(func() {
			require.EqualValues(t, 2, e.wait(first, repository.Published))
			deleted := e.submit(repository.Item{ID: "deleted", Remove: []string{"a"}})
			require.False(t, deleted.Repeated())
			e.wait(deleted, repository.Published)
		})
		e.close()
		e.open() // the journal remembers it
		again, err := e.repo.Submit(t.Context(), push)
		require.NoError(t, err)
		require.True(t, again.Repeated())
		require.EqualValues(t, 2, e.wait(again, repository.Published), "the outcome of the first one")
		e.check() // the file is gone

		push.ID = "another"
		r := e.submit(push)
		require.False(t, r.Repeated())
		e.run(func() { e.wait(r, repository.Published) })
		e.check()
	})
}

func TestRetryWithTheSameID(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		it := repository.Item{ID: "upload-17", Add: []roles.Target{file("a", "1")}}
		e.submit(it)
		r := e.submit(it)
		require.Equal(t, "upload-17", r.ID())
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, s.Queue.Pending)

		e.close()
		e.open() // before it was published …
		e.run(func() { require.EqualValues(t, 2, e.wait(e.submit(it), repository.Published)) })
		e.close()
		e.open() // … and after
		o, err := e.repo.Outcome(t.Context(), "upload-17")
		require.NoError(t, err)
		require.Equal(t, repository.Outcome{State: repository.Published, Generation: 2}, o)
		require.EqualValues(t, 2, e.wait(e.submit(it), repository.Published))

		other := it
		other.Add = []roles.Target{file("a", "2")}
		_, err = e.repo.Submit(t.Context(), other)
		require.ErrorIs(t, err, repository.ErrIDReused)
		_, err = e.repo.Outcome(t.Context(), "nobody's")
		require.ErrorIs(t, err, repository.ErrUnknownItem)
		e.check()
	})
}

func TestBadInputIsRefusedAndOthersGoOn(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		good := file("good", "1")
		bad := map[string]func(*roles.Target){
			"empty path":     func(t *roles.Target) { t.Path = "" },
			"absolute":       func(t *roles.Target) { t.Path = "/etc/passwd" },
			"parent":         func(t *roles.Target) { t.Path = "a/../b" },
			"backslash":      func(t *roles.Target) { t.Path = `a\b` },
			"percent":        func(t *roles.Target) { t.Path = "a%2fb" },
			"negative":       func(t *roles.Target) { t.Length = -1 },
			"enormous":       func(t *roles.Target) { t.Length = 1 << 60 },
			"no hash":        func(t *roles.Target) { t.Hashes = nil },
			"short hash":     func(t *roles.Target) { t.Hashes = map[string]string{"sha256": "abcd"} },
			"unknown hash":   func(t *roles.Target) { t.Hashes["md5"] = "d41d8cd98f00b204e9800998ecf8427e" },
			"custom float":   func(t *roles.Target) { t.Custom = json.RawMessage(`{"a":1.5}`) },
			"custom null":    func(t *roles.Target) { t.Custom = json.RawMessage(`{"a":null}`) },
			"custom no JSON": func(t *roles.Target) { t.Custom = json.RawMessage(`{`) },
		}
		for name, spoil := range bad {
			target := file("bad", "1")
			spoil(&target)
			_, err := e.repo.Add(t.Context(), good, target)
			require.Error(t, err, name)
			if target.Path != "" {
				require.ErrorContains(t, err, fmt.Sprintf("%q", target.Path), name)
			}
		}
		for name, it := range map[string]repository.Item{
			"nothing":  {},
			"twice":    {Add: []roles.Target{good}, Remove: []string{"good"}},
			"bad ID":   {ID: "a b", Remove: []string{"x"}},
			"bad path": {Remove: []string{"../x"}},
		} {
			_, err := e.repo.Submit(t.Context(), it)
			require.Error(t, err, name)
		}
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.Zero(t, s.Queue.Pending)
		e.publish(good)
		e.check()
	})
}

// limited is a signer like those of cloud services: it signs small messages only.
type limited struct {
	keys.Signer
	most int
}

func (s limited) MaxMessage() int { return s.most }

func (s limited) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if len(message) > s.most {
		return nil, keys.ErrTooLarge
	}
	return s.Signer.Sign(ctx, message)
}

// An item whose bin the key couldn't sign is set aside; it doesn't hold up others.
func TestSignerWithALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		e.cfg.Bins = limited{e.cfg.Bins, 20_000}
		e.create()
		large, err := e.repo.Add(t.Context(), files("large", 300)...)
		require.NoError(t, err)
		small := e.add(files("small", 50)...)
		e.run(func() {
			e.wait(small, repository.Published)
			o, err := large.Wait(t.Context())
			require.ErrorIs(t, err, repository.ErrSetAside)
			require.Equal(t, repository.SetAside, o.State)
			require.Contains(t, o.Reason, "at most 20000 can be published")
		})
		e.check()
		e.close()

		e.cfg.Snapshot = limited{e.cfg.Snapshot, 500}
		_, err = repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, repository.ErrWrongKey)
		require.NoError(t, e.journal.Close())
		e.cfg.UncheckedKeys = true
		e.open()
		err = e.repo.Run(t.Context())
		require.ErrorIs(t, err, repository.ErrWrongKey)
		require.ErrorContains(t, err, "signs at most 500 bytes")
		e.close()
	})
}

func TestQuarantine(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		layout, _ := delegation.New("bins", 4, delegation.Succinct)
		all := files("x", 40)
		e.publish(all...)
		e.close()

		// Somebody alters a bin in the store.
		victim := layout.Find(all[0].Path)
		name := "2." + layout.Name(victim) + ".json"
		original, err := e.store.Get(t.Context(), name)
		require.NoError(t, err)
		altered := slices.Clone(original)
		altered[len(altered)-20] ^= 1
		e.altered = name
		e.cfg.MaxBatch = 1 // the item that waits must not fill the batch
		replace := func(data []byte) {
			require.NoError(t, e.store.Delete(t.Context(), name))
			require.NoError(t, e.store.Create(t.Context(), name, data))
		}
		replace(altered)

		e.open()
		waits := e.add(file(all[0].Path, "new"))
		var goes *repository.Receipt
		for _, f := range all {
			if layout.Find(f.Path) != victim {
				goes = e.add(file(f.Path, "new"))
				break
			}
		}
		e.run(func() {
			e.wait(goes, repository.Published)
			o, err := e.repo.Outcome(t.Context(), waits.ID())
			require.NoError(t, err)
			require.Equal(t, repository.Accepted, o.State)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Len(t, s.Quarantined, 1)
			require.Equal(t, layout.Name(victim), s.Quarantined[0].Bin)
			require.Contains(t, s.Quarantined[0].Reason, name)
			require.Equal(t, 1, s.Queue.Pending)

			// It is put right, and goes on by itself.
			replace(original)
			e.wait(waits, repository.Published)
			s, err = e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Empty(t, s.Quarantined)
		})
		e.check()
	})
}

// Whoever waits when the repository is closed, or later, is told that the item is
// durable, and not that it isn't published: it may be.
func TestWaitAfterClose(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		pending := e.add(file("b", "1"))
		require.NoError(t, e.repo.Close())
		o, err := pending.Wait(t.Context())
		require.ErrorIs(t, err, repository.ErrClosed)
		require.ErrorContains(t, err, "is accepted, and its outcome is known once the repository is opened again")
		require.Equal(t, repository.Outcome{State: repository.Accepted}, o)
		e.open()
		e.run(func() { e.wait(resubmitted(e, pending, file("b", "1")), repository.Published) })
	})
}

// resubmitted is the receipt of the same item from the repository that is open now.
func resubmitted(e *env, r *repository.Receipt, targets ...roles.Target) *repository.Receipt {
	e.t.Helper()
	again, err := e.repo.Submit(e.t.Context(), repository.Item{ID: r.ID(), Add: targets})
	require.NoError(e.t, err)
	return again
}
