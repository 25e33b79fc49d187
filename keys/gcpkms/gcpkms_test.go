package gcpkms_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"math"
	"sync"
	"testing"

	kms "cloud.google.com/go/kms/apiv1"
	"cloud.google.com/go/kms/apiv1/kmspb"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
	"github.com/bindery-tuf/bindery/keys/keystest"
)

const (
	key   = "projects/example/locations/global/keyRings/tuf/cryptoKeys/online"
	name  = key + "/cryptoKeyVersions/1"
	other = key + "/cryptoKeyVersions/2"
)

type algorithm = kmspb.CryptoKeyVersion_CryptoKeyVersionAlgorithm

const (
	p256 = kmspb.CryptoKeyVersion_EC_SIGN_P256_SHA256
	ed   = kmspb.CryptoKeyVersion_EC_SIGN_ED25519
	pss2 = kmspb.CryptoKeyVersion_RSA_SIGN_PSS_2048_SHA256
	pss3 = kmspb.CryptoKeyVersion_RSA_SIGN_PSS_3072_SHA256
	pss4 = kmspb.CryptoKeyVersion_RSA_SIGN_PSS_4096_SHA256
)

// keytypes are those in metadata of the algorithms that can sign it.
var keytypes = map[algorithm]string{p256: "ecdsa", ed: "ed25519", pss2: "rsa", pss3: "rsa", pss4: "rsa"}

// privates are a private key for each algorithm that can sign, made once. Bubbles
// of synctest may not be the first to make them.
var privates = sync.OnceValue(func() map[algorithm]crypto.Signer {
	made := map[algorithm]crypto.Signer{}
	for a := range keytypes {
		made[a] = generate(a)
	}
	return made
})

func generate(a algorithm) (private crypto.Signer) {
	var err error
	switch a {
	case p256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case ed:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, map[algorithm]int{pss2: 2048, pss3: 3072, pss4: 4096}[a])
	}
	if err != nil {
		panic(err)
	}
	return private
}

func TestMain(m *testing.M) {
	privates()
	m.Run()
}

func enabled(a algorithm) *fakeKey {
	return &fakeKey{algorithm: a, state: kmspb.CryptoKeyVersion_ENABLED, private: privates()[a]}
}

// newClient starts a fake that holds an enabled P-256 key under name, and makes a
// client of it.
func newClient(t *testing.T, cfg gcpkms.Config) (*fakeKMS, *gcpkms.Client) {
	t.Helper()
	fake := newFake()
	fake.keys[name] = enabled(p256)
	fake.start(t)
	cfg.KMS = fake.client(t)
	c, err := gcpkms.New(cfg)
	require.NoError(t, err)
	return fake, c
}

// newSigner imports the key under name, and forgets the call.
func newSigner(t *testing.T, fake *fakeKMS, c *gcpkms.Client) keys.Signer {
	t.Helper()
	public, err := c.Import(t.Context(), name)
	require.NoError(t, err)
	s, err := c.Signer(name, public)
	require.NoError(t, err)
	require.Equal(t, []string{"GetPublicKey"}, fake.took())
	return s
}

func TestSigner(t *testing.T) {
	for a := range keytypes {
		t.Run(a.String(), func(t *testing.T) {
			keystest.TestSigner(t, func(t *testing.T) keys.Signer {
				fake, c := newClient(t, gcpkms.Config{PerSecond: 10_000})
				fake.keys[name] = enabled(a)
				return newSigner(t, fake, c)
			})
		})
	}
}

// Only an Ed25519 key has a limit, and what is beyond it is never sent.
func TestMaxMessage(t *testing.T) {
	for a, keytype := range keytypes {
		fake, c := newClient(t, gcpkms.Config{})
		fake.keys[name] = enabled(a)
		s := newSigner(t, fake, c)
		if keytype != "ed25519" {
			require.Equal(t, math.MaxInt, s.MaxMessage())
			continue
		}
		require.Equal(t, 65_536, s.MaxMessage())
		_, err := s.Sign(t.Context(), make([]byte, 65_537))
		require.ErrorIs(t, err, keys.ErrTooLarge)
		require.ErrorContains(t, err, name)
		require.Empty(t, fake.took())
		_, err = s.Sign(t.Context(), make([]byte, 65_536))
		require.NoError(t, err)
		require.Equal(t, []string{"AsymmetricSign"}, fake.took())
	}
}

func TestNewRefuses(t *testing.T) {
	client := newFake().client(t)
	rest, err := kms.NewKeyManagementRESTClient(t.Context(), option.WithoutAuthentication())
	require.NoError(t, err)
	for want, cfg := range map[string]gcpkms.Config{
		"gcpkms: config: KMS is missing: kms.NewKeyManagementClient makes one, with the credentials it finds": {},
		"gcpkms: config: KMS uses REST: kms.NewKeyManagementClient makes one that uses gRPC":                  {KMS: rest},
		"gcpkms: config: limit PerSecond is -1: it must be above zero, what the account may call":             {KMS: client, PerSecond: -1},
		"gcpkms: config: limit Concurrent is -1: it must not be negative (0 means 16)":                        {KMS: client, Concurrent: -1},
	} {
		c, err := gcpkms.New(cfg)
		require.EqualError(t, err, want)
		require.Nil(t, c)
	}
}
