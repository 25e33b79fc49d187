// Package gcpkms signs with keys in Google Cloud Key Management Service.
//
// # Keys
//
// These algorithms of a key version sign TUF metadata that every client verifies:
//
//	algorithm                         signed with                messages
//	EC_SIGN_P256_SHA256               ECDSA, by digest           of any size
//	RSA_SIGN_PSS_2048_SHA256, also    RSA-PSS, by digest         of any size
//	with 3072 and 4096 bits
//	EC_SIGN_ED25519                   Ed25519, as they are       up to 65,536 bytes
//
// EC_SIGN_P256_SHA256 is the one to take. An Ed25519 key can sign a timestamp, and
// the snapshot of some 1,900 bins, but none of more.
//
// A key is named in full, with its version:
//
//	projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1
//
// Each version is a key of its own, which the root has to list before it signs
// anything. So there is nothing here like the newest version.
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
// A request carries its CRC-32C, which the service must say it compared; what it
// says was damaged is sent again. The CRC-32C of the answer is compared here, and
// so is the name of the key in it.
//
// # When the service does not answer, or says no
//
// A call that is throttled, not answered in time, damaged on the way or failed
// inside the service is made again, after a wait that doubles and is partly left
// to chance, up to Config.Attempts times. What remains are errors that name the
// key and tell what to do. They wrap
//
//   - keys.ErrUnavailable: throttled, down, or not to be reached. It may pass.
//   - keys.ErrUnusable: there is no such key version, it is not enabled, or it is
//     of another kind than its public key.
//   - keys.ErrDenied: credentials are missing, expired or wrong, or no role permits
//     the call.
//   - keys.ErrUnsupported: the key is of a kind that not all clients verify.
//   - keys.ErrSignature: the service returned what is not this key's signature.
//   - keys.ErrTooLarge: an Ed25519 key can't sign so much; the service was not
//     asked.
//   - the context's error, if that ended first.
//
// What the service answered is wrapped too, for grpc's status.FromError.
package gcpkms
