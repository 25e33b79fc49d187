// Package remote signs with keys at the other end of a network: what the packages
// for cloud KMSs share. A package says how one call is made and what its errors
// mean; this one bounds, repeats, verifies and names them.
//
//   - All keys of one account share a Caller, because they share its quota.
//   - A call that fails with keys.ErrUnavailable is repeated, after a wait that
//     doubles and is partly left to chance; every other error is final. The SDKs'
//     own repeating must be switched off, or calls would pass by the limits.
//   - No signature is returned that was not verified with the public key.
package remote
