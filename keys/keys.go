// Package keys holds what signs TUF metadata and what verifies it: public keys as
// metadata lists them, and signers, wherever their private keys live.
//
// # Kinds of key
//
// Three kinds work in every client, and only they are supported (TUF
// specification, 4.2):
//
//	keytype            scheme                  public key in metadata
//	ed25519            ed25519                 hex of the 32 bytes
//	ecdsa              ecdsa-sha2-nistp256     PEM (PKIX), curve P-256
//	rsa                rsassa-pss-sha256       PEM (PKIX), 2,048 to 8,192 bits
//
// The old keytype ecdsa-sha2-nistp256 is read as ecdsa.
//
// # Key IDs
//
// A key that is made here has the ID that the specification defines: the SHA-256
// of its canonical form {"keytype":…,"keyval":{"public":…},"scheme":…}, in hex.
// Metadata made by others may use any ID; what makes two keys the same is
// their material and never their ID.
package keys

import (
	"context"
	"errors"
)

// Signer signs messages with one private key, wherever that is kept.
// Implementations are safe for concurrent use and pass keys/keystest.
type Signer interface {
	// Public returns the public key, without any call or I/O.
	Public() *PublicKey

	// MaxMessage is the largest message that Sign takes, in bytes; math.MaxInt
	// if there is no limit.
	MaxMessage() int

	// Sign returns the signature of message as TUF metadata holds it, and does
	// not keep or change message. A message larger than MaxMessage is refused
	// with an error that wraps ErrTooLarge, before anything is sent anywhere. When
	// the context ends first, the error wraps the context's. Errors name the key by
	// its ID and show no secret.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

var (
	// ErrUnsupported is wrapped for a kind of key that not all clients verify.
	ErrUnsupported = errors.New("unsupported kind of key")

	// ErrSignature is wrapped by PublicKey.Verify for a signature that is not
	// the key's over the message.
	ErrSignature = errors.New("invalid signature")

	// ErrTooLarge is wrapped by Signer.Sign for a message beyond MaxMessage.
	ErrTooLarge = errors.New("message too large to sign")

	// ErrPassphrase is wrapped by ReadFile when the passphrase is not the one
	// that the file was written with.
	ErrPassphrase = errors.New("wrong passphrase")

	// ErrUnavailable is wrapped by Signer.Sign when the place where the key is
	// could not be reached, did not answer in time or had too many calls: the same
	// call may succeed later without anyone doing anything.
	ErrUnavailable = errors.New("key unavailable for now")

	// ErrUnusable is wrapped when the key is not there, or is disabled or about to
	// be deleted: someone has to mend that, or another key has to take its place.
	ErrUnusable = errors.New("key unusable")

	// ErrDenied is wrapped when credentials are missing, expired or wrong, or do
	// not permit to use the key.
	ErrDenied = errors.New("use of the key denied")
)

// The values of keytype and scheme in metadata.
const (
	typeEd25519  = "ed25519"
	typeECDSA    = "ecdsa"
	typeOldECDSA = "ecdsa-sha2-nistp256"
	typeRSA      = "rsa"

	schemeEd25519 = "ed25519"
	schemeP256    = "ecdsa-sha2-nistp256"
	schemePSS     = "rsassa-pss-sha256"
)
