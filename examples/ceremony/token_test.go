//go:build pkcs11 && cgo

package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
)

const userPIN = "123456"

// modules are where distributions put SoftHSM2.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// tokens are SoftHSM2's, of this test alone: the program runs as a process, because
// SoftHSM2 reads its configuration once in each.
type tokens struct {
	*stage
	dir, module string
}

func newTokens(t *testing.T) *tokens {
	t.Helper()
	i := slices.IndexFunc(modules, func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	})
	if _, err := exec.LookPath("softhsm2-util"); err != nil || i < 0 {
		if os.Getenv("BINDERY_INTEROP") == "1" {
			require.Fail(t, "SoftHSM2 is in none of the usual places")
		}
		t.Skip("SoftHSM2 is not installed")
	}
	k := &tokens{newStage(t), filepath.Join(t.TempDir(), "tokens"), modules[i]}
	require.NoError(t, os.Mkdir(k.dir, 0o700))
	conf := filepath.Join(t.TempDir(), "softhsm2.conf")
	require.NoError(t, os.WriteFile(conf, []byte("directories.tokendir = "+k.dir+"\nlog.level = ERROR\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	return k
}

func (k *tokens) util(args ...string) {
	k.t.Helper()
	out, err := exec.CommandContext(k.t.Context(), "softhsm2-util", args...).CombinedOutput()
	require.NoError(k.t, err, string(out))
}

// add makes a token with a key, and returns the URI and the public key.
func (k *tokens) add(token string, private any, public any) (uri string, key *keys.PublicKey) {
	k.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(k.t, err)
	file := filepath.Join(k.t.TempDir(), "key.pem")
	require.NoError(k.t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
	k.util("--init-token", "--free", "--label", token, "--pin", userPIN, "--so-pin", "87654321")
	k.util("--import", file, "--token", token, "--label", "root", "--id", "01", "--pin", userPIN)
	key, err = keys.NewPublicKey(public)
	require.NoError(k.t, err)
	return "pkcs11:token=" + token + ";object=root?module-path=" + k.module, key
}

// program runs the program as a process, and returns what it shows.
func (k *tokens) program(want int, typed string, args ...string) (screen, errs string) {
	k.t.Helper()
	args = slices.Insert(slices.Clone(args), 1, "-now", "2030-01-31T12:00:00Z")
	cmd := k.command(binary(k.t), args...)
	var stdout, stderr strings.Builder
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(typed), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(k.t, err)
	}
	require.Equalf(k.t, want, cmd.ProcessState.ExitCode(), "%v\n%s%s", args, &stdout, &stderr)
	return stdout.String(), stderr.String()
}

// refused runs the program, which must refuse, say why, and change nothing.
func (k *tokens) refused(want, typed string, args ...string) {
	k.t.Helper()
	before := k.files()
	_, errs := k.program(refused, typed, args...)
	require.Contains(k.t, errs, want)
	require.NotContains(k.t, errs, userPIN)
	require.Equal(k.t, before, k.files())
}

// A ceremony in which one of the keys is on a token, from the card on.
func TestToken(t *testing.T) {
	ed25519Public, ed25519Private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for scheme, pair := range map[string][2]any{
		"ed25519":             {ed25519Private, ed25519Public},
		"ecdsa-sha2-nistp256": {p256, &p256.PublicKey},
		"rsassa-pss-sha256":   {rsa2048, &rsa2048.PublicKey},
	} {
		t.Run(scheme, func(t *testing.T) {
			k := newTokens(t)
			k.keygen("Bob", "web", "bins")
			uri, key := k.add("ada", pair[0], pair[1])
			before := k.files()
			screen, errs := k.program(done, userPIN+"\n", "card", "-name", "Ada", "-key", uri, k.card("Ada"))
			require.Equal(t, "PIN of token \"ada\": ", errs)
			require.Contains(t, screen, "  key     "+scheme+"\n")
			h, err := readCard(k.card("Ada"))
			require.NoError(t, err)
			require.Equal(t, key.ID(), h.Key.ID())
			after := k.files()
			delete(after, k.card("Ada"))
			require.Equal(t, before, after)

			k.init("2", "Ada", "Bob")
			k.program(done, userPIN+"\n", k.signAt(uri, "-passphrase-fd", "0")...)
			k.mergeWith("Bob")
			k.verify(1)
			// Two roots, one PIN.
			k.run(done, "", "request", "-dir", k.path("repo"), "-reason", "renewal", "-new-one-time", "2")
			k.program(done, userPIN+"\n", k.signAt(uri, "-passphrase-fd", "0")...)
			k.mergeWith("Bob")
			k.verify(3)
		})
	}
}

func TestTokenRefuses(t *testing.T) {
	k := newTokens(t)
	k.keygen("Bob", "web", "bins")
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	uri, _ := k.add("ada", private, public)
	card := func(uri string) []string {
		return []string{"card", "-name", "Ada", "-key", uri, "-passphrase-fd", "0", k.card("Ada")}
	}
	k.refused("no card was made: open key "+uri+": ", "999999\n", card(uri)...)
	k.program(done, userPIN+"\n", card(uri)...)
	k.init("2", "Ada", "Bob")
	sign := func(uri string, more ...string) []string {
		return append(k.signAt(uri, "-passphrase-fd", "0"), more...)
	}
	k.refused("use of the key denied: wrong PIN", "999999\n", sign(uri)...)
	// Who is asked is told that the last PIN was wrong.
	k.refused("PIN of token \"ada\" (the last one was wrong; the token locks itself after a few): ", "999999\n", k.signAt(uri)...)
	k.refused("nothing was typed", "\n", sign(uri)...)
	k.refused("nobody answered", "", sign(uri)...)
	k.refused("a key that is in no file is found by its card", userPIN+"\n",
		"sign", "-key", uri, "-confirm", k.digest().Groups()[0], k.request())
	k.refused("a secret does not belong in a URI", "", sign(uri+"&pin-value="+userPIN)...)
	k.refused("the token has the key ", userPIN+"\n", k.signAt(uri, "-passphrase-fd", "0", "-card", k.card("Bob"))...)
	k.refused("the token has no such private key", userPIN+"\n", sign(strings.Replace(uri, "object=root", "object=other", 1))...)
	k.refused("no such token is there", userPIN+"\n", sign(strings.Replace(uri, "token=ada", "token=bob", 1))...)
	k.refused("the module is not given (module-path in a URI)", userPIN+"\n", sign("pkcs11:token=ada;object=root")...)
	k.refused("the module: stat /nowhere.so", userPIN+"\n", sign("pkcs11:token=ada;object=root?module-path=/nowhere.so")...)

	// The token is pulled out.
	require.NoError(t, os.Rename(k.dir, k.dir+".gone"))
	require.NoError(t, os.Mkdir(k.dir, 0o700))
	k.refused("no such token is there", userPIN+"\n", sign(uri)...)
	require.NoError(t, os.Remove(k.dir))
	require.NoError(t, os.Rename(k.dir+".gone", k.dir))
	k.program(done, userPIN+"\n", sign(uri)...)
	k.mergeWith("Bob")
	k.verify(1)
}
