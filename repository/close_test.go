package repository_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
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
