// Package pkcs11 signs TUF metadata with a key on a token: an HSM, a smart card, a YubiKey,
// or anything else with a PKCS#11 module.
//
//	signers := keys.Resolver{
//		"pkcs11": pkcs11.Opener(pkcs11.Config{PIN: passphrase.Terminal()}),
//	}
//	signer, err := signers.Open(ctx, "pkcs11:token=bindery;object=root", public)
//
// The package is built with cgo, a C compiler and the build tag pkcs11:
//
//	go build -tags pkcs11 ./cmd/yours
//
// Without them, Open fails and says so. So a program can have the scheme in its resolver
// either way.
//
// # Keys
//
//	key on the token       mechanism                             what the token signs
//	EC on P-256            CKM_ECDSA                             the SHA-256 of the message
//	RSA                    CKM_RSA_PKCS_PSS, SHA-256, salt 32    the SHA-256 of the message
//	Ed25519 (v3.0)         CKM_EDDSA                             the message
//
// The private key must be a token object that may sign. No other may have its label and ID.
// The public key is read from the public key object with the same ID (or label, if there is no
// ID). If the token has none, Config.Public must be given. Every signature is verified with the
// public key before it is returned.
//
// # PINs
//
// Config.PIN is asked for the PIN when a session must be logged in, and for each signature if
// the key demands it (CKA_ALWAYS_AUTHENTICATE, as in slot 9c of a YubiKey).
//
// Most tokens lock themselves for good after a few wrong PINs in a row. So once the token
// refused a PIN, the signer presents no second one: it fails until it is opened again. It
// presents no PIN to a token that says that it is locked, or that one more wrong PIN would lock
// it (but see Config.FinalTry). No error, log or URI holds a PIN. Readers with their own PIN pad
// are not supported.
//
// # When a token is removed, reset or locked
//
// Sign returns an error and drops its session. The next Sign opens a new session and asks for
// the PIN again. The token must match Config, and the signature must verify. Only one Sign uses
// the session at a time; other calls wait.
//
// A call into a module can't be interrupted. If the context or Config.Timeout ends first, Sign
// returns, and the signer's next call waits for the module. A module stays loaded and
// initialized until the process ends, because other parts of the program may use it.
//
// # URIs
//
// For a keys.Resolver, Opener understands URIs of RFC 7512:
//
//	pkcs11:token=bindery;object=root;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so
//
// with these attributes, each at most once:
//
//	token, serial, manufacturer, model   the token: at least one of the first two
//	object, id                           the key: at least one
//	type                                 "private", which says nothing new
//	module-path (after the ?)           absolute; not needed if Config has it
//
// All others are refused: slot-id and the like, because slot numbers change; module-name,
// because what it finds depends on the machine; pin-value, because it is a secret; pin-source,
// because the PIN comes from Config.PIN.
//
// # Errors
//
//	keys.ErrUnavailable   the token failed, did not answer in time, or lost its session
//	keys.ErrUnusable      the token is not there, or does not have the key
//	keys.ErrDenied        wrong or locked PIN, or a use that the token does not permit
//	keys.ErrUnsupported   a kind of key or a mechanism that does not fit
//	keys.ErrTooLarge      the message is too large, by Config.MaxMessage or for the token
//	keys.ErrSignature     the signature is not the key's over the message
package pkcs11
