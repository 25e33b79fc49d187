//go:build pkcs11 && cgo

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
)

// The online key is on a token. The publisher is a process: SoftHSM2 reads its configuration once in each.
func TestKeyOnToken(t *testing.T) {
	// Where distributions put SoftHSM2.
	modules := []string{
		"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so",
		"/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so",
	}
	i := slices.IndexFunc(modules, func(name string) bool {
		_, err := os.Stat(name)
		return err == nil
	})
	if _, err := exec.LookPath("softhsm2-util"); err != nil || i < 0 {
		require.NotEqual(t, "1", os.Getenv("BINDERY_INTEROP"), "SoftHSM2 is in none of the usual places")
		t.Skip("SoftHSM2 is not installed")
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	online, err := keys.NewSigner(private)
	require.NoError(t, err)
	s := newSiteWith(t, t.TempDir(), online)
	require.NoError(t, keys.WriteFile(s.path("online.pem"), online, []byte(thePassphrase)))
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	s.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	const pin = "123456"
	s.write("pin", []byte(pin+"\n"), 0o600)
	require.NoError(t, os.Mkdir(s.path("tokens"), 0o700))
	s.write("softhsm2.conf", []byte("directories.tokendir = "+s.path("tokens")+"\nlog.level = ERROR\n"), 0o600)
	t.Setenv("SOFTHSM2_CONF", s.path("softhsm2.conf"))
	for _, args := range [][]string{
		{"--init-token", "--free", "--label", "index", "--pin", pin, "--so-pin", "87654321"},
		{"--import", filepath.Join(s.dir, "key.pem"), "--token", "index", "--label", "online", "--id", "01", "--pin", pin},
	} {
		out, err := exec.CommandContext(t.Context(), "softhsm2-util", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	uri := "pkcs11:token=index;object=online?module-path=" + modules[i]
	s.config["keys"] = map[string]any{"bins-*": "file:" + s.path("online.pem"), "snapshot": uri, "timestamp": uri}
	s.config["pin_file"] = s.path("pin")
	r := s.spawn()
	r.do("PUT", "/v1/items/1?wait=1m", adds("a", 1), http.StatusOK)
	require.EqualValues(t, 1, s.find(r.url[forClients], "a"))
	require.NotContains(t, r.log.String(), pin)
}
