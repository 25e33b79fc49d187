//go:build pkcs11 && cgo

package pkcs11_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/pkcs11"
	p11 "github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"
)

const userPIN, soPIN = "123456", "87654321"

// modules are where distributions put SoftHSM2.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// TestMain keeps the tokens of these tests away from those of the user. SoftHSM2
// reads its configuration once in a process.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "softhsm2")
	if err != nil {
		panic(err)
	}
	configuration := filepath.Join(dir, "softhsm2.conf")
	tokens := filepath.Join(dir, "tokens")
	err = os.Mkdir(tokens, 0o700)
	if err == nil {
		err = os.WriteFile(configuration, []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"), 0o600)
	}
	if err == nil {
		err = os.Setenv("SOFTHSM2_CONF", configuration)
	}
	if err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// softHSM returns the module and its path. Without it the test is skipped, unless
// BINDERY_INTEROP is 1.
func softHSM(t *testing.T) (*p11.Ctx, string) {
	t.Helper()
	i := slices.IndexFunc(modules, func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	})
	if i < 0 {
		if os.Getenv("BINDERY_INTEROP") == "1" {
			require.Fail(t, "SoftHSM2 is in none of the usual places")
		}
		t.Skip("SoftHSM2 is not installed")
	}
	module := p11.New(modules[i])
	require.NotNil(t, module)
	if err := module.Initialize(); err != nil {
		require.Equal(t, p11.Error(p11.CKR_CRYPTOKI_ALREADY_INITIALIZED), err)
	}
	return module, modules[i]
}

// token is one of SoftHSM2.
type token struct {
	module *p11.Ctx
	path   string // of the module
	label  string
	slot   uint
}

// newToken makes a token with a label.
func newToken(t *testing.T, label string) *token {
	t.Helper()
	module, path := softHSM(t)
	slots, err := module.GetSlotList(true)
	require.NoError(t, err)
	free := slices.IndexFunc(slots, func(slot uint) bool {
		info, err := module.GetTokenInfo(slot)
		return err == nil && info.Flags&p11.CKF_TOKEN_INITIALIZED == 0
	})
	require.GreaterOrEqual(t, free, 0)
	k := &token{module, path, label, slots[free]}
	require.NoError(t, module.InitToken(k.slot, soPIN, label))
	s, err := module.OpenSession(k.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, module.Login(s, p11.CKU_SO, soPIN))
	require.NoError(t, module.InitPIN(s, userPIN))
	require.NoError(t, module.Logout(s))
	require.NoError(t, module.CloseSession(s))
	return k
}

// inSession calls do with a session of the user.
func (k *token) inSession(t *testing.T, do func(p11.SessionHandle)) {
	t.Helper()
	s, err := k.module.OpenSession(k.slot, p11.CKF_SERIAL_SESSION|p11.CKF_RW_SESSION)
	require.NoError(t, err)
	if err := k.module.Login(s, p11.CKU_USER, userPIN); err != nil {
		require.Equal(t, p11.Error(p11.CKR_USER_ALREADY_LOGGED_IN), err)
	}
	do(s)
	require.NoError(t, k.module.CloseSession(s))
}

// The kinds of key, with how they are made.
var (
	p256 = keyKind{p11.CKM_EC_KEY_PAIR_GEN, p11.NewAttribute(p11.CKA_EC_PARAMS, []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})}
	p384 = keyKind{p11.CKM_EC_KEY_PAIR_GEN, p11.NewAttribute(p11.CKA_EC_PARAMS, []byte{6, 5, 0x2b, 0x81, 4, 0, 34})}
	rsa  = keyKind{p11.CKM_RSA_PKCS_KEY_PAIR_GEN, p11.NewAttribute(p11.CKA_MODULUS_BITS, 2048)}
	// CKM_EC_EDWARDS_KEY_PAIR_GEN of PKCS#11 v3.0.
	ed25519 = keyKind{0x1055, p11.NewAttribute(p11.CKA_EC_PARAMS, append([]byte{0x13, 12}, "edwards25519"...))}
)

type keyKind struct {
	mechanism uint
	parameter *p11.Attribute
}

