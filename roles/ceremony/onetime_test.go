package ceremony

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDestroyOverwrites(t *testing.T) {
	o, err := NewOneTime("bins", 3)
	require.NoError(t, err)
	private := o.private
	require.Len(t, private, 3)
	o.Destroy(time.Now())
	for _, key := range private {
		require.Equal(t, make(ed25519.PrivateKey, ed25519.PrivateKeySize), key)
	}
}
