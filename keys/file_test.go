package keys_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/stretchr/testify/require"
)

const keyPEM = "ENCRYPTED SIGSTORE PRIVATE KEY"

var passphrase = []byte("correct horse")

// names are those of the files in dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// keyFile writes a key file around any content. The encryption is the weakest that is
// read, for its cost.
func keyFile(t testing.TB, pemType string, content []byte) string {
	t.Helper()
	box, err := encrypted.EncryptWithCustomKDFParameters(content, passphrase, encrypted.Legacy)
	require.NoError(t, err)
	return rawFile(t, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: box}))
}

func rawFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func pkcs8(t testing.TB, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return der
}

func TestKeyFile(t *testing.T) {
	for kind, s := range memorySigners(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "key")
			require.NoError(t, keys.WriteFile(path, s, passphrase))
			require.Equal(t, []string{"key"}, names(t, dir))
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o600), info.Mode())

			read, err := keys.ReadFile(path, passphrase)
			require.NoError(t, err)
			require.Equal(t, s.Public().ID(), read.Public().ID())
			sig, err := read.Sign(t.Context(), []byte("message"))
			require.NoError(t, err)
			require.NoError(t, s.Public().Verify([]byte("message"), sig))
		})
	}
}

// The format is that of others, read here without this package.
func TestKeyFileIsReadableByOthers(t *testing.T) {
	s, err := keys.GenerateP256()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "key")
	require.NoError(t, keys.WriteFile(path, s, passphrase))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	block, rest := pem.Decode(data)
	require.NotNil(t, block)
	require.Empty(t, rest)
	require.Equal(t, keyPEM, block.Type)
	require.Contains(t, string(block.Bytes), `"N":131072,"r":8,"p":1`) // OWASP's
	der, err := encrypted.Decrypt(block.Bytes, passphrase)
	require.NoError(t, err)
	private, err := x509.ParsePKCS8PrivateKey(der)
	require.NoError(t, err)
	public, err := keys.NewPublicKey(private.(crypto.Signer).Public())
	require.NoError(t, err)
	require.True(t, public.Same(s.Public()))
}

func TestWriteFileNeverOverwrites(t *testing.T) {
	s, err := keys.GenerateEd25519()
	require.NoError(t, err)
	dir := t.TempDir()
	path, link := filepath.Join(dir, "key"), filepath.Join(dir, "link")
	require.NoError(t, os.WriteFile(path, []byte("an old key"), 0o600))
	require.NoError(t, os.Symlink("nowhere", link))
	for _, taken := range []string{path, link} {
		err = keys.WriteFile(taken, s, passphrase)
		require.ErrorIs(t, err, fs.ErrExist)
		require.ErrorContains(t, err, taken)
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "an old key", string(data))
	require.Equal(t, []string{"key", "link"}, names(t, dir))
}

// Of writers at the same time one wins, and its key is the one in the file.
func TestWriteFileNeverOverwritesInARace(t *testing.T) {
	const writers = 2
	path := filepath.Join(t.TempDir(), "key")
	var signers [writers]*keys.MemorySigner
	var errs [writers]error
	var wg sync.WaitGroup
	for i := range writers {
		var err error
		signers[i], err = keys.GenerateEd25519()
		require.NoError(t, err)
		wg.Go(func() { errs[i] = keys.WriteFile(path, signers[i], passphrase) })
	}
	wg.Wait()
	read, err := keys.ReadFile(path, passphrase)
	require.NoError(t, err)
	won := 0
	for i, err := range errs {
		if err != nil {
			require.ErrorIs(t, err, fs.ErrExist)
			continue
		}
		won++
		require.True(t, read.Public().Same(signers[i].Public()))
	}
	require.Equal(t, 1, won)
	require.Equal(t, []string{"key"}, names(t, filepath.Dir(path)))
}

func TestWriteFileThatFailsLeavesNothing(t *testing.T) {
	s, err := keys.GenerateEd25519()
	require.NoError(t, err)
	dir := t.TempDir()
	require.Error(t, keys.WriteFile(filepath.Join(dir, "key"), s, nil))
	require.Error(t, keys.WriteFile(filepath.Join(dir, "key"), s, []byte{}))
	require.ErrorIs(t, keys.WriteFile(filepath.Join(dir, "none", "key"), s, passphrase), fs.ErrNotExist)
	require.Error(t, keys.WriteFile(filepath.Join(dir, strings.Repeat("x", 300)), s, passphrase))
	require.Empty(t, names(t, dir))
}

func TestReadFileOfOldCosign(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public, err := keys.NewPublicKey(&private.PublicKey)
	require.NoError(t, err)
	read, err := keys.ReadFile(keyFile(t, "ENCRYPTED COSIGN PRIVATE KEY", pkcs8(t, private)), passphrase)
	require.NoError(t, err)
	require.True(t, read.Public().Same(public))
}

func TestReadFileRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	good, err := os.ReadFile(keyFile(t, keyPEM, pkcs8(t, p256)))
	require.NoError(t, err)

	for name, c := range map[string]struct {
		path, passphrase string
		is               error // what the error wraps; no other sentinel
		text             string
	}{
		"wrong passphrase": {rawFile(t, good), "wrong", keys.ErrPassphrase, "passphrase"},
		"empty passphrase": {rawFile(t, good), "", nil, "passphrase is empty"},
		"no file":          {filepath.Join(t.TempDir(), "none"), "correct horse", fs.ErrNotExist, "none"},
		"a directory":      {t.TempDir(), "correct horse", nil, "not a regular file"},
		"too large":        {rawFile(t, make([]byte, 64<<10+1)), "correct horse", nil, "more than 65536 bytes"},
		"empty":            {rawFile(t, nil), "correct horse", nil, "not an encrypted key file"},
		"no PEM":           {rawFile(t, []byte("hello")), "correct horse", nil, "not an encrypted key file"},
		"half a file":      {rawFile(t, good[:len(good)/2]), "correct horse", nil, "not an encrypted key file"},
		"data after it":    {rawFile(t, append(good, "x"...)), "correct horse", nil, "follows the PEM block"},
		"not encrypted": {rawFile(t, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8(t, p256)})),
			"correct horse", nil, "not an encrypted key file: it is a private key, not encrypted (PKCS#8), which isn't read here. Make a new key, or sign through an agent"},
		"of OpenSSH": {rawFile(t, []byte("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n")),
			"correct horse", nil, "not an encrypted key file: it is a private key (OpenSSH), which isn't read here"},
		"of age":      {rawFile(t, []byte("AGE-SECRET-KEY-1QQ\n")), "correct horse", nil, "it is a private key (an age identity)"},
		"public":      {rawFile(t, []byte(sigstorePEM)), "correct horse", nil, "not an encrypted key file: it is a public key. Name the file of the private key"},
		"certificate": {rawFile(t, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n")), "correct horse", nil, "it is a certificate. Name the file"},
		"a card":      {rawFile(t, []byte(`{"format":"bindery-ceremony-card/1"}`)), "correct horse", nil, "it is a file of a ceremony, such as a card. Name the file"},
		"no box":      {rawFile(t, pem.EncodeToMemory(&pem.Block{Type: keyPEM, Bytes: []byte("{")})), "correct horse", nil, "damaged"},
		"unknown kdf": {rawFile(t, pem.EncodeToMemory(&pem.Block{Type: keyPEM, Bytes: []byte("{}")})), "correct horse", nil, "kdf"},
		"costly kdf": {rawFile(t, pem.EncodeToMemory(&pem.Block{Type: keyPEM, Bytes: []byte(
			`{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1}},"cipher":{"name":"nacl/secretbox"}}`)})),
			"correct horse", nil, "scrypt parameters"},
		"no PKCS #8": {keyFile(t, keyPEM, []byte("hello")), "correct horse", nil, "damaged"},
		"P-384":      {keyFile(t, keyPEM, pkcs8(t, p384)), "correct horse", keys.ErrUnsupported, "P-384"},
		"X25519":     {keyFile(t, keyPEM, pkcs8(t, x25519)), "correct horse", keys.ErrUnsupported, "ecdh"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ReadFile(c.path, []byte(c.passphrase))
			require.ErrorContains(t, err, c.path)
			require.ErrorContains(t, err, c.text)
			for _, sentinel := range []error{keys.ErrPassphrase, keys.ErrUnsupported, fs.ErrNotExist} {
				if c.is == sentinel {
					require.ErrorIs(t, err, sentinel)
				} else {
					require.NotErrorIs(t, err, sentinel)
				}
			}
		})
	}
}

// The seeds lack a file that decrypts, for scrypt would be all the fuzzing does.
func FuzzReadFile(f *testing.F) {
	f.Add([]byte("-----BEGIN " + keyPEM + "-----\ne30=\n-----END " + keyPEM + "-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: keyPEM, Bytes: []byte(
		`{"kdf":{"name":"scrypt","params":{"N":1,"r":8,"p":1},"salt":""},"cipher":{"name":"nacl/secretbox","nonce":""},"ciphertext":""}`)}))
	path := filepath.Join(f.TempDir(), "key")
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(path, data, 0o600))
		_, err := keys.ReadFile(path, passphrase)
		require.ErrorContains(t, err, "read key file "+path+": ") // none can be encrypted with it
	})
}
