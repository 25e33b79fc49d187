package repository_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// Whoever was told that an item is published finds its generation in the Status, also
// while the publisher is busy with what comes after the commit.
func TestStatusAfterWait(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Op == "leader.Append" && c.Name == "checkpoint" {
				return faulty.Hold
			}
			return faulty.None
		})
		r := e.add(file("a", "1"))
		e.run(func() {
			gen := e.wait(r, repository.Published)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.Equal(t, gen, s.Generation)
			e.inject.Release()
		})
		e.check()
	})
}

// A generation wakes those whose items it decided, and nobody else: however many wait, and
// for however many generations, each asks the journal once.
func TestWaitersAreWokenForTheirOwnItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiters, perGeneration = 1000, 50
		e := newEnv(t, 4, delegation.Succinct)
		e.inject.All = true
		e.cfg.MaxBatch, e.cfg.MaxDelay = perGeneration, time.Second
		e.create()
		var receipts []*repository.Receipt
		for _, f := range files("x", waiters) {
			receipts = append(receipts, e.add(f))
		}
		e.inject.Plan(nil)
		returned := make(chan int64, waiters)
		for _, r := range receipts {
			go func() { returned <- e.wait(r, repository.Published) }()
		}
		synctest.Wait()
		require.Equal(t, waiters, e.asked())

		// Those whose items are decided return at the commit, and the others sleep on.
		commits := 0
		e.inject.Plan(func(c faulty.Call) faulty.Fault {
			if c.Name == "intent" {
				if commits++; commits == 3 {
					return faulty.Hold
				}
			}
			return faulty.None
		})
		e.run(func() {
			synctest.Wait()
			require.Len(t, returned, 2*perGeneration)
			e.inject.Release()
			generations := map[int64]int{}
			for range waiters {
				generations[<-returned]++
			}
			require.Len(t, generations, waiters/perGeneration)
		})
		require.Zero(t, e.asked(), "somebody who was woken asked again")
		e.check()
		e.close()
	})
}

// asked is how often the journal was asked for outcomes since the plan was made.
func (e *env) asked() (n int) {
	for _, c := range e.inject.Calls() {
		if c.Op == "journal.Outcomes" {
			n++
		}
	}
	return n
}

// Whoever stops waiting is forgotten, and several may wait for one item.
func TestSeveralWaitForOneItem(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.inject.All = true
		it := repository.Item{ID: "a", Add: []roles.Target{file("a", "1")}}
		first, second := e.submit(it), e.submit(it)
		impatient, cancel := context.WithCancel(t.Context())
		gaveUp := make(chan error)
		go func() {
			_, err := first.Wait(impatient)
			gaveUp <- err
		}()
		returned := make(chan int64, 3)
		for _, r := range []*repository.Receipt{first, second, second} {
			go func() { returned <- e.wait(r, repository.Published) }()
		}
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gaveUp, context.Canceled)
		e.run(func() {
			for range 3 {
				require.EqualValues(t, 2, <-returned)
			}
		})
		require.EqualValues(t, 2, e.wait(second, repository.Published), "who comes later is told as well")
		e.check()
	})
}

// One ID stands for one item, however that is encoded. Whoever sends something else under it
// is told so.
func TestSameItemUnderAnID(t *testing.T) {
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		a, b := file("a", "1"), file("b", "1")
		a.Custom = json.RawMessage(`{ "y": [1, 2], "x": "ü" }`)
		it := repository.Item{ID: "upload", Add: []roles.Target{b, a}, Remove: []string{"d", "c"}}
		same := it
		same.Add = []roles.Target{a, b}
		same.Add[0].Custom = json.RawMessage(`{"x":"\u00fc","y":[1,2]}`)
		same.Remove = []string{"c", "d"}
		var others []repository.Item
		for _, change := range []func(*repository.Item){
			func(it *repository.Item) { it.Add = it.Add[:1] },
			func(it *repository.Item) { it.Remove = nil },
			func(it *repository.Item) { it.If = absent("a") },
			func(it *repository.Item) { it.Add = []roles.Target{file("a", "1"), b} }, // without custom data
			func(it *repository.Item) { it.Add = []roles.Target{a, file("b", "2")} },
		} {
			other := it
			change(&other)
			others = append(others, other)
		}
		// Another program may write other bytes for it: other members' order, and white space.
		entry, err := it.Entry()
		require.NoError(t, err)
		var body map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(entry.Body, &body))
		entry.Body = fmt.Appendf(nil, "{\n\t\"remove\": %s,\n\t\"add\": %s\n}\n", body["remove"], body["add"])
		check := func() {
			t.Helper()
			for _, again := range []repository.Item{it, same} {
				_, err := e.repo.Submit(t.Context(), again)
				require.NoError(t, err)
			}
			known, err := e.journal.Enqueue(t.Context(), entry)
			require.NoError(t, err)
			require.Equal(t, []bool{true}, known)
			for _, other := range others {
				_, err := e.repo.Submit(t.Context(), other)
				require.ErrorIs(t, err, repository.ErrIDReused)
				require.ErrorContains(t, err, `"upload"`)
			}
		}
		// The first one that the journal gets is the foreign one.
		known, err := e.journal.Enqueue(t.Context(), entry)
		require.NoError(t, err)
		require.Equal(t, []bool{false}, known)
		check()
		e.run(func() { require.EqualValues(t, 2, e.wait(e.submit(same), repository.Published)) })
		check()
		e.close()
		e.open()
		check()
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, s.Generation)
		require.Zero(t, s.Queue.Pending)
		e.check()
	})
}
