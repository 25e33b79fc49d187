//go:build pkcs11 && cgo

package pkcs11_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/pkcs11"
	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"
)

// faultyKey returns a key on a token that the faulty module reaches.
func faultyKey(t *testing.T, label string) (k *token, a *asked, cfg pkcs11.Config, logins func() int) {
	t.Helper()
	k = newToken(t, label)
	k.generate(t, p256, "key", []byte{1})
	logins = k.faulty(t)
	a = &asked{pin: userPIN}
	cfg = k.config("key")
	cfg.PIN = a.PIN
	return k, a, cfg, logins
}

func TestOpenRefuses(t *testing.T) {
	k := newToken(t, "refuses")
	k.generate(t, p256, "twice", []byte{1})
	k.generate(t, p256, "twice", []byte{2})
	k.generate(t, p384, "p384", nil)
	k.generate(t, p256, "no signing", nil, p11.NewAttribute(p11.CKA_SIGN, false))
	noModule := filepath.Join(t.TempDir(), "module.so")
	text := filepath.Join(t.TempDir(), "text.so")
	require.NoError(t, os.WriteFile(text, []byte("no library"), 0o600))
	for name, c := range map[string]struct {
		change func(*pkcs11.Config)
		want   error
		text   string
	}{
		"no module":         {func(c *pkcs11.Config) { c.Module = noModule }, keys.ErrUnusable, "module.so: no such file"},
		"a folder":          {func(c *pkcs11.Config) { c.Module = filepath.Dir(text) }, keys.ErrUnusable, "is not a file"},
		"not a module":      {func(c *pkcs11.Config) { c.Module = text }, keys.ErrUnusable, "can't be loaded as a PKCS#11 module"},
		"no token":          {func(c *pkcs11.Config) { c.Token = "absent" }, keys.ErrUnusable, `token "absent": open with key "twice": key unusable: no such token is there`},
		"another serial":    {func(c *pkcs11.Config) { c.Serial = "1" }, keys.ErrUnusable, `token "refuses" serial "1"`},
		"no key":            {func(c *pkcs11.Config) { c.Object = "absent" }, keys.ErrUnusable, `key "absent": key unusable: the token has no such private key`},
		"no key of this ID": {func(c *pkcs11.Config) { c.ID = []byte{3} }, keys.ErrUnusable, `key "twice" ID 03`},
		"two keys":          {func(*pkcs11.Config) {}, keys.ErrUnusable, "2 or more private keys match: name one by both its label and its ID"},
		"P-384":             {func(c *pkcs11.Config) { c.Object = "p384" }, keys.ErrUnsupported, "a curve other than P-256 and Ed25519"},
		"may not sign":      {func(c *pkcs11.Config) { c.Object = "no signing" }, keys.ErrDenied, "CKA_SIGN is false"},
		"no PIN":            {func(c *pkcs11.Config) { c.PIN = nil }, keys.ErrDenied, "Config.PIN is nil"},
		"empty PIN":         {func(c *pkcs11.Config) { c.PIN = (&asked{}).PIN }, keys.ErrDenied, "the PIN is empty"},
		"short PIN":         {func(c *pkcs11.Config) { c.PIN = (&asked{pin: "1"}).PIN }, keys.ErrDenied, "from 4 to 255 bytes, so this one was not presented"},
		"PIN not given": {func(c *pkcs11.Config) {
			c.PIN = func(context.Context, string) ([]byte, error) { return nil, os.ErrClosed }
		}, os.ErrClosed, "PIN: file already closed"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := k.config("twice")
			c.change(&cfg)
			s, err := pkcs11.Open(t.Context(), cfg)
			require.Nil(t, s)
			require.ErrorContains(t, err, c.text)
			require.ErrorIs(t, err, c.want)
		})
	}
	cfg := k.config("twice")
	cfg.ID = []byte{2}
	signs(t, open(t, cfg))
}

func TestTwoTokensOfOneName(t *testing.T) {
	k := newToken(t, "twins")
	k.generate(t, p256, "key", nil)
	other := newToken(t, "twins")
	_, err := pkcs11.Open(t.Context(), k.config("key"))
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "2 tokens match, with the serial numbers")
	info, err := k.module.GetTokenInfo(k.slot)
	require.NoError(t, err)
	cfg := k.config("key")
	cfg.Serial = info.SerialNumber
	signs(t, open(t, cfg))
	info, err = k.module.GetTokenInfo(other.slot)
	require.NoError(t, err)
	cfg.Serial = info.SerialNumber
	_, err = pkcs11.Open(t.Context(), cfg)
	require.ErrorContains(t, err, "the token has no such private key")
}

// A wrong PIN is presented once, and no other after it.
func TestWrongPIN(t *testing.T) {
	_, a, cfg, logins := faultyKey(t, "wrong PIN")
	a.pin = "hunter22"
	s, err := pkcs11.Open(t.Context(), cfg)
	require.Nil(t, s)
	require.ErrorIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, "wrong PIN; the token locks itself after a few wrong ones")
	require.NotContains(t, err.Error(), "hunter22")
	require.Equal(t, 1, logins())

	// SoftHSM2 says that the last one was wrong.
	a.pin, a.prompts = userPIN, nil
	signs(t, open(t, cfg))
	require.Equal(t, []string{`PIN of token "wrong PIN" (the last one was wrong; the token locks itself after a few)`}, a.prompts)
}

