package gcpkms_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"testing"
	"testing/synctest"

	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
)

// One call fetches the key that the service has.
func TestImport(t *testing.T) {
	for a, keytype := range keytypes {
		fake, c := newClient(t, gcpkms.Config{})
		fake.keys[name] = enabled(a)
		public, err := c.Import(t.Context(), name)
		require.NoError(t, err)
		want, err := keys.NewPublicKey(privates()[a].Public())
		require.NoError(t, err)
		require.Equal(t, want, public)
		require.Equal(t, keytype, public.Type())
		require.Equal(t, []string{"GetPublicKey"}, fake.took())
	}
}

// Who may only sign can publish, and who may only view the public key can import.
func TestPermissions(t *testing.T) {
	fake, c := newClient(t, gcpkms.Config{})
	permit := func(only string) {
		fake.set(func() {
			fake.before = func(_ context.Context, _ int, method string) error {
				if method != only {
					return errDenied
				}
				return nil
			}
		})
	}
	permit("GetPublicKey")
	public, err := c.Import(t.Context(), name)
	require.NoError(t, err)
	s, err := c.Signer(name, public)
	require.NoError(t, err)
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, "cloudkms.cryptoKeyVersions.useToSign to publish")
	require.ErrorContains(t, err, name)
	require.Equal(t, []string{"GetPublicKey", "AsymmetricSign"}, fake.took(), "not tried again")

	permit("AsymmetricSign")
	_, err = s.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	_, err = c.Import(t.Context(), name)
	require.ErrorIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, "cloudkms.cryptoKeyVersions.viewPublicKey to import")
	require.Equal(t, []string{"AsymmetricSign", "GetPublicKey"}, fake.took())
}

// A public key on secp256k1, which Go doesn't have.
const secp256k1 = `-----BEGIN PUBLIC KEY-----
MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE3mtRVF5453EGb1TqhRvCIbQ4gFY+LXdX
g+GtbvAOtkLIsDe7kWeXyu2xDok7AKIavzE8/CKMmzV8RiVJc1Hvag==
-----END PUBLIC KEY-----
`

func TestImportRefusesAlgorithms(t *testing.T) {
	refused := map[algorithm]string{
		kmspb.CryptoKeyVersion_EC_SIGN_P384_SHA384:          "TUF clients differ on P-384",
		kmspb.CryptoKeyVersion_EC_SIGN_SECP256K1_SHA256:     "ECDSA with P-256, RSA-PSS and Ed25519 only",
		kmspb.CryptoKeyVersion_RSA_SIGN_PSS_4096_SHA512:     "RSA-PSS with SHA-256 only",
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_2048_SHA256:   "RSA with PSS only",
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_3072_SHA256:   "RSA with PSS only",
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA256:   "RSA with PSS only",
		kmspb.CryptoKeyVersion_RSA_SIGN_PKCS1_4096_SHA512:   "RSA with PSS only",
		kmspb.CryptoKeyVersion_RSA_SIGN_RAW_PKCS1_2048:      "RSA with PSS only",
		kmspb.CryptoKeyVersion_RSA_DECRYPT_OAEP_2048_SHA256: "it decrypts, and can't sign",
		algorithm(9999): "ECDSA with P-256, RSA-PSS and Ed25519 only", // one that is yet to come
	}
	for a, reason := range refused {
		t.Run(a.String(), func(t *testing.T) {
			fake, c := newClient(t, gcpkms.Config{})
			// What has a good public key is refused, too.
			fake.keys[name] = &fakeKey{algorithm: a, state: kmspb.CryptoKeyVersion_ENABLED, private: privates()[pss2]}
			if a == kmspb.CryptoKeyVersion_EC_SIGN_SECP256K1_SHA256 {
				fake.keys[name].private, fake.keys[name].pem = nil, secp256k1
			}
			public, err := c.Import(t.Context(), name)
			require.ErrorIs(t, err, keys.ErrUnsupported)
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, "its algorithm is "+a.String()+": ")
			require.ErrorContains(t, err, reason+": make a key of EC_SIGN_P256_SHA256")
			require.Nil(t, public)
			require.Equal(t, []string{"GetPublicKey"}, fake.took())
		})
	}
	for _, a := range []algorithm{ // which have no public key
		kmspb.CryptoKeyVersion_GOOGLE_SYMMETRIC_ENCRYPTION,
		kmspb.CryptoKeyVersion_HMAC_SHA256,
	} {
		t.Run(a.String(), func(t *testing.T) {
			fake, c := newClient(t, gcpkms.Config{})
			fake.keys[name] = &fakeKey{algorithm: a, state: kmspb.CryptoKeyVersion_ENABLED}
			_, err := c.Import(t.Context(), name)
			require.ErrorIs(t, err, keys.ErrUnusable)
			require.ErrorContains(t, err, "it does not sign")
			require.Equal(t, []string{"GetPublicKey"}, fake.took())
		})
	}
}

