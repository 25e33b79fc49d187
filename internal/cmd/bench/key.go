package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// key is one private key, in the form that each side takes.
type key struct {
	private crypto.Signer
	signer  keys.Signer
	theirs  signature.Signer // for go-tuf
}

func ed25519Key() (key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return key{}, err
	}
	return newKey(private, crypto.Hash(0))
}

func p256Key() (key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return key{}, err
	}
	return newKey(private, crypto.SHA256)
}

func newKey(private crypto.Signer, hash crypto.Hash) (key, error) {
	k := key{private: private}
	var err error
	if k.signer, err = keys.NewSigner(private); err != nil {
		return k, err
	}
	k.theirs, err = signature.LoadSigner(private, hash)
	return k, err
}

// limit does the least that reading a file and writing one like it takes: hash it, copy it, sign, verify,
// hash the copy.
func (k key) limit(file []byte) error {
	sha256.Sum256(file)
	file = append(make([]byte, 0, len(file)), file...)
	if err := k.limitSign(file); err != nil {
		return err
	}
	sha256.Sum256(file)
	return nil
}

var errLimit = errors.New("a signature does not verify")

// limitSign signs a message and verifies the signature. If a digest is signed, it computes it once for
// both.
func (k key) limitSign(message []byte) error {
	switch private := k.private.(type) {
	case ed25519.PrivateKey:
		if !ed25519.Verify(private.Public().(ed25519.PublicKey), message, ed25519.Sign(private, message)) {
			return errLimit
		}
	case *ecdsa.PrivateKey:
		digest := sha256.Sum256(message)
		sig, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
		if err != nil {
			return err
		}
		if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], sig) {
			return errLimit
		}
	default:
		return fmt.Errorf("no limit for %T", private)
	}
	return nil
}

// signTheirs signs and encodes as go-tuf does.
func signTheirs[T roles.Type](m *metadata.Metadata[T], k key) ([]byte, error) {
	m.ClearSignatures()
	if _, err := m.Sign(k.theirs); err != nil {
		return nil, err
	}
	return m.ToBytes(false)
}

// sameSigned returns an error if the two sides made different metadata.
func sameSigned[T roles.Type](ours, theirs []byte) error {
	a, err := roles.Parse[T](ours)
	if err != nil {
		return err
	}
	b, err := roles.Parse[T](theirs)
	if err != nil {
		return err
	}
	if !bytes.Equal(a.Canonical(), b.Canonical()) {
		return errors.New("the sides made different metadata")
	}
	return nil
}
