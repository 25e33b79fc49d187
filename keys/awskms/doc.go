// Package awskms signs TUF metadata with keys in AWS Key Management Service.
//
//	client, err := awskms.New(awskms.Config{AWS: cfg}) // an aws.Config
//	...
//	arn, public, err := client.Import(ctx, "alias/tuf-online") // once: the root lists public
//	...
//	signer, err := client.Signer(arn, public) // at each start, without a call
//
// # Keys
//
// These kinds of KMS key make signatures that every TUF client verifies. All have the
// KeyUsage SIGN_VERIFY:
//
//	KeySpec                         signed with                   messages
//	ECC_NIST_P256                   ECDSA_SHA_256, by digest      of any size
//	RSA_2048, RSA_3072, RSA_4096    RSASSA_PSS_SHA_256, by digest of any size
//	ECC_NIST_EDWARDS25519           ED25519_SHA_512, as they are  up to 4,096 bytes
//
// Use ECC_NIST_P256. An Ed25519 key can sign a timestamp, but few snapshots or bins: KMS
// takes no larger messages, and TUF clients refuse the signatures of ED25519_PH_SHA_512,
// which it offers for those.
//
// # Import, then sign
//
// Client.Import fetches a public key once. It needs kms:DescribeKey and kms:GetPublicKey.
// A key that can't be used is refused, with the reason. The public key then goes into the
// root, and a publisher passes it to Client.Signer, which makes no call. Publishing needs
// only kms:Sign.
//
// Each signature costs one call and is verified before it is used. A generation whose
// snapshot and timestamp are signed here costs two calls.
//
// # Errors
//
// A call that is throttled, times out or fails inside KMS is repeated, at most
// Config.Attempts times in all. The wait doubles each time and is partly random. Errors
// name the key by its ARN and say what to do. They wrap
//
//   - keys.ErrUnavailable: KMS is throttling, down or unreachable. Try again later.
//   - keys.ErrUnusable: the key is disabled, deleted or about to be, or not in
//     this region or account.
//   - keys.ErrDenied: credentials are missing, expired or wrong, or a policy does
//     not permit the call.
//   - keys.ErrUnsupported: the key is of a kind that not all clients verify.
//   - keys.ErrSignature: the signature that KMS returned doesn't verify.
//   - keys.ErrTooLarge: an Ed25519 key can't sign so much. KMS was not asked.
//   - the context's error, if the context ended first.
package awskms
