// Package remote makes a keys.Signer of a service that signs over a network, such as
// a cloud's KMS. keys/awskms and keys/gcpkms are built on it; a package for another
// service says how one call is made and what its errors mean, and has the rest here:
//
//	account, err := remote.NewCaller(remote.Limits{PerSecond: 100})
//	if err != nil {
//		return nil, err
//	}
//	return account.Signer(remote.Key{
//		Name:   "vault:transit/online",
//		Public: public, // as the root lists it
//		Sign: func(ctx context.Context, digest []byte) ([]byte, error) {
//			signature, err := vault.sign(ctx, digest)
//			if errors.Is(err, errBusy) {
//				err = fmt.Errorf("%w: %w", keys.ErrUnavailable, err) // is tried again
//			}
//			return signature, err
//		},
//	}), nil
//
// What a Caller and its signers promise:
//
//   - Calls stay within the limits. All keys of one account share a Caller, because
//     they share the account's quota.
//   - A call that fails with keys.ErrUnavailable is repeated. The wait doubles each time
//     and is partly random. Every other error is final. Switch off the repeating of
//     the service's own SDK: its calls would not be counted.
//   - A signature is verified with the public key before it is returned.
//   - An error names the key, and says what the service answered last.
//
// The tests of keys/keystest show that a signer keeps all that package keys demands.
package remote
