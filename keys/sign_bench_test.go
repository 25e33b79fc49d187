package keys_test

import (
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

// BenchmarkSignVerified signs bins of 140, 610 and 3,000 targets. Its peer in the same
// run is Sign and then Verify, each with a digest of its own; the ratio to it is what
// travels.
func BenchmarkSignVerified(b *testing.B) {
	for kind, signer := range memorySigners(b) {
		for name, size := range map[string]int{"140": 30_000, "610": 131_000, "3000": 645_000} {
			message := make([]byte, size)
			b.Run(kind+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					_, err := keys.SignVerified(b.Context(), signer, message)
					require.NoError(b, err)
				}
				ours := b.Elapsed() / time.Duration(b.N)
				start := time.Now()
				for range b.N {
					signature, err := signer.Sign(b.Context(), message)
					require.NoError(b, err)
					require.NoError(b, signer.Public().Verify(message, signature))
				}
				b.ReportMetric(float64(time.Since(start)/time.Duration(b.N))/float64(ours), "×apart")
			})
		}
	}
}
