// Package gcpkms signs TUF metadata with keys in Google Cloud Key Management Service.
//
//	client, err := gcpkms.New(gcpkms.Config{KMS: service}) // a *kms.KeyManagementClient
//	...
//	public, err := client.Import(ctx, name) // once: the root lists public
//	...
//	signer, err := client.Signer(name, public) // at each start, without a call
//
// # Keys
//
// Key versions of these algorithms make signatures that every TUF client verifies:
//
//	algorithm                         signed with                messages
//	EC_SIGN_P256_SHA256               ECDSA, by digest           of any size
//	RSA_SIGN_PSS_2048_SHA256, also    RSA-PSS, by digest         of any size
//	with 3072 and 4096 bits
//	EC_SIGN_ED25519                   Ed25519, as they are       up to 65,536 bytes
//
// Use EC_SIGN_P256_SHA256. An Ed25519 key can sign a timestamp, and a snapshot of at most
// some 1,900 bins.
//
// A key is named in full, with its version:
//
//	projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1
//
// Each version is a key of its own, which the root must list before it signs anything. So
// this package has no notion of the newest version.
//
// # Import, then sign
//
// Client.Import fetches a public key once. It needs
// cloudkms.cryptoKeyVersions.viewPublicKey. A key that can't be used is refused, with the
// reason. The public key then goes into the root, and a publisher passes it to
// Client.Signer, which makes no call. Publishing needs only
// cloudkms.cryptoKeyVersions.useToSign, which roles/cloudkms.signer has.
//
// Each signature costs one call and is verified before it is used. A generation whose
// snapshot and timestamp are signed here costs two calls.
//
// Each request carries its CRC-32C, and the service must confirm that it compared it. A
// damaged request is sent again. The answer's CRC-32C and key name are compared here.
//
// # Errors
//
// A call that is throttled, times out, is damaged on the way or fails inside the service is
// repeated, at most Config.Attempts times in all. The wait doubles each time and is partly
// random. Errors name the key and say what to do. They wrap
//
//   - keys.ErrUnavailable: the service is throttling, down or unreachable. Try again later.
//   - keys.ErrUnusable: there is no such key version, it is not enabled, or it is
//     of another kind than its public key.
//   - keys.ErrDenied: credentials are missing, expired or wrong, or no role permits
//     the call.
//   - keys.ErrUnsupported: the key is of a kind that not all clients verify.
//   - keys.ErrSignature: the signature that the service returned doesn't verify.
//   - keys.ErrTooLarge: an Ed25519 key can't sign so much. The service was not asked.
//   - the context's error, if the context ended first.
//
// What the service answered is wrapped too, for grpc's status.FromError.
package gcpkms