// generate makes a key pair; more are attributes of the private key.
func (k *token) generate(t *testing.T, kind keyKind, label string, id []byte, more ...*p11.Attribute) {
	t.Helper()
	names := []*p11.Attribute{p11.NewAttribute(p11.CKA_TOKEN, true), p11.NewAttribute(p11.CKA_LABEL, label)}
	if id != nil {
		names = append(names, p11.NewAttribute(p11.CKA_ID, id))
	}
	public := append(slices.Clone(names), p11.NewAttribute(p11.CKA_VERIFY, true), kind.parameter)
	private := append(slices.Clone(names), p11.NewAttribute(p11.CKA_PRIVATE, true), p11.NewAttribute(p11.CKA_SENSITIVE, true))
	if len(more) == 0 {
		more = []*p11.Attribute{p11.NewAttribute(p11.CKA_SIGN, true)}
	}
	k.inSession(t, func(s p11.SessionHandle) {
		_, _, err := k.module.GenerateKeyPair(s, []*p11.Mechanism{p11.NewMechanism(kind.mechanism, nil)}, public, append(private, more...))
		require.NoError(t, err)
	})
}

// destroy destroys the objects of a class with a label.
func (k *token) destroy(t *testing.T, class uint, label string) {
	t.Helper()
	k.inSession(t, func(s p11.SessionHandle) {
		require.NoError(t, k.module.FindObjectsInit(s, []*p11.Attribute{p11.NewAttribute(p11.CKA_CLASS, class), p11.NewAttribute(p11.CKA_LABEL, label)}))
		objects, _, err := k.module.FindObjects(s, 10)
		require.NoError(t, err)
		require.NoError(t, k.module.FindObjectsFinal(s))
		require.NotEmpty(t, objects)
		for _, o := range objects {
			require.NoError(t, k.module.DestroyObject(s, o))
		}
	})
}

// asked is a Config.PIN that notes the prompts.
type asked struct {
	pin     string
	prompts []string
}

func (a *asked) PIN(_ context.Context, prompt string) ([]byte, error) {
	a.prompts = append(a.prompts, prompt)
	return []byte(a.pin), nil
}

// config is of a key on the token, with the right PIN.
func (k *token) config(object string) pkcs11.Config {
	return pkcs11.Config{Module: k.path, Token: k.label, Object: object, PIN: (&asked{pin: userPIN}).PIN}
}

// open opens a signer that is closed at the end of the test.
func open(t *testing.T, cfg pkcs11.Config) pkcs11.Signer {
	t.Helper()
	s, err := pkcs11.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// signs requires that s signs.
func signs(t *testing.T, s keys.Signer) {
	t.Helper()
	sig, err := s.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	require.NoError(t, s.Public().Verify([]byte("message"), sig))
}

// buildFaulty compiles the module in front of SoftHSM2, once.
var buildFaulty = sync.OnceValues(func() (string, error) {
	i := slices.IndexFunc(modules, func(path string) bool { _, err := os.Stat(path); return err == nil })
	headers, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/miekg/pkcs11").Output()
	if err != nil {
		return "", fmt.Errorf("the headers: %w", err)
	}
	name := filepath.Join(filepath.Dir(os.Getenv("SOFTHSM2_CONF")), "faulty.so")
	compiler, err := exec.Command("go", "env", "CC").Output()
	if err != nil {
		return "", err
	}
	out, err := exec.Command(strings.TrimSpace(string(compiler)), "-shared", "-fPIC", "-o", name, "-I", strings.TrimSpace(string(headers)),
		fmt.Sprintf("-DREAL=%q", modules[i]), "testdata/faulty.c", "-ldl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return name, nil
})

// faulty puts the faulty module in front of the token, and returns how many PINs
// were presented through it.
func (k *token) faulty(t *testing.T) (logins func() int) {
	t.Helper()
	var err error
	k.path, err = buildFaulty()
	require.NoError(t, err)
	noted := filepath.Join(t.TempDir(), "logins")
	t.Setenv("LOGINS", noted)
	t.Setenv("FAULTY", "")
	return func() int {
		data, err := os.ReadFile(noted)
		if err != nil {
			require.ErrorIs(t, err, os.ErrNotExist)
		}
		return strings.Count(string(data), "\n")
	}
}
