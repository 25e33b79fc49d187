// Package parallel does slow work for many things at a time: calls of a store that take 50 ms each.
package parallel

import (
	"context"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"
)

// All calls f for each of the items, at most n at a time. Once one call has failed, or ctx has ended, no
// more calls begin. Those under way are not interrupted. The error is that of the first item, in order,
// whose call failed, or else the context's.
func All[T any](ctx context.Context, n int, items []T, f func(ctx context.Context, item T) error) error {
	var mu sync.Mutex
	first := len(items)
	var failed error
	var g errgroup.Group
	g.SetLimit(max(n, 1))
	for i, item := range items {
		g.Go(func() error {
			mu.Lock()
			stop := failed != nil || ctx.Err() != nil
			mu.Unlock()
			if stop {
				return nil
			}
			if err := f(ctx, item); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if i < first {
					first, failed = i, err
				}
			}
			return nil
		})
	}
	_ = g.Wait()
	if failed != nil {
		return failed
	}
	return ctx.Err()
}

// InOrder yields each key with the result of f, in the order of the keys. At most n results are in memory
// or on the way at a time, the one that was yielded last not counted. If the caller stops early, the
// context of the calls under way ends, and InOrder waits for them.
func InOrder[K, V any](ctx context.Context, n int, keys iter.Seq[K], f func(ctx context.Context, key K) V) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		ctx, cancel := context.WithCancel(ctx)
		var calls sync.WaitGroup
		defer calls.Wait()
		defer cancel()
		type pending struct {
			key    K
			result chan V
		}
		var queue []pending
		next, stop := iter.Pull(keys)
		defer stop()
		for {
			for len(queue) < max(n, 1) {
				key, ok := next()
				if !ok {
					break
				}
				p := pending{key, make(chan V, 1)}
				calls.Go(func() { p.result <- f(ctx, p.key) })
				queue = append(queue, p)
			}
			if len(queue) == 0 {
				return
			}
			p := queue[0]
			queue = queue[1:]
			if !yield(p.key, <-p.result) {
				return
			}
		}
	}
}

// Gate lets calls begin that may all fail. So many of them fail in a row at most, counted from the last
// that succeeded, those under way included. So a service that is out of order isn't stormed, and one that
// fails now and then is used at full width.
type Gate struct {
	mu      sync.Mutex
	ended   sync.Cond
	most    int // that run at a time, and that fail in a row
	running int
	failed  int // since the last success
}

// NewGate makes a Gate for at most n calls at a time.
func NewGate(n int) *Gate {
	g := &Gate{most: max(n, 1)}
	g.ended.L = &g.mu
	return g
}

// Enter waits until a call may begin. It reports false if none may any more, because so many failed.
func (g *Gate) Enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.running+g.failed >= g.most {
		if g.running == 0 {
			return false
		}
		g.ended.Wait()
	}
	g.running++
	return true
}

// Result says what became of a call.
type Result int

// The results.
const (
	Succeeded Result = iota
	Failed           // as a call does if the service is out of order
	Other            // it says nothing of that
)

// Leave ends a call for which Enter reported true.
func (g *Gate) Leave(r Result) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	switch r {
	case Succeeded:
		g.failed = 0
	case Failed:
		g.failed++
	}
	g.ended.Broadcast()
}
