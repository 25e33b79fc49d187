//go:build !race

package keys_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
)

// A signature allocates the same whatever the message's size, and no more than what
// Sign and Verify allocate: that is all the standard library's.
func TestAllocations(t *testing.T) {
	for kind, signer := range memorySigners(t) {
		allocations := func(f func() error) float64 {
			return testing.AllocsPerRun(20, func() { require.NoError(t, f()) })
		}
		message := []byte("short")
		var signature []byte
		sign := allocations(func() (err error) {
			signature, err = signer.Sign(t.Context(), message)
			return err
		})
		verify := allocations(func() error { return signer.Public().Verify(message, signature) })
		for _, size := range []int{1, 1 << 20} {
			message := make([]byte, size)
			both := allocations(func() error {
				_, err := keys.SignVerified(t.Context(), signer, message)
				return err
			})
			require.LessOrEqual(t, both, sign+verify, "%s, %d bytes", kind, size)
		}
	}
}