func TestWrongPINAfterASessionWasLost(t *testing.T) {
	_, a, cfg, logins := faultyKey(t, "wrong later")
	s := open(t, cfg)
	signs(t, s)
	t.Setenv("FAULTY", "C_SignInit=0xB3")
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	t.Setenv("FAULTY", "")

	a.pin = "hunter22"
	require.Equal(t, 1, logins())
	for range 3 {
		_, err = s.Sign(t.Context(), []byte("message"))
		require.ErrorIs(t, err, keys.ErrDenied)
		require.NotContains(t, err.Error(), "hunter22")
		require.Equal(t, 2, logins())
		require.Len(t, a.prompts, 2)
	}
	require.ErrorContains(t, err, "no other PIN is presented after this one")
	a.pin = userPIN
	signs(t, open(t, cfg))
}

func TestWrongPINForOneSignature(t *testing.T) {
	k := newToken(t, "wrong once")
	k.generate(t, p256, "key", nil, p11.NewAttribute(p11.CKA_SIGN, true), p11.NewAttribute(p11.CKA_ALWAYS_AUTHENTICATE, true))
	logins := k.faulty(t)
	a := &asked{pin: userPIN}
	cfg := k.config("key")
	cfg.PIN = a.PIN
	s := open(t, cfg)
	a.pin = "hunter22"
	for range 3 {
		_, err := s.Sign(t.Context(), []byte("message"))
		require.ErrorIs(t, err, keys.ErrDenied)
	}
	require.Equal(t, 2, logins())
}

// What a token says of its PIN is believed before one is presented.
func TestPINNotPresented(t *testing.T) {
	_, a, cfg, logins := faultyKey(t, "not presented")
	const finalTry = "C_GetTokenInfo=0x20000"
	for flag, want := range map[string]string{
		"C_GetTokenInfo=0x40000": "the PIN is locked after too many wrong ones",
		finalTry:                 "one more wrong PIN would lock the token, so none is presented",
	} {
		t.Setenv("FAULTY", flag)
		_, err := pkcs11.Open(t.Context(), cfg)
		require.ErrorIs(t, err, keys.ErrDenied)
		require.ErrorContains(t, err, want)
	}
	require.Empty(t, a.prompts)
	require.Equal(t, 0, logins())

	t.Setenv("FAULTY", finalTry)
	cfg.FinalTry = true
	open(t, cfg)
	require.Equal(t, []string{`PIN of token "not presented" (a wrong one LOCKS the token)`}, a.prompts)
	require.Equal(t, 1, logins())
}

func TestTokenFails(t *testing.T) {
	_, a, cfg, _ := faultyKey(t, "fails")
	for fault, c := range map[string]struct {
		want error
		text string
	}{
		"C_Sign=0x32":       {keys.ErrUnusable, "the token was removed: insert it and sign again: pkcs11: 0x32: CKR_DEVICE_REMOVED"},
		"C_SignInit=0xE0":   {keys.ErrUnusable, "CKR_TOKEN_NOT_PRESENT"},
		"C_SignInit=0xB3":   {keys.ErrUnavailable, "the token ended the session or locked itself"},
		"C_SignInit=0x101":  {keys.ErrUnavailable, "logs in anew: pkcs11: 0x101: CKR_USER_NOT_LOGGED_IN"},
		"C_SignInit=0x82":   {keys.ErrUnusable, "the token no longer has the key"},
		"C_SignInit=0x90":   {keys.ErrUnavailable, "CKR_OPERATION_ACTIVE"},
		"C_SignInit=0x70":   {keys.ErrUnsupported, "can't sign with this key in the way that TUF needs"},
		"C_SignInit=0x68":   {keys.ErrDenied, "does not permit it"},
		"C_Sign=0x50":       {keys.ErrDenied, "the use was declined at the token"},
		"C_Sign=0x21":       {keys.ErrTooLarge, "does not take a message of this size"},
		"C_Sign=0x30":       {keys.ErrUnavailable, "the token failed: pkcs11: 0x30: CKR_DEVICE_ERROR"},
		"C_Sign=0x80000001": {keys.ErrUnavailable, "the token failed"},
		"C_Sign=flip":       {keys.ErrSignature, "is it the same token as before?"},
		"C_Sign=short":      {keys.ErrSignature, "63 bytes, want 64"},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Setenv("FAULTY", "")
			s := open(t, cfg)
			a.prompts = nil
			t.Setenv("FAULTY", fault)
			sig, err := s.Sign(t.Context(), []byte("message"))
			require.Empty(t, sig)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, `token "fails": sign with key "key" (key ID `+s.Public().ID()+")")
			require.Empty(t, a.prompts, "no call is repeated")

			// Once the fault is gone it signs, in a new session.
			t.Setenv("FAULTY", "")
			signs(t, s)
			require.Len(t, a.prompts, 1)
		})
	}
	for fault, want := range map[string]error{
		"C_OpenSession=0xE0":     keys.ErrUnusable,
		"C_Login=0xA4":           keys.ErrDenied,
		"C_Login=0xA3":           keys.ErrDenied,
		"C_Login=0x30":           keys.ErrUnavailable,
		"C_FindObjectsInit=0x30": keys.ErrUnavailable,
	} {
		t.Setenv("FAULTY", fault)
		_, err := pkcs11.Open(t.Context(), cfg)
		require.ErrorIs(t, err, want, fault)
	}
}