func TestImportRefusesStates(t *testing.T) {
	for number, state := range kmspb.CryptoKeyVersion_CryptoKeyVersionState_name {
		state, number := state, kmspb.CryptoKeyVersion_CryptoKeyVersionState(number)
		if number == kmspb.CryptoKeyVersion_ENABLED {
			continue
		}
		t.Run(state, func(t *testing.T) {
			fake, c := newClient(t, gcpkms.Config{})
			fake.keys[name].state = number
			_, err := c.Import(t.Context(), name)
			require.ErrorIs(t, err, keys.ErrUnusable)
			require.EqualError(t, err, `import GCP KMS key "`+name+`": key unusable: only an enabled version signs: `+
				`wait until it is made, enable or restore it, or put another key into the root (rpc error: code = FailedPrecondition desc = `+
				name+` is not enabled, current state is: `+state+`.)`)
			require.Equal(t, []string{"GetPublicKey"}, fake.took(), "not tried again")
		})
	}
	t.Run("not there", func(t *testing.T) {
		fake, c := newClient(t, gcpkms.Config{})
		_, err := c.Import(t.Context(), other)
		require.ErrorIs(t, err, keys.ErrUnusable)
		require.ErrorContains(t, err, "there is no such key")
		require.Equal(t, []string{"GetPublicKey"}, fake.took())
	})
}

// What the service returns is not believed.
func TestImportOfBadAnswers(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	// with replaces the PEM and keeps the checksum right.
	with := func(pem string) func(int, *kmspb.PublicKey) {
		return func(_ int, out *kmspb.PublicKey) { out.Pem, out.PemCrc32C = pem, checksum([]byte(pem)) }
	}
	for what, c := range map[string]struct {
		key   *fakeKey
		after func(call int, out *kmspb.PublicKey)
		is    error // nil: none of ours
		text  string
		calls int
	}{
		"damaged": {nil, func(_ int, out *kmspb.PublicKey) { out.Pem = "x" + out.Pem },
			keys.ErrUnavailable, "the public key was damaged on the way", 5},
		"checksum damaged": {nil, func(_ int, out *kmspb.PublicKey) { out.PemCrc32C.Value ^= 1 },
			keys.ErrUnavailable, "the public key was damaged on the way", 5},
		"checksum beyond 32 bits": {nil, func(_ int, out *kmspb.PublicKey) { out.PemCrc32C.Value += 1 << 32 },
			keys.ErrUnavailable, "the public key was damaged on the way", 5},
		"no checksum": {nil, func(_ int, out *kmspb.PublicKey) { out.PemCrc32C = nil },
			keys.ErrUnavailable, "without its checksum", 5},
		"another name": {nil, func(_ int, out *kmspb.PublicKey) { out.Name = other },
			nil, `the service answered for another key, "` + other + `"`, 1},
		"no name": {nil, func(_ int, out *kmspb.PublicKey) { out.Name = "" },
			nil, `the service answered for another key, ""`, 1},
		"another kind": {&fakeKey{algorithm: ed, private: privates()[p256]}, nil,
			nil, "the service says it is of EC_SIGN_ED25519, but returned the public key of an ecdsa key", 1},
		"too small": {&fakeKey{algorithm: pss2, private: small}, nil,
			keys.ErrUnsupported, "RSA of 1024 bits", 1},
		"no PEM":    {nil, with("hello"), nil, "not one PEM block", 1},
		"empty":     {nil, with(""), nil, "not one PEM block", 1},
		"two":       {nil, func(_ int, out *kmspb.PublicKey) { with(out.Pem+out.Pem)(0, out) }, nil, "not one PEM block", 1},
		"other PEM": {nil, with("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"), nil, "the public key the service returned: ", 1},
		"everything empty": {nil, func(_ int, out *kmspb.PublicKey) { *out = kmspb.PublicKey{Name: name, PemCrc32C: wrapperspb.Int64(0)} },
			keys.ErrUnsupported, "CRYPTO_KEY_VERSION_ALGORITHM_UNSPECIFIED", 1},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake, client := newClient(t, gcpkms.Config{})
				if c.key != nil {
					c.key.state = kmspb.CryptoKeyVersion_ENABLED
					fake.keys[name] = c.key
				}
				fake.afterPublic = c.after
				public, err := client.Import(t.Context(), name)
				require.Nil(t, public)
				onlyIs(t, err, c.is)
				require.ErrorContains(t, err, c.text)
				require.ErrorContains(t, err, `import GCP KMS key "`+name+`": `)
				require.Len(t, fake.took(), c.calls)
			})
		})
	}
	t.Run("damaged once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			fake, c := newClient(t, gcpkms.Config{})
			fake.afterPublic = func(call int, out *kmspb.PublicKey) {
				if call == 1 {
					out.PemCrc32C.Value ^= 1
				}
			}
			_, err := c.Import(t.Context(), name)
			require.NoError(t, err)
			require.Len(t, fake.took(), 2)
		})
	})
}

// onlyIs requires that err wraps want, and no other of the errors in keys.
func onlyIs(t *testing.T, err, want error) {
	t.Helper()
	require.Error(t, err)
	for _, sentinel := range []error{keys.ErrUnavailable, keys.ErrUnusable, keys.ErrDenied, keys.ErrUnsupported,
		keys.ErrSignature, keys.ErrTooLarge, context.Canceled, context.DeadlineExceeded} {
		if sentinel == want {
			require.ErrorIs(t, err, sentinel)
		} else {
			require.NotErrorIs(t, err, sentinel)
		}
	}
}
