package repository_test

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// stubborn is a signer that doesn't heed its context while it hangs.
type stubborn struct {
	keys.Signer
	until chan struct{} // nil: it signs at once
}

func (h *stubborn) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if h.until != nil {
		<-h.until
	}
	return h.Signer.Sign(ctx, message)
}

// While a signer hangs, whoever waits for the publisher waits no longer than its context,
// and Close ends. What the signer signs afterwards has no effect.
func TestSignerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 2, delegation.Succinct)
		signer := &stubborn{Signer: e.ceremony.Online}
		e.cfg.Snapshot = signer
		e.create()
		signer.until = make(chan struct{})
		ran := make(chan error, 1)
		go func() { ran <- e.repo.Run(t.Context()) }()
		receipt := e.add(file("a", "1"))
		waited := make(chan error, 1)
		go func() {
			_, err := receipt.Wait(context.Background())
			waited <- err
		}()
		synctest.Wait()

		for name, call := range map[string]func(context.Context) error{
			"install":      func(ctx context.Context) error { return e.repo.Install(ctx, repository.Documents{}) },
			"rebuild":      func(ctx context.Context) error { return e.repo.Rebuild(ctx, "bins-0") },
			"accept clock": e.repo.AcceptClock,
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			require.ErrorIs(t, call(ctx), context.DeadlineExceeded, name)
			cancel()
		}
		start := time.Now()
		require.ErrorContains(t, e.repo.Close(), "didn't stop within 10s")
		require.Equal(t, 10*time.Second, time.Since(start))
		require.ErrorIs(t, <-waited, repository.ErrClosed)
		close(signer.until)
		require.NoError(t, <-ran)

		signer.until = nil
		e.open()
		e.run(func() {
			again := e.submit(repository.Item{ID: receipt.ID(), Add: []roles.Target{file("a", "1")}}) // the same item
			e.wait(again, repository.Published)
		})
		e.check()
		e.close()
	})
}

// unlisted is a store that doesn't answer when it is listed.
type unlisted struct{ repository.Store }

func (unlisted) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		<-ctx.Done()
		yield(repository.Info{}, ctx.Err())
	}
}

// A call that Close ends says that the repository was closed.
func TestCloseEndsCalls(t *testing.T) {
	for _, hangs := range []struct {
		op   string
		call func(*env) error
	}{
		{"store.Get", func(e *env) error { return e.repo.Rebuild(e.t.Context(), "bins-0") }},
		{"store.Create", func(e *env) error {
			return e.repo.Install(e.t.Context(), repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}})
		}},
	} {
		t.Run(hangs.op, func(t *testing.T) {
			inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
				e.publish(file("a", "1"))
				e.inject.Plan(faulty.On(faulty.Hang, hangs.op))
				ended := make(chan error, 1)
				go func() { ended <- hangs.call(e) }()
				synctest.Wait()
				e.repo.Close()
				require.ErrorIs(t, <-ended, repository.ErrClosed)
				e.inject.Plan(nil)
				e.open()
			})
		})
	}
	inBubble(t, 2, delegation.Succinct, func(t *testing.T, e *env) {
		e.close()
		e.cfg.Store = unlisted{e.cfg.Store}
		e.open()
		ended := make(chan error, 1)
		go func() {
			for _, err := range e.repo.Sweep(t.Context(), true) {
				ended <- err
			}
		}()
		synctest.Wait()
		require.NoError(t, e.repo.Close())
		require.ErrorIs(t, <-ended, repository.ErrClosed)
		e.open()
	})
}
