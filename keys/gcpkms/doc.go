// Package gcpkms signs with keys in Google Cloud Key Management Service.
//
// # Keys
//
// These algorithms of a key version sign TUF metadata that every client verifies:
//
//	algorithm                       signed with                    messages
//	EC_SIGN_P256_SHA256             ECDSA, by digest               of any size
//	RSA_SIGN_PSS_2048_SHA256,       RSA-PSS, by digest             of any size
//	..._3072_..., ..._4096_SHA256
//	EC_SIGN_ED25519                 Ed25519, as they are           up to 65,536 bytes
//
// EC_SIGN_P256_SHA256 is the one to take. An Ed25519 key can sign a timestamp and
// a snapshot of some 1,900 bins, but no larger ones.
//
// A key is named with its version, in full:
//
//	projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1
//
// Each version is a key of its own. When a key is rotated, the root has to list the new
// version before it signs anything; so there is no such thing as the newest one here.
//
// # Import, then sign
//
// Client.Import fetches a public key, once, and refuses a key that can't be used,
// with the reason. It needs cloudkms.cryptoKeyVersions.viewPublicKey. The public
// key then goes into the root, where a publisher finds it again: Client.Signer
// takes it from there and makes no call, and all that publishing needs is
// cloudkms.cryptoKeyVersions.useToSign, which roles/cloudkms.signer has.
//
// Each signature costs one call, and is verified before it is used: a generation
// whose snapshot and timestamp are signed here costs two.
//
// Requests carry a CRC-32C, and the service must say that it compared it; the CRC-32C
// and the key's name in the answer are compared here.
//
// # When the service does not answer, or says no
//
// A call that is throttled, not answered in time, damaged on the way or failed
// inside the service is made again, after a wait that doubles and is partly left to
// chance, up to Config.Attempts times. (The SDK does not repeat what was throttled; what it
// does repeat is switched off here, because it would pass by the limits.) What
// remains are errors that name the key and tell what to do. They wrap
//
//   - keys.ErrUnavailable: throttled, down, or not to be reached. It may pass.
//   - keys.ErrUnusable: the key version does not exist, is not enabled, or is not
//     of the kind of its public key.
//   - keys.ErrDenied: credentials are missing, expired or wrong, or don't permit
//     the call.
//   - keys.ErrUnsupported: the key is of a kind that not all clients verify.
//   - keys.ErrSignature: the service returned what is not this key's signature.
//   - keys.ErrTooLarge: an Ed25519 key can't sign so much; the service was not
//     asked.
//   - the context's error, if that ended first.
//
// Where the service gave a status, they wrap that too, for grpc/status.FromError.
package gcpkms
