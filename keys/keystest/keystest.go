// Package keystest has the tests that every keys.Signer must pass, wherever its
// private key lives.
package keystest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
)

const (
	// binSize is about the size of a busy bin, in bytes: a message larger than
	// what an agent or a KMS takes in one piece.
	binSize = 131_000

	// minMessage is what every signer must take: a timestamp fits well.
	minMessage = 1024

	// maxAllocated bounds the messages made to try out a limit.
	maxAllocated = 16 << 20
)

// TestSigner runs the suite. newSigner is called once for each part and may open
// the same key each time, or a new one. Some 40 signatures are made, of messages of 1
// byte and more. No error and no signer that is printed may show any of the
// secrets, such as a PIN or the key of an account.
func TestSigner(t *testing.T, newSigner func(t *testing.T) keys.Signer, secrets ...string) {
	for _, part := range []struct {
		name string
		test func(*testing.T, keys.Signer)
	}{
		{"public key", testPublicKey},
		{"sizes", testSizes},
		{"too large", testTooLarge},
		{"message is left alone", testMessageLeftAlone},
		{"context", testContext},
		{"concurrent", testConcurrent},
		{"go-tuf verifies", testGoTUF},
		{"what is shown", func(t *testing.T, s keys.Signer) { testShown(t, s, secrets) }},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, newSigner(t)) })
	}
}

// The key has the ID that the specification defines, and all stays as it is.
func testPublicKey(t *testing.T, s keys.Signer) {
	before, limit := *s.Public(), s.MaxMessage()
	sign(t, s, message(100))
	require.Equal(t, before, *s.Public())
	require.Equal(t, limit, s.MaxMessage())

	id, err := tufKey(s.Public()).ID()
	require.NoError(t, err)
	require.Equal(t, id, s.Public().ID())
	parsed, err := keys.ParsePublicKey(id, before.Type(), before.Scheme(), before.Value())
	require.NoError(t, err)
	require.Equal(t, before.Fingerprint(), parsed.Fingerprint())
}

func testSizes(t *testing.T, s keys.Signer) {
	require.GreaterOrEqual(t, s.MaxMessage(), minMessage)
	for _, size := range []int{1, minMessage, min(binSize, s.MaxMessage()), min(maxAllocated, s.MaxMessage())} {
		m := message(size)
		sig := sign(t, s, m)
		m[size-1] ^= 1
		require.ErrorIs(t, s.Public().Verify(m, sig), keys.ErrSignature, "%d bytes, the last one changed", size)
	}
}

func testTooLarge(t *testing.T, s keys.Signer) {
	limit := s.MaxMessage()
	if limit == math.MaxInt {
		t.Skip("no limit")
	}
	require.Less(t, limit, maxAllocated, "a limit that can't be tried out")
	sig, err := s.Sign(t.Context(), message(limit+1))
	require.ErrorIs(t, err, keys.ErrTooLarge)
	require.Empty(t, sig)
	sign(t, s, message(minMessage)) // goes on
}

// Sign must not write to the message or past its end, nor read it after it returned.
func testMessageLeftAlone(t *testing.T, s keys.Signer) {
	const size, spare = minMessage, 64
	buffer := message(size + spare)
	original := slices.Clone(buffer)
	sig, err := s.Sign(t.Context(), buffer[:size])
	require.NoError(t, err)
	require.True(t, bytes.Equal(original, buffer), "Sign wrote to the message or past its end")

	clear(buffer)
	require.NoError(t, s.Public().Verify(original[:size], sig))

	// What was returned is the caller's, too.
	first := slices.Clone(sig)
	sign(t, s, message(size+1))
	require.Equal(t, first, sig, "a later Sign changed a signature")
}

func testContext(t *testing.T, s keys.Signer) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	sig, err := s.Sign(canceled, message(100))
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, sig)

	expired, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	sig, err = s.Sign(expired, message(100))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Empty(t, sig)

	sign(t, s, message(100)) // goes on
}

func testConcurrent(t *testing.T, s keys.Signer) {
	const callers, each = 8, 3
	errs := make(chan error, callers*each)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range each {
				m := fmt.Appendf(nil, "message %d of caller %d", i, caller)
				sig, err := s.Sign(t.Context(), m)
				if err == nil {
					err = s.Public().Verify(m, sig)
				}
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
}

// Errors name the key, and neither they nor the signer show a secret.
func testShown(t *testing.T, s keys.Signer, secrets []string) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Sign(canceled, message(100))
	errs := []error{err}
	if limit := s.MaxMessage(); limit < maxAllocated {
		_, err := s.Sign(t.Context(), message(limit+1))
		errs = append(errs, err)
	}
	shown := []any{s}
	for _, err := range errs {
		require.ErrorContains(t, err, s.Public().ID(), "an error must name the key")
		shown = append(shown, err)
	}
	for _, value := range shown {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			text := fmt.Sprintf(verb, value)
			for _, secret := range secrets {
				// Not with NotContains, which would show both.
				require.False(t, strings.Contains(text, secret), "a secret is shown by %s of a %T", verb, value)
			}
		}
	}
}

// A timestamp signed by s satisfies go-tuf, which this project did not write.
func testGoTUF(t *testing.T, s keys.Signer) {
	expires := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	key := tufKey(s.Public())
	root := metadata.Root(expires)
	require.NoError(t, root.Signed.AddKey(key, metadata.TIMESTAMP))

	timestamp := metadata.Timestamp(expires)
	canonical, err := cjson.EncodeCanonical(timestamp.Signed)
	require.NoError(t, err)
	sig := metadata.Signature{KeyID: s.Public().ID(), Signature: sign(t, s, canonical)}
	timestamp.Signatures = []metadata.Signature{sig}
	require.NoError(t, root.VerifyDelegate(metadata.TIMESTAMP, timestamp))

	timestamp.Signed.Version++
	require.Error(t, root.VerifyDelegate(metadata.TIMESTAMP, timestamp))
}

// sign returns a signature that verifies.
func sign(t *testing.T, s keys.Signer, m []byte) []byte {
	t.Helper()
	sig, err := s.Sign(t.Context(), m)
	require.NoError(t, err, "%d bytes", len(m))
	require.NoError(t, s.Public().Verify(m, sig), "%d bytes", len(m))
	return sig
}

// message returns size bytes, different ones throughout.
func message(size int) []byte {
	m := make([]byte, size)
	for i := range m {
		m[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return m
}

func tufKey(k *keys.PublicKey) *metadata.Key {
	return &metadata.Key{Type: k.Type(), Scheme: k.Scheme(), Value: metadata.KeyVal{PublicKey: k.Value()}}
}
