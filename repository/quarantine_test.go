package repository_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// lose publishes a target in each bin, and deletes the files of some bins while nobody
// publishes. It returns what puts them back.
func (e *env) lose(bins int, lost ...int) (all []roles.Target, putBack func()) {
	e.t.Helper()
	all = onePerBin(e.t, bins)
	e.publish(all...)
	e.close()
	files := map[string][]byte{}
	for _, i := range lost {
		name, data := e.newest(mustBins(e.t, bins).Name(i))
		files[name] = data
		require.NoError(e.t, e.store.Delete(e.t.Context(), name))
	}
	e.open()
	return all, func() {
		for name, data := range files {
			require.NoError(e.t, e.store.Create(e.t.Context(), name, data))
			e.store.Forget(name)
		}
	}
}

func changed(target roles.Target, n int) roles.Target {
	target.Length += int64(n)
	return target
}

// Rebuild of a bin that is well again lets its items go at once, whatever else happens.
func TestRebuildReleasesItems(t *testing.T) {
	inBubble(t, 16, delegation.Succinct, func(t *testing.T, e *env) {
		all, putBack := e.lose(16, 3)
		e.run(func() {
			waits := e.add(changed(all[3], 1))
			time.Sleep(10*time.Minute + time.Second/3) // it is looked at once a minute now
			putBack()
			start := time.Now()
			require.NoError(t, e.repo.Rebuild(t.Context(), mustBins(t, 16).Name(3)))
			e.wait(waits, repository.Published)
			require.Zero(t, time.Since(start))
		})
		e.check()
	})
}

// However many items waited for a bin, a generation takes MaxBatch of them.
func TestMaxBatchAfterARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 16, delegation.Succinct)
		e.cfg.MaxBatch = 3
		e.create()
		all, putBack := e.lose(16, 3, 5)
		e.run(func() {
			var receipts []*repository.Receipt
			for n := range 10 {
				receipts = append(receipts, e.add(changed(all[3], n+1)), e.add(changed(all[5], n+1)))
			}
			e.wait(e.add(changed(all[7], 1)), repository.Published)
			putBack()
			taken := map[int64]int{}
			for _, r := range receipts {
				o, err := r.Wait(t.Context())
				require.NoError(t, err)
				taken[o.Generation]++
			}
			for gen, n := range taken {
				require.LessOrEqual(t, n, 3, "generation %d", gen)
			}
		})
		e.check()
		e.close()
	})
}

// What is quarantined is looked at ever more rarely in time, however many generations there
// are meanwhile.
func TestSecondLooksCountTime(t *testing.T) {
	t.Parallel()
	inBubble(t, 16, delegation.Succinct, func(t *testing.T, e *env) {
		all, putBack := e.lose(16, 3)
		e.run(func() {
			waits := e.add(changed(all[3], 1))
			time.Sleep(100 * time.Millisecond)
			looks := func() (n int) {
				for _, c := range e.inject.Calls() {
					if c.Op == "store.Get" && strings.Contains(c.Name, "."+mustBins(t, 16).Name(3)+".") {
						n++
					}
				}
				return n
			}
			e.inject.Plan(nil)
			for n := range 100 { // 30 seconds
				e.wait(e.add(changed(all[7], n+1)), repository.Published)
				time.Sleep(300 * time.Millisecond)
			}
			require.Equal(t, 4, looks(), "after 1, 3, 7 and 15 seconds")
			putBack()
			e.wait(waits, repository.Published)
		})
		e.check()
	})
}

// gate is a store that counts how many bins are read at a time, each of which takes a second.
type gate struct {
	repository.Store
	mu            sync.Mutex
	reading, most int
	reads         int
}

func (s *gate) Get(ctx context.Context, name string) ([]byte, error) {
	if strings.Contains(name, "bins-") {
		s.mu.Lock()
		s.reading++
		s.reads++
		s.most = max(s.most, s.reading)
		s.mu.Unlock()
		time.Sleep(time.Second)
		s.mu.Lock()
		s.reading--
		s.mu.Unlock()
	}
	return s.Store.Get(ctx, name)
}

// The second look at many bins is taken at several at a time, and at so many at most: what can
// be published doesn't wait for it.
func TestSecondLookIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const bins = 512
		e := newEnv(t, bins, delegation.Succinct)
		store := &gate{Store: e.store}
		e.cfg.Store, e.cfg.Workers = faulty.Store{Injector: e.inject, Inner: store}, 32
		e.create()
		lost := make([]int, bins-1)
		for i := range lost {
			lost[i] = i
		}
		all, putBack := e.lose(bins, lost...)
		e.run(func() {
			var receipts []*repository.Receipt
			for i := range lost {
				receipts = append(receipts, e.add(changed(all[i], 1)))
			}
			time.Sleep(10 * time.Minute)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Len(t, s.Quarantined, len(lost))
			store.mu.Lock()
			require.Equal(t, 32, store.most)
			store.mu.Unlock()
			for range 5 {
				start := time.Now()
				r := e.add(changed(all[bins-1], int(start.Unix()%100000+1)))
				e.wait(r, repository.Published)
				require.LessOrEqual(t, time.Since(start), 256/32*time.Second+2*time.Second)
				time.Sleep(7 * time.Second)
			}
			putBack()
			for _, r := range receipts {
				e.wait(r, repository.Published)
			}
		})
		require.NoError(t, e.repo.Close())
	})
}

// A failing read says nothing of a file: a store that can't be read when a sealed generation is
// completed has not diverged.
func TestSealedGenerationThatCannotBeRead(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.inject.Plan(faulty.On(faulty.Before, "store.Swap"))
		r := e.add(file("a", "1"))
		e.run(func() { time.Sleep(time.Second) })
		e.close()
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "store.Get" && strings.HasPrefix(c.Name, "2.") {
				return faulty.Before
			}
			return faulty.None
		})
		_, err := repository.Open(t.Context(), e.config())
		require.ErrorIs(t, err, faulty.ErrInjected)
		require.NotErrorIs(t, err, repository.ErrDiverged, fmt.Sprint(err))
		e.inject.Plan(nil)
		e.journal.Close()
		e.open()
		o, err := e.repo.Outcome(t.Context(), r.ID())
		require.NoError(t, err)
		require.Equal(t, repository.Published, o.State)
		e.check()
	})
}
