// Package keys signs TUF metadata and verifies its signatures. A private key can live
// in memory, in an encrypted file, or in any place that another package reaches:
//
//	signer, err := keys.GenerateEd25519()
//	...
//	err = keys.WriteFile("/etc/bindery/online.key", signer, passphrase)
//
// A program names its keys by URI, in its own configuration, and opens them through a
// Resolver:
//
//	signers := keys.Resolver{"file": keys.FileOpener(passphrase.Terminal())}
//	signer, err := signers.Open(ctx, "file:/etc/bindery/online.key", nil)
//	...
//	signature, err := keys.SignVerified(ctx, signer, message)
//	...
//	err = signer.Public().Verify(message, signature)
//
// # Kinds of key
//
// Three kinds of key work in every client. The package supports these three and no
// other (TUF specification, 4.2):
//
//	keytype            scheme                  public key in metadata
//	ed25519            ed25519                 hex of the 32 bytes
//	ecdsa              ecdsa-sha2-nistp256     PEM (PKIX), curve P-256
//	rsa                rsassa-pss-sha256       PEM (PKIX), 2,048 to 8,192 bits
//
// The old keytype ecdsa-sha2-nistp256 is read as ecdsa.
//
// An Ed25519 key must be a point of the curve in its one canonical encoding (RFC 8032,
// 5.1.3), and not one of the eight points of small order. Anyone can make signatures for
// those eight, without a private key, and clients accept them. A key in another encoding
// would be a second key to some clients. Nobody can sign for a value that is no point.
//
// # Key IDs
//
// A key made here has the ID that the specification defines: the SHA-256, in hex, of
// the canonical form {"keytype":…,"keyval":{"public":…},"scheme":…}. Metadata made by
// others may use any ID. Two keys are the same if their key material is the same. Their
// IDs don't matter.
package keys

import (
	"context"
	"errors"
)

// Signer signs messages with one private key. Implementations are safe for concurrent
// use and pass the tests of keys/keystest.
type Signer interface {
	// Public returns the public key, without any call or I/O.
	Public() *PublicKey

	// MaxMessage is the largest message that Sign takes, in bytes; math.MaxInt
	// if there is no limit.
	MaxMessage() int

	// Sign returns the signature of message in the form that TUF metadata holds. It
	// neither keeps nor changes message. A message larger than MaxMessage is refused
	// before anything is sent, and the error wraps ErrTooLarge. When the context ends
	// first, the error wraps the context's. Errors name the key by its ID and show no
	// secret.
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

	// ErrUnavailable is wrapped by Signer.Sign when the key's service or device could
	// not be reached, did not answer in time, or had too many calls. The same call may
	// succeed later, with no one doing anything.
	ErrUnavailable = errors.New("key unavailable for now")

	// ErrUnusable is wrapped when the key is missing, disabled, or about to be deleted.
	// Someone must restore it, or replace it with another key.
	ErrUnusable = errors.New("key unusable")

	// ErrDenied is wrapped when credentials are missing, expired or wrong, or don't
	// permit the use of the key.
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
