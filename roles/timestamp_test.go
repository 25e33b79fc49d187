package roles_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles"
)

func TestNewTimestamp(t *testing.T) {
	snapshot := []byte(`{"signed":{},"signatures":[]}`)
	d, err := roles.NewTimestamp(41, expiry, 40, snapshot)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf(`{"signatures":[],"signed":{"_type":"timestamp","expires":"2030-01-31T12:00:00Z",`+
		`"meta":{"snapshot.json":{"hashes":{"sha256":"%x"},"length":29,"version":40}},"spec_version":"1.0.34","version":41}}`,
		sha256.Sum256(snapshot)), string(d.Bytes()))

	_, err = roles.NewTimestamp(41, expiry, 40, nil)
	require.EqualError(t, err, "timestamp version 41: the bytes of the snapshot are missing")
	_, err = roles.NewTimestamp(41, expiry, 0, snapshot)
	require.EqualError(t, err, `timestamp: signed.meta["snapshot.json"].version: 0 is not an integer from 1 to 9007199254740991`)
}