// With SoftHSM2 itself: another part of the process logs out.
func TestLockedWhileInUse(t *testing.T) {
	k := newToken(t, "logged out")
	k.generate(t, p256, "key", nil)
	a := &asked{pin: userPIN}
	cfg := k.config("key")
	cfg.PIN = a.PIN
	s := open(t, cfg)
	session, err := k.module.OpenSession(k.slot, p11.CKF_SERIAL_SESSION)
	require.NoError(t, err)
	require.NoError(t, k.module.Logout(session))
	require.NoError(t, k.module.CloseSession(session))
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorContains(t, err, "locked")
	require.ErrorContains(t, err, "sign again")
	require.Len(t, a.prompts, 1)
	signs(t, s)
	require.Len(t, a.prompts, 2)
}

// With SoftHSM2 itself: the token ends all sessions, as when it is reset; and the
// key is destroyed, and another one made in its place.
func TestResetAndKeyReplaced(t *testing.T) {
	k := newToken(t, "reset")
	k.generate(t, p256, "key", nil)
	s := open(t, k.config("key"))
	require.NoError(t, k.module.CloseAllSessions(k.slot))
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorContains(t, err, "the token ended the session")
	signs(t, s)

	k.destroy(t, p11.CKO_PRIVATE_KEY, "key")
	k.destroy(t, p11.CKO_PUBLIC_KEY, "key")
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnusable)
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "the token has no such private key")

	k.generate(t, p256, "key", nil)
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrSignature)
	require.ErrorContains(t, err, s.Public().ID())
}

// hang makes the module hang, and returns what ends that.
func hang(t *testing.T, name string) (end func()) {
	t.Helper()
	t.Setenv("FAULTY", name+"=hang")
	return func() { require.NoError(t, os.Setenv("FAULTY", "")) }
}

func TestTokenHangsAndTheCallerGivesUp(t *testing.T) {
	_, _, cfg, _ := faultyKey(t, "hangs")
	s := open(t, cfg)
	end := hang(t, "C_Sign")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := s.Sign(ctx, []byte("message"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, keys.ErrUnavailable)
	end()
	signs(t, s)
}

func TestTokenHangsUntilTheTimeout(t *testing.T) {
	_, a, cfg, _ := faultyKey(t, "times out")
	cfg.Timeout = 3 * time.Second
	s := open(t, cfg)
	end := hang(t, "C_Sign")
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorContains(t, err, "the token did not answer within 3s")
	// The others don't wait for ever, nor does Close.
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorContains(t, err, "not yet returned from an earlier call")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Sign(canceled, []byte("message"))
	require.ErrorIs(t, err, context.Canceled)
	end()
	waiting, err := s.Sign(t.Context(), []byte("message"))
	if err == nil { // SoftHSM2 needed less than that
		require.NoError(t, s.Public().Verify([]byte("message"), waiting))
		require.Len(t, a.prompts, 2)
	}

	end = hang(t, "C_SignInit")
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.NoError(t, s.Close())
	end()
}

// A wrong PIN counts even if the answer came when nobody waited for it.
func TestWrongPINAfterTheTimeout(t *testing.T) {
	_, a, cfg, logins := faultyKey(t, "late")
	cfg.Timeout = 3 * time.Second
	s := open(t, cfg)
	t.Setenv("FAULTY", "C_SignInit=0xB3")
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)

	end := hang(t, "C_Login")
	a.pin = "hunter22"
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorContains(t, err, "did not answer within 3s")
	end()
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, "no other PIN is presented")
	require.Equal(t, 2, logins())
}

// With SoftHSM2 itself: the files of the token are gone. (It doesn't notice when
// they come back; that a signer finds such a token is seen in TestTokenFails.)
func TestRemovedWhileInUse(t *testing.T) {
	pattern := filepath.Join(filepath.Dir(os.Getenv("SOFTHSM2_CONF")), "tokens", "*")
	before, err := filepath.Glob(pattern)
	require.NoError(t, err)
	k := newToken(t, "removed")
	k.generate(t, p256, "key", nil)
	s := open(t, k.config("key"))
	signs(t, s)
	after, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.Len(t, after, len(before)+1)
	for _, files := range after {
		if !slices.Contains(before, files) {
			require.NoError(t, os.RemoveAll(files))
		}
	}
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "or was removed or locked in the meantime")
	_, err = s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "no such token is there")
	require.ErrorContains(t, err, `token "removed": sign with key "key" (key ID `+s.Public().ID()+")")
}
