// Package awskms signs with keys in AWS Key Management Service.
//
// # Keys
//
// These kinds of KMS key sign TUF metadata that every client verifies; all are of
// KeyUsage SIGN_VERIFY:
//
//	KeySpec                         signed with                   messages
//	ECC_NIST_P256                   ECDSA_SHA_256, by digest      of any size
//	RSA_2048, RSA_3072, RSA_4096    RSASSA_PSS_SHA_256, by digest of any size
//	ECC_NIST_EDWARDS25519           ED25519_SHA_512, as they are  up to 4,096 bytes
//
// ECC_NIST_P256 is the one to take. An Ed25519 key can sign a timestamp, but
// hardly a snapshot or a bin: KMS takes no larger messages, and what it offers for
// those, ED25519_PH_SHA_512, gives signatures that TUF clients refuse.
//
// # Import, then sign
//
// Client.Import fetches a public key, once, and refuses a key that can't be used,
// with the reason. It needs kms:DescribeKey and kms:GetPublicKey. The public key
// then goes into the root, where a publisher finds it again: Client.Signer takes
// it from there and makes no call, and all that publishing needs is kms:Sign.
//
// Each signature costs one call, and is verified before it is used: a generation
// whose snapshot and timestamp are signed here costs two.
//
// # When KMS does not answer, or says no
//
// A call that is throttled, not answered in time or failed inside KMS is made
// again, after a wait that doubles and is partly left to chance, up to
// Config.Attempts times. What remains are errors that name the key by its ARN and
// tell what to do. They wrap
//
//   - keys.ErrUnavailable: throttled, down, or not to be reached. It may pass.
//   - keys.ErrUnusable: the key is disabled, deleted or about to be, or not in
//     this region or account.
//   - keys.ErrDenied: credentials are missing, expired or wrong, or a policy does
//     not permit the call.
//   - keys.ErrUnsupported: the key is of a kind that not all clients verify.
//   - keys.ErrSignature: KMS returned what is not this key's signature.
//   - keys.ErrTooLarge: an Ed25519 key can't sign so much; KMS was not asked.
//   - the context's error, if that ended first.
package awskms
