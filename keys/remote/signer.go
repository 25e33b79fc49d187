package remote

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
)

// Key is a private key in a service. Name, Public and Sign must be given.
type Key struct {
	// Name is the service's full name of the key. Errors and the log carry it.
	Name string

	// Public is the key as metadata lists it.
	Public *keys.PublicKey

	// MaxRaw is the largest message in bytes that the service signs with this
	// key as it is; 0 means that it signs the SHA-256 of messages of any size.
	MaxRaw int

	// Sign makes one call and returns the signature over input, which is the
	// message, or its SHA-256 if MaxRaw is 0. Input must not be kept. Errors wrap
	// keys.ErrUnavailable where a repetition may help, and say what to do, but not
	// which key it is. It is called concurrently.
	Sign func(ctx context.Context, input []byte) ([]byte, error)
}

// signer implements keys.Signer.
type signer struct {
	caller *Caller
	key    Key
}

// Signer returns a signer for a key, which is safe for concurrent use. It makes no
// call: one signature is one call of k.Sign, and more only if calls are repeated.
func (c *Caller) Signer(k Key) keys.Signer { return &signer{c, k} }

func (s *signer) Public() *keys.PublicKey { return s.key.Public }

func (s *signer) MaxMessage() int {
	if s.key.MaxRaw == 0 {
		return math.MaxInt
	}
	return s.key.MaxRaw
}

func (s *signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	signature, err := s.sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("sign with %s (key ID %s): %w", s.key.Name, s.key.Public.ID(), err)
	}
	return signature, nil
}

func (s *signer) sign(ctx context.Context, message []byte) ([]byte, error) {
	if limit := s.MaxMessage(); len(message) > limit {
		return nil, fmt.Errorf("%w: %d bytes, and the service signs at most %d with a key of this kind", keys.ErrTooLarge, len(message), limit)
	}
	input := message
	if s.key.MaxRaw == 0 {
		digest := sha256.Sum256(message)
		input = digest[:]
	}
	var signature []byte
	err := s.caller.Do(ctx, s.key.Name, func(ctx context.Context) error {
		var err error
		signature, err = s.key.Sign(ctx, input)
		return err
	})
	if err != nil {
		return nil, err
	}
	// A service that mixed up keys, or a name that now means another key, must
	// not get as far as to what clients see.
	if err := s.key.Public.Verify(message, signature); err != nil {
		why, _ := strings.CutPrefix(err.Error(), fmt.Sprintf("key %s: %v", s.key.Public.ID(), keys.ErrSignature)) // which Sign says
		if why == "" {
			why = ": is this the name of another key?"
		}
		return nil, fmt.Errorf("%w: the service's signature does not verify%s", keys.ErrSignature, why)
	}
	return signature, nil
}

// Format prints the key's names and no more, under every verb: an SDK's client
// holds credentials.
func (s *signer) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s (%s, ID %s)", s.key.Name, s.key.Public.Scheme(), s.key.Public.ID())
}
