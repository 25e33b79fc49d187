package keys_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

// The encodings that are in use, and nothing that pem.Decode passes over.
func TestPublicKeyPEM(t *testing.T) {
	private, err := rsaKey()
	require.NoError(t, err)
	block, _ := pem.Decode([]byte(sigstorePEM))
	encode := func(b pem.Block) string { return string(pem.EncodeToMemory(&b)) }
	broken := "-----BEGIN PUBLIC KEY-----\n*\n-----END PUBLIC KEY-----\n"

	for name, c := range map[string]struct{ value, text string }{
		"final newline":    {sigstorePEM, ""},
		"no final newline": {strings.TrimSpace(sigstorePEM), ""},
		"blank lines":      {sigstorePEM + "\n \n", ""},
		"CRLF":             {strings.ReplaceAll(sigstorePEM, "\n", "\r\n"), ""},
		"text before":      {"a key:\n" + sigstorePEM, "begin with a PEM block"},
		"newline before":   {"\n" + sigstorePEM, "begin with a PEM block"},
		"text after":       {sigstorePEM + "x", "follows the PEM block"},
		"twice":            {sigstorePEM + sigstorePEM, "follows the PEM block"},
		"a broken one too": {broken + sigstorePEM, "follows the PEM block"},
		"truncated":        {sigstorePEM[:len(sigstorePEM)/2], "begin with a PEM block"},
		"headers":          {encode(pem.Block{Type: "PUBLIC KEY", Headers: map[string]string{"Name": "x"}, Bytes: block.Bytes}), "headers"},
		"a certificate":    {encode(pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}), `PEM type "CERTIFICATE", want "PUBLIC KEY"`},
		"PKCS #1":          {encode(pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&private.PublicKey)}), `PEM type "RSA PUBLIC KEY"`},
		"a longer DER":     {encode(pem.Block{Type: "PUBLIC KEY", Bytes: append(block.Bytes, 0)}), "trailing data"},
	} {
		t.Run(name, func(t *testing.T) {
			k, err := keys.ParsePublicKey("an\nID", "ecdsa", "ecdsa-sha2-nistp256", c.value)
			if c.text == "" {
				require.NoError(t, err)
				require.Equal(t, c.value, k.Value())
				return
			}
			require.ErrorContains(t, err, `public key "an\nID": keyval.public: `)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestWeakOrUncommonKeysAreRefused(t *testing.T) {
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	require.NoError(t, err)
	odd := func(bits uint, e int) *rsa.PublicKey {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: e}
	}
	for name, c := range map[string]struct {
		public any
		text   string // none for a key that is taken
	}{
		"P-521":          {&p521.PublicKey, "P-521"},
		"RSA 1024":       {odd(1024, 65537), "RSA of 1024 bits"},
		"RSA 2047":       {odd(2047, 65537), "RSA of 2047 bits"},
		"RSA 2048":       {odd(2048, 65537), ""},
		"RSA 8192":       {odd(8192, 65537), ""},
		"RSA 8193":       {odd(8193, 65537), "RSA of 8193 bits"},
		"exponent 1":     {odd(2048, 1), "the exponent 1"}, // every message is its own signature
		"exponent 2":     {odd(2048, 2), "the exponent 2"},
		"exponent 3":     {odd(2048, 3), ""},
		"exponent 65536": {odd(2048, 65536), "the exponent 65536"},
	} {
		t.Run(name, func(t *testing.T) {
			keytype, scheme := "rsa", "rsassa-pss-sha256"
			if name == "P-521" {
				keytype, scheme = "ecdsa", "ecdsa-sha2-nistp256"
			}
			_, made := keys.NewPublicKey(c.public)
			_, parsed := keys.ParsePublicKey("id", keytype, scheme, pemOf(t, c.public))
			for _, err := range []error{made, parsed} {
				if c.text == "" {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, keys.ErrUnsupported)
				require.ErrorContains(t, err, c.text)
			}
		})
	}
}
