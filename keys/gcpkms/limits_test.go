package gcpkms_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
)

// signAtOnce makes n signatures from as many goroutines, and returns how long that
// took.
func signAtOnce(t *testing.T, s keys.Signer, n int) time.Duration {
	t.Helper()
	start := time.Now()
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = s.Sign(t.Context(), []byte("message")) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	return time.Since(start).Round(time.Millisecond)
}

// 16 calls begin at once, then 50 a second.
func TestDefaultLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newClient(t, gcpkms.Config{})
		s := newSigner(t, fake, client)
		time.Sleep(time.Second) // the import is forgotten
		require.Equal(t, 2*time.Second, signAtOnce(t, s, 16+100))
		require.Len(t, fake.took(), 116)
	})
}

// All keys of a client share its limits.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake, client := newClient(t, gcpkms.Config{Concurrent: 2, PerSecond: 1e6, CallTimeout: 3 * time.Second, Attempts: 2})
		fake.keys[other] = enabled(ed)
		first := newSigner(t, fake, client)
		public, err := client.Import(t.Context(), other)
		require.NoError(t, err)
		second, err := client.Signer(other, public)
		require.NoError(t, err)
		fake.took()

		var under, most int
		fake.before = func(context.Context, int, string) error {
			fake.set(func() { under++; most = max(most, under) })
			time.Sleep(2 * time.Second)
			fake.set(func() { under-- })
			return nil
		}
		var wg sync.WaitGroup
		for _, s := range []keys.Signer{first, second} {
			wg.Go(func() { signAtOnce(t, s, 3) })
		}
		wg.Wait()
		require.Len(t, fake.took(), 6)
		require.Equal(t, 2, most)

		fake.set(func() {
			fake.before = func(ctx context.Context, _ int, _ string) error { <-ctx.Done(); return ctx.Err() }
		})
		_, err = second.Sign(t.Context(), []byte("message"))
		require.ErrorContains(t, err, "after 2 attempts: key unavailable for now: no answer within 3s")
	})
}
