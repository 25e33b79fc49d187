package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// What people give in the place of a card is read where that is safe, and else called what it is.
func TestReadCard(t *testing.T) {
	s := newStage(t)
	s.keygen("Ada")
	ada, err := readCard(s.card("Ada"))
	require.NoError(t, err)
	raw, err := hex.DecodeString(ada.Key.Value())
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(raw))
	require.NoError(t, err)
	written := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	card, err := os.ReadFile(s.card("Ada"))
	require.NoError(t, err)

	for arg, name := range map[string]string{
		s.write("bom.json", byteOrderMark+string(card)):                             "Ada",
		s.write("a=b.json", string(card)):                                           "Ada",
		"KMS=" + s.write("kms.pem", written):                                        "KMS",
		"KMS=" + s.write("kms.der", string(der)):                                    "KMS",
		"KMS=" + s.write("kms.txt", base64.StdEncoding.EncodeToString(der)+"\n"):    "KMS",
		"KMS=" + s.write("k=ms.txt", base64.StdEncoding.EncodeToString(der)+"\r\n"): "KMS",
	} {
		h, err := readCard(arg)
		require.NoError(t, err, arg)
		require.Equal(t, name, h.Name, arg)
		require.Equal(t, ada.Key.ID(), h.Key.ID(), arg)
	}
	secret := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	for arg, want := range map[string]string{
		"KMS=" + s.card("Ada"):                   `Ada.key.card.json is a card, which has the name "Ada" in it: give it without "KMS="`,
		"KMS=" + s.path("Ada.key"):               "Ada.key: no public key: a private key, encrypted: a key file of this project or of cosign. It must not be here",
		"KMS=" + s.path("nothing"):               "no such file",
		s.path("kms.pem"):                        "kms.pem: a public key, and a card is wanted: have its holder make one (ceremony card), or give it as NAME=FILE, without a proof",
		s.path("Ada.key"):                        "Ada.key: no card, and no public key: a private key, encrypted",
		s.write("secret.pem", secret):            "secret.pem: no card, and no public key: a private key, not encrypted (PKCS#8). It must not be here",
		"KMS=" + s.path("secret.pem"):            "secret.pem: no public key: a private key, not encrypted (PKCS#8). It must not be here",
		s.write("half.json", string(card[:90])):  "half.json: card: damaged, or another kind of file",
		s.write("metadata.json", `{"signed":1}`): "metadata.json: no card, and no public key: TUF metadata",
	} {
		_, err := readCard(arg)
		require.ErrorContains(t, err, want, arg)
	}
	s.refuse("no card, and no public key: a private key, encrypted", "", "verify", s.path("Ada.key"))
	// The names file is one that people edit.
	names, err := readNames(s.write("names.json", byteOrderMark+`{"ab": "Ada"}`))
	require.NoError(t, err)
	require.Equal(t, map[string]string{"ab": "Ada"}, names)
}
