package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math"
)

// MemorySigner is a Signer whose private key is in this process's memory. One
// signature over 131 kB costs about half a millisecond with Ed25519, which hashes
// the message twice, and a quarter of that with P-256.
type MemorySigner struct {
	private crypto.Signer
	public  *PublicKey
	options crypto.SignerOpts // with crypto.Hash(0) the message itself is signed
}

// NewSigner returns a signer for an ed25519.PrivateKey, an *ecdsa.PrivateKey on
// P-256 or an *rsa.PrivateKey; for all else the error wraps ErrUnsupported.
func NewSigner(private crypto.Signer) (*MemorySigner, error) {
	s := &MemorySigner{private: private}
	switch private := private.(type) {
	case ed25519.PrivateKey:
		if len(private) != ed25519.PrivateKeySize {
			return nil, fmt.Errorf("an Ed25519 private key of %d bytes, it must have %d", len(private), ed25519.PrivateKeySize)
		}
		s.options = crypto.Hash(0)
	case *ecdsa.PrivateKey:
		s.options = crypto.SHA256
	case *rsa.PrivateKey:
		s.options = pssOptions
	default:
		return nil, fmt.Errorf("%w: a private key of type %T: clients agree on Ed25519, ECDSA on P-256 and RSA", ErrUnsupported, private)
	}
	var err error
	s.public, err = NewPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	return s, nil
}

// GenerateEd25519 makes a new Ed25519 key, the recommended kind.
func GenerateEd25519() (*MemorySigner, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return NewSigner(private)
}

// GenerateP256 makes a new ECDSA key on P-256, the kind that every cloud KMS has.
func GenerateP256() (*MemorySigner, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return NewSigner(private)
}

// GenerateRSA makes a new RSA key of 3,072 bits.
func GenerateRSA() (*MemorySigner, error) {
	private, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return nil, err
	}
	return NewSigner(private)
}

// Public implements Signer.
func (s *MemorySigner) Public() *PublicKey { return s.public }

// MaxMessage implements Signer: there is no limit.
func (s *MemorySigner) MaxMessage() int { return math.MaxInt }

// Sign implements Signer.
func (s *MemorySigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if s.public.signsDigest() {
		digest := sha256.Sum256(message)
		message = digest[:]
	}
	return s.sign(ctx, message)
}

// sign is Sign, given the digest instead of the message where that is what the
// scheme signs.
func (s *MemorySigner) sign(ctx context.Context, input []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", s.public.ID(), err)
	}
	signature, err := s.private.Sign(rand.Reader, input, s.options)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", s.public.ID(), err)
	}
	return signature, nil
}
