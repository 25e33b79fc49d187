package repotest

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
)

// NewKeyFile makes an Ed25519 key and a key file of it, as keys.WriteFile does, but for the encryption: that is the
// weakest which keys.ReadFile reads, and takes a quarter of the time, each time.
func NewKeyFile(t testing.TB, name, passphrase string) *keys.MemorySigner {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	box, err := encrypted.EncryptWithCustomKDFParameters(der, []byte(passphrase), encrypted.Legacy)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: box}), 0o600))
	signer, err := keys.NewSigner(private)
	require.NoError(t, err)
	return signer
}
