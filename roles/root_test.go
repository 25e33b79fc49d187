package roles_test

import (
	"crypto"
	"crypto/rsa"
	"testing"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

// rootOf has one authority for all roles but the root itself.
func rootOf(version int64, root, others roles.Authority) roles.RootSpec {
	return roles.RootSpec{Version: version, Expires: expiry, Root: root, Targets: others, Snapshot: others, Timestamp: others}
}

func newRoot(t *testing.T, spec roles.RootSpec) *roles.Document[metadata.RootType] {
	t.Helper()
	d, err := roles.NewRoot(spec)
	require.NoError(t, err)
	return d
}

func TestGoTUFAcceptsOurRoot(t *testing.T) {
	ed, ec, rs, online := ed25519Signer(t), ecdsaSigner(t), rsaSigner(t), ed25519Signer(t)
	unsigned := newRoot(t, rootOf(1, authorityOf(2, ed, ec, rs), authorityOf(1, online)))
	require.Contains(t, string(unsigned.Canonical()), "-----BEGIN PUBLIC KEY-----\n")

	verify := func(signers ...*testSigner) error {
		root, err := metadata.Root().FromBytes(signAll(t, unsigned, signers...).Bytes())
		require.NoError(t, err)
		return root.VerifyDelegate("root", root)
	}
	require.NoError(t, verify(ed, ec))
	require.NoError(t, verify(ec, rs))
	require.NoError(t, verify(rs, ed))
	require.NoError(t, verify(ed, ec, rs))
	require.Error(t, verify(rs))
	require.Error(t, verify(ed, online))

	timestamp, err := roles.NewTimestamp(1, expiry, 1, []byte("{}"))
	require.NoError(t, err)
	root, err := metadata.Root().FromBytes(unsigned.Bytes())
	require.NoError(t, err)
	signed, err := metadata.Timestamp().FromBytes(signAll(t, timestamp, online).Bytes())
	require.NoError(t, err)
	require.NoError(t, root.VerifyDelegate("timestamp", signed))
}

func TestWeAcceptTheRootOfGoTUF(t *testing.T) {
	signers := []*testSigner{ed25519Signer(t), ecdsaSigner(t), rsaSigner(t)}
	root := metadata.Root(expiry)
	for _, s := range signers {
		key, err := metadata.KeyFromPublicKey(s.private.Public())
		require.NoError(t, err)
		for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
			require.NoError(t, root.Signed.AddKey(key, role))
		}
	}
	root.Signed.Roles["root"].Threshold = 3
	for _, s := range signers {
		signer, err := signature.LoadSignerWithOpts(s.private, options.WithRSAPSS(&rsa.PSSOptions{SaltLength: 32, Hash: crypto.SHA256}))
		require.NoError(t, err)
		_, err = root.Sign(signer)
		require.NoError(t, err)
	}
	for _, pretty := range []bool{false, true} {
		data, err := root.ToBytes(pretty)
		require.NoError(t, err)
		d, err := roles.Parse[metadata.RootType](data)
		require.NoError(t, err)
		a, err := roles.RootAuthority(d, "root")
		require.NoError(t, err)
		require.Equal(t, 3, a.Threshold)
		require.Len(t, a.Keys, 3)
		require.NoError(t, a.Verify(d))
	}
}

func TestNewRootIsDeterministic(t *testing.T) {
	a, b, c := ed25519Signer(t), ed25519Signer(t), ed25519Signer(t)
	first := newRoot(t, rootOf(1, authorityOf(2, a, b, c), authorityOf(1, a)))
	second := newRoot(t, rootOf(1, authorityOf(2, c, a, b), authorityOf(1, a)))
	require.Equal(t, string(first.Bytes()), string(second.Bytes()))
	require.Equal(t, string(signAll(t, first, a, b).Bytes()), string(signAll(t, second, b, a).Bytes()))
	require.True(t, first.Signed().ConsistentSnapshot)
	require.Len(t, first.Signed().Keys, 3)
}

func TestNewRootRefuses(t *testing.T) {
	a, b := ed25519Signer(t), ed25519Signer(t)
	_, err := roles.NewRoot(rootOf(7, authorityOf(1, a), authorityOf(2, b)))
	require.EqualError(t, err, "root version 7: role targets: a threshold of 2 with 1 keys: it must be from 1 to the number of keys")
	_, err = roles.NewRoot(rootOf(7, authorityOf(1, a), authorityOf(1, renamed(t, b, a.public.ID()))))
	require.EqualError(t, err, "root version 7: role targets: key "+a.public.ID()+": another key has this ID")
	_, err = roles.NewRoot(rootOf(0, authorityOf(1, a), authorityOf(1, b)))
	require.EqualError(t, err, "root: signed.version: 0 is not an integer from 1 to 9007199254740991")
}

func TestVerifyRootUpdate(t *testing.T) {
	a, b, c, d, online := ed25519Signer(t), ecdsaSigner(t), ed25519Signer(t), ed25519Signer(t), ed25519Signer(t)
	others := authorityOf(1, online)
	one := signAll(t, newRoot(t, rootOf(1, authorityOf(2, a, b), others)), a, b)
	unsigned := newRoot(t, rootOf(2, authorityOf(2, c, d), others))

	require.NoError(t, roles.VerifyRootUpdate(one, signAll(t, unsigned, a, b, c, d)))
	require.EqualError(t, roles.VerifyRootUpdate(one, signAll(t, unsigned, b, c, d)),
		"root version 2: by the keys of root version 1: 1 of 2 signatures: key "+a.public.ID()+": no signature")
	require.EqualError(t, roles.VerifyRootUpdate(one, signAll(t, unsigned, a, b, c)),
		"root version 2: by the keys of root version 2: 1 of 2 signatures: key "+d.public.ID()+": no signature")
	require.EqualError(t, roles.VerifyRootUpdate(one, one), "root version 1 does not follow version 1: version 2 must come next")
	three := signAll(t, newRoot(t, rootOf(3, authorityOf(2, a, b), others)), a, b)
	require.EqualError(t, roles.VerifyRootUpdate(one, three), "root version 3 does not follow version 1: version 2 must come next")
}

func TestUpdateToOneKeyOfBoth(t *testing.T) {
	a, b, online := ed25519Signer(t), ed25519Signer(t), ed25519Signer(t)
	others := authorityOf(1, online)
	one := signAll(t, newRoot(t, rootOf(1, authorityOf(1, a), others)), a)
	two := newRoot(t, rootOf(2, authorityOf(2, a, b), others))
	require.NoError(t, roles.VerifyRootUpdate(one, signAll(t, two, a, b)))
	require.Error(t, roles.VerifyRootUpdate(one, signAll(t, two, a)))
}
