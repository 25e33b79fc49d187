package keys

import (
	"context"
	"crypto/sha256"
)

// Begin makes one signature of message, and leaves it to the caller when to verify
// it: the signature is worth nothing until verify, which takes as long again, has
// returned nil. The message must not change before that. Errors are those of
// Signer.Sign, and of verify those of PublicKey.Verify.
//
// It hashes the message once for a MemorySigner that signs its digest. Any other
// signer makes a digest of its own, which verify does not take from it.
func Begin(ctx context.Context, s Signer, message []byte) (signature []byte, verify func() error, err error) {
	// Only for the type itself: one that embeds it has a Sign of its own.
	if m, ok := s.(*MemorySigner); ok && m.public.signsDigest() {
		digest := sha256.Sum256(message)
		sig, err := m.sign(ctx, digest[:])
		return sig, func() error { return m.public.verify(digest[:], sig) }, err
	}
	sig, err := s.Sign(ctx, message)
	return sig, func() error { return s.Public().Verify(message, sig) }, err
}
