package keys_test

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

// smallOrder are the encodings of the points of order 1, 2, 4 and 8, without those of y ≥ p.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
}

func requireRefused(t *testing.T, value, text string) {
	t.Helper()
	_, err := keys.ParsePublicKey("the-id", "ed25519", "ed25519", value)
	require.ErrorContains(t, err, `public key "the-id": an Ed25519 key `+text)
	require.NotErrorIs(t, err, keys.ErrUnsupported)
	raw, err := hex.DecodeString(value)
	require.NoError(t, err)
	_, err = keys.NewPublicKey(ed25519.PublicKey(raw))
	require.ErrorContains(t, err, text)
}

// Without a private key, a signature is made that crypto/ed25519 accepts, and with it clients.
func TestKeysOfSmallOrder(t *testing.T) {
	for _, value := range smallOrder {
		requireRefused(t, value, "of small order ("+value+"): anyone can sign for it")
		key, err := hex.DecodeString(value)
		require.NoError(t, err)
		forged := append([]byte{1}, make([]byte, 63)...) // the neutral point, and 0
		accepted := false
		for n := 0; n < 200 && !accepted; n++ { // one message in eight, at worst
			accepted = ed25519.Verify(key, fmt.Append(nil, n), forged)
		}
		require.True(t, accepted, "%s is not of small order", value)
	}
}

func TestKeysThatAreNotCanonical(t *testing.T) {
	for n := range 19 { // y = p + n
		y := slices.Repeat([]byte{0xff}, 32)
		y[0], y[31] = byte(0xed+n), 0x7f
		for _, sign := range []byte{0, 0x80} {
			y[31] = 0x7f | sign
			requireRefused(t, hex.EncodeToString(y), "that isn't in its canonical encoding")
		}
	}
}

// Half of all values are no points. The judgement is that of crypto/ed25519 on keys that are.
func TestKeysThatAreNoPoints(t *testing.T) {
	requireRefused(t, "02"+strings.Repeat("00", 31), "that is no point of the curve: nobody can sign for it")
	for range 200 {
		s, err := keys.GenerateEd25519()
		require.NoError(t, err)
		_, err = keys.ParsePublicKey("id", "ed25519", "ed25519", s.Public().Value())
		require.NoError(t, err)
	}
}
