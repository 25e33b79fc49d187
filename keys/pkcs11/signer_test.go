//go:build pkcs11 && cgo

package pkcs11_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
	"github.com/bindery-tuf/bindery/keys/pkcs11"
	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"
)

func TestSigner(t *testing.T) {
	k := newToken(t, "signer")
	for name, kind := range map[string]keyKind{"P-256": p256, "RSA": rsa, "Ed25519": ed25519} {
		t.Run(name, func(t *testing.T) {
			k.generate(t, kind, name, []byte(name))
			// One token, many signers.
			keystest.TestSigner(t, func(t *testing.T) keys.Signer { return open(t, k.config(name)) }, userPIN)
			one := open(t, k.config(name))
			keystest.TestSigner(t, func(t *testing.T) keys.Signer { return one }, userPIN)
		})
	}
}

func TestEd25519Limit(t *testing.T) {
	k := newToken(t, "limit")
	k.generate(t, ed25519, "ed", nil)
	k.generate(t, p256, "p256", nil)
	cfg := k.config("ed")
	require.Equal(t, math.MaxInt, open(t, cfg).MaxMessage())
	cfg.MaxMessage = 2048
	keystest.TestSigner(t, func(t *testing.T) keys.Signer { return open(t, cfg) }, userPIN)
	require.Equal(t, 2048, open(t, cfg).MaxMessage())
	cfg.Object = "p256"
	require.Equal(t, math.MaxInt, open(t, cfg).MaxMessage())
}

// One PIN for a session, one more for each signature where the key demands it.
func TestPINs(t *testing.T) {
	k := newToken(t, "pins")
	k.generate(t, p256, "once", nil)
	k.generate(t, p256, "always", nil, p11.NewAttribute(p11.CKA_SIGN, true), p11.NewAttribute(p11.CKA_ALWAYS_AUTHENTICATE, true))
	logins := k.faulty(t)

	a := &asked{pin: userPIN}
	cfg := k.config("once")
	cfg.PIN = a.PIN
	s := open(t, cfg)
	signs(t, s)
	signs(t, s)
	require.Equal(t, []string{`PIN of token "pins"`}, a.prompts)
	require.Equal(t, 1, logins())

	// The token is logged in already.
	cfg.Object = "always"
	always := open(t, cfg)
	require.Len(t, a.prompts, 1)
	signs(t, always)
	signs(t, always)
	require.Equal(t, []string{`PIN of token "pins"`, `PIN of token "pins", for one signature`, `PIN of token "pins", for one signature`}, a.prompts)
	require.Equal(t, 3, logins())

	// With the last session the login ends.
	require.NoError(t, always.Close())
	require.NoError(t, s.Close())
	open(t, cfg)
	require.Equal(t, 4, logins())
}

func TestPublicKey(t *testing.T) {
	k := newToken(t, "public")
	k.generate(t, p256, "key", []byte{1})
	s := open(t, k.config("key"))
	p := s.Public()

	// By its ID alone, and by all that the token has.
	info, err := k.module.GetTokenInfo(k.slot)
	require.NoError(t, err)
	byID := pkcs11.Config{
		Module: k.path, Serial: info.SerialNumber, Manufacturer: info.ManufacturerID, Model: info.Model,
		ID: []byte{1}, PIN: k.config("").PIN,
	}
	require.True(t, open(t, byID).Public().Same(p))

	// Under the ID of the metadata.
	listed, err := keys.ParsePublicKey("their-id", p.Type(), p.Scheme(), p.Value())
	require.NoError(t, err)
	cfg := k.config("key")
	cfg.Public = listed
	require.Same(t, listed, open(t, cfg).Public())

	// Another one.
	other, err := keys.GenerateP256()
	require.NoError(t, err)
	cfg.Public = other.Public()
	_, err = pkcs11.Open(t.Context(), cfg)
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "the token has the key "+p.ID()+" under this name, and not "+other.Public().ID())

	// A token that has the private key only.
	k.destroy(t, p11.CKO_PUBLIC_KEY, "key")
	cfg.Public = nil
	_, err = pkcs11.Open(t.Context(), cfg)
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "no public key object")
	cfg.Public = listed
	signs(t, open(t, cfg))
	cfg.Public = other.Public()
	wrong := open(t, cfg) // seen when it signs
	_, err = wrong.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrSignature)
	require.ErrorContains(t, err, other.Public().ID())
}

func TestFormatShowsNamesOnly(t *testing.T) {
	k := newToken(t, "format")
	k.generate(t, p256, "key", []byte{1})
	s := open(t, k.config("key"))
	want := `key "key" of token "format" (ecdsa-sha2-nistp256, ID ` + s.Public().ID() + ")"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, want, fmt.Sprintf(verb, s))
	}
}

func TestClosed(t *testing.T) {
	k := newToken(t, "closed")
	k.generate(t, p256, "key", nil)
	s := open(t, k.config("key"))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorContains(t, err, "the signer is closed")
}

func TestOpener(t *testing.T) {
	k := newToken(t, "a token; with = 100%")
	k.generate(t, p256, "root", []byte{0xff, 0x00})
	known := open(t, k.config("root")).Public()
	r := keys.Resolver{"pkcs11": pkcs11.Opener(pkcs11.Config{Token: "ignored", Object: "ignored", ID: []byte("ignored"), PIN: k.config("").PIN})}
	s, err := r.Open(t.Context(), "pkcs11:token=a%20token%3B%20with%20%3D%20100%25;object=root;id=%FF%00;type=private?module-path="+k.path, known)
	require.NoError(t, err)
	signs(t, s)
	require.NoError(t, s.(pkcs11.Signer).Close())
}
