package keys

import (
	"context"
	"crypto/sha256"
	"fmt"
)

// SignVerified calls s.Sign once and returns the signature only if it verifies under
// the key. If it doesn't, because a token is faulty or a KMS key was swapped, the error
// wraps ErrSignature. Other errors are those of Signer.Sign.
//
// For a MemorySigner that signs a digest, the message is hashed once. For any other
// signer, the digest to verify is computed here.
func SignVerified(ctx context.Context, s Signer, message []byte) ([]byte, error) {
	sign, verify, input := s.Sign, s.Public().Verify, message
	// Only for the type itself: one that embeds it has a Sign of its own.
	if m, ok := s.(*MemorySigner); ok && m.public.signsDigest() {
		digest := sha256.Sum256(message)
		sign, verify, input = m.sign, m.public.verify, digest[:]
	}
	signature, err := sign(ctx, input)
	if err != nil {
		return nil, err
	}
	if err := verify(input, signature); err != nil {
		return nil, fmt.Errorf("the signature it made does not verify: %w", err)
	}
	return signature, nil
}

// WithID returns a signer that signs as s does, under the ID by which metadata lists
// its key: metadata made by others may use another ID than NewPublicKey does. Public
// then returns listed, which must be the same key as that of s, or no signature will
// verify. If the IDs are equal, WithID returns s itself. Close closes s where s is an
// io.Closer.
func WithID(s Signer, listed *PublicKey) Signer {
	if s.Public().ID() == listed.ID() {
		return s
	}
	return renamed{s, listed}
}

type renamed struct {
	Signer
	public *PublicKey
}

func (s renamed) Public() *PublicKey { return s.public }

func (s renamed) Close() error { return closeSigner(s.Signer) }
