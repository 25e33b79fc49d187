package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/bindery-tuf/bindery/keys"
)

// pairs are a key of each kind that is supported.
func pairs(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	r, err := rsaKey()
	require.NoError(t, err)
	return map[string]crypto.Signer{"Ed25519": ed, "P-256": p256, "RSA": r}
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func inUTF16(text string) string {
	out := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(text)) {
		out = append(out, byte(u), byte(u>>8))
	}
	return string(out)
}

// What tools write is read, as the same key.
func TestParsePublicKeyFile(t *testing.T) {
	for kind, private := range pairs(t) {
		want, err := keys.NewPublicKey(private.Public())
		require.NoError(t, err)
		der, err := x509.MarshalPKIXPublicKey(private.Public())
		require.NoError(t, err)
		line, err := ssh.NewPublicKey(private.Public())
		require.NoError(t, err)
		written, aws := block("PUBLIC KEY", der), base64.StdEncoding.EncodeToString(der)
		crlf := strings.ReplaceAll(written, "\n", "\r\n")
		files := map[string]string{
			"PEM": written, "PEM, CRLF": crlf, "PEM, no last newline": strings.TrimSpace(written), "PEM, white space": "\n \n" + written + "\n\n",
			"PEM, byte order mark": "\xef\xbb\xbf" + crlf, "PEM, UTF-16": inUTF16(crlf),
			"DER": string(der), "base64": aws, "base64 in quotation marks": `"` + aws + "\"\n",
			"DER, line feed": string(der) + "\n", "base64 in lines": aws[:20] + "\r\n" + aws[20:] + "\n",
			"OpenSSH": string(ssh.MarshalAuthorizedKey(line)), "OpenSSH, comment": strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line))) + " ada@laptop\r\n",
			"OpenSSH, byte order mark": "\xef\xbb\xbf" + string(ssh.MarshalAuthorizedKey(line)),
		}
		if public, ok := private.Public().(*rsa.PublicKey); ok {
			files["PKCS#1"] = block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(public))
			files["PKCS#1, DER"] = string(x509.MarshalPKCS1PublicKey(public))
		}
		for name, file := range files {
			k, err := keys.ParsePublicKeyFile([]byte(file))
			require.NoErrorf(t, err, "%s: %s", kind, name)
			require.Equalf(t, want.ID(), k.ID(), "%s: %s", kind, name)
			require.Equal(t, want.Value(), k.Value())
		}
	}
}

// A private key is called that, whatever kind it is of, and nothing of it is shown.
func TestParsePublicKeyFileOfAPrivateKey(t *testing.T) {
	const stays = "It must not be here: give it back to its owner, and ask for "
	refuse := func(t *testing.T, file, is string) {
		t.Helper()
		for _, f := range []string{file, "\xef\xbb\xbf" + file, inUTF16(file)} {
			if f != file && strings.HasPrefix(file, "0") {
				continue // DER has no mark
			}
			_, err := keys.ParsePublicKeyFile([]byte(f))
			require.ErrorContains(t, err, "no public key: "+is+". "+stays)
			require.Less(t, len(err.Error()), 300)
		}
	}
	for kind, private := range pairs(t) {
		t.Run(kind, func(t *testing.T) {
			der, err := x509.MarshalPKCS8PrivateKey(private)
			require.NoError(t, err)
			refuse(t, block("PRIVATE KEY", der), "a private key, not encrypted (PKCS#8)")
			refuse(t, string(der), "a private key, not encrypted (PKCS#8, DER)")
			refuse(t, base64.StdEncoding.EncodeToString(der), "a private key, not encrypted (PKCS#8, DER)")
			refuse(t, block("PUBLIC KEY", der), "a private key, not encrypted (PKCS#8, DER)")
			open, err := ssh.MarshalPrivateKey(private, "ada")
			require.NoError(t, err)
			refuse(t, string(pem.EncodeToMemory(open)), "a private key (OpenSSH)")
			switch private := private.(type) {
			case *ecdsa.PrivateKey:
				der, err := x509.MarshalECPrivateKey(private)
				require.NoError(t, err)
				refuse(t, block("EC PARAMETERS", []byte{6, 0})+block("EC PRIVATE KEY", der), "a private key (EC)")
				refuse(t, string(der), "a private key (EC, DER)")
			case *rsa.PrivateKey:
				der := x509.MarshalPKCS1PrivateKey(private)
				refuse(t, block("RSA PRIVATE KEY", der), "a private key (RSA, PKCS#1)")
				refuse(t, string(der), "a private key (RSA, PKCS#1, DER)")
			}
		})
	}
	signer, err := keys.GenerateEd25519()
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "ada.key")
	require.NoError(t, keys.WriteFile(name, signer, []byte("passphrase")))
	ours, err := os.ReadFile(name)
	require.NoError(t, err)
	encrypted, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}}, make([]byte, 48)})
	require.NoError(t, err)
	type contents struct {
		Type asn1.ObjectIdentifier
		Data []byte
	}
	p12, err := asn1.Marshal(struct {
		Version  int
		AuthSafe contents
		Mac      contents
	}{3, contents{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, nil}, contents{asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, nil}})
	require.NoError(t, err)
	for is, file := range map[string]string{
		"a private key, encrypted: a key file of this project or of cosign": string(ours),
		"a private key, encrypted: a key file of cosign":                    block("ENCRYPTED COSIGN PRIVATE KEY", []byte("x")),
		"a private key, encrypted (PKCS#8)":                                 block("ENCRYPTED PRIVATE KEY", encrypted),
		"a private key, encrypted (PKCS#8, DER)":                            string(encrypted),
		"a PKCS#12 archive, which is for private keys":                      string(p12),
		"a private key":                                    block("DSA PRIVATE KEY", []byte("x")),
		"a private key (OpenPGP)":                          "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxxxx\n-----END PGP PRIVATE KEY BLOCK-----\n",
		"a private key (PuTTY)":                            "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n",
		"a private key (an age identity)":                  "# created: 2030-01-31\n# public key: age1qqq\nAGE-SECRET-KEY-1QQQ\n",
		"a file that age encrypted, perhaps a private key": "age-encryption.org/v1\n-> scrypt x 18\n",
		"a private key (minisign)":                         "untrusted comment: minisign encrypted secret key\nRWRT\n",
		"a private key (JWK)":                              `{"kty":"OKP","crv":"Ed25519","x":"11q","d":"nWG"}`,
		"a private key (securesystemslib)":                 `{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00","private":"01"}}`,
		"a private key, not encrypted (PKCS#8)":            `{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nMII"}`,
	} {
		t.Run(is, func(t *testing.T) { refuse(t, file, is) })
	}
	for file, is := range map[string]string{
		string(encrypted) + "\n": "a private key, encrypted (PKCS#8, DER)",
		`{"keys":[{"kty":"EC","x":"x","y":"y"},{"kty":"EC","x":"x","y":"y","d":"nWG"}]}`: "a private key (JWK)",
		`[{"kty":"oct","k":"AAAA"}]`: "a private key (JWK)",
		`{"encrypted":false,"data":[{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00","private":"01"}}]}`: "a private key (securesystemslib)",
		`"` + base64.StdEncoding.EncodeToString(encrypted) + `"`:                                                        "a private key, encrypted (PKCS#8, DER)",
	} {
		refuse(t, file, is)
	}
}

// What is no key that is read here is called what it is, with what to do.
func TestParsePublicKeyFileRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	p256 := pairs(t)["P-256"].(*ecdsa.PrivateKey)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<33, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, p256.Public(), p256)
	require.NoError(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p256)
	require.NoError(t, err)
	point, err := p256.PublicKey.Bytes()
	require.NoError(t, err)
	line, err := ssh.NewPublicKey(p256.Public())
	require.NoError(t, err)
	authorized := string(ssh.MarshalAuthorizedKey(line))
	other, err := ssh.NewPublicKey(p384.Public())
	require.NoError(t, err)
	written := pemOf(t, p256.Public())
	unsupported, err := x509.MarshalPKIXPublicKey(p384.Public())
	require.NoError(t, err)

	for name, c := range map[string]struct{ file, want string }{
		"empty":                {"", "the file is empty"},
		"a byte order mark":    {"\xef\xbb\xbf\r\n", "the file is empty"},
		"too large":            {strings.Repeat(" ", 70_000), "more than 65536 bytes"},
		"certificate":          {block("CERTIFICATE", certificate), "openssl x509 -in FILE -noout -pubkey"},
		"certificate chain":    {block("CERTIFICATE", certificate) + block("CERTIFICATE", certificate), "a certificate. Nobody would check"},
		"certificate, DER":     {string(certificate), "a certificate. Nobody would check"},
		"certificate, base64":  {base64.StdEncoding.EncodeToString(certificate), "a certificate. Nobody would check"},
		"request":              {block("CERTIFICATE REQUEST", csr), "openssl req -in FILE -noout -pubkey"},
		"request, DER":         {string(csr), "openssl req -in FILE -noout -pubkey"},
		"two keys":             {written + written, "2 PEM blocks. Give a file with one key"},
		"text before":          {"Public-Key: (256 bit)\n" + written, "it does not begin with a PEM block. Give a file with nothing in it but the public key"},
		"text after":           {written + "end", "something follows the PEM block. Give"},
		"another block":        {block("PKCS7", []byte("x")), `PEM type "PKCS7", want "PUBLIC KEY". Give`},
		"half a block":         {written[:90], "a PEM block that is damaged. Copy the whole of it"},
		"a block of rubbish":   {block("PUBLIC KEY", []byte("rubbish")), "a PEM block whose content is damaged"},
		"DER of another kind":  {"\x30\x03\x02\x01\x01", "DER, and not a public key (PKIX)"},
		"P-384":                {string(unsupported), "no public key that is of use: public key: unsupported kind of key: ECDSA on P-384: clients agree on P-256 only. Use a key of Ed25519, ECDSA on P-256 (not compressed), or RSA of 2048 to 8192 bits"},
		"OpenSSH, P-384":       {string(ssh.MarshalAuthorizedKey(other)), "an OpenSSH key of the type ecdsa-sha2-nistp384. Use a key of Ed25519"},
		"OpenSSH, FIDO":        {"sk-ssh-ed25519@openssh.com AAAA ada", "a FIDO key of OpenSSH"},
		"OpenSSH, certificate": {"ssh-ed25519-cert-v01@openssh.com AAAA ada", "an OpenSSH certificate. Give the public key"},
		"OpenSSH, two":         {authorized + authorized, "several lines of OpenSSH"},
		"OpenSSH, options":     {"restrict " + authorized, "with something before the key"},
		"OpenSSH, cut off":     {authorized[:60], "a line of OpenSSH that is damaged"},
		"OpenSSH, type only":   {"ssh-ed25519", "a line of OpenSSH that is damaged"},
		"OpenSSH, other type":  {strings.Replace(authorized, "ecdsa-sha2-nistp256", "ssh-ed25519", 1), "a line of OpenSSH that is damaged"},
		"SSH2":                 {"---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "ssh-keygen -i -f FILE"},
		"OpenPGP":              {"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxx\n", "an OpenPGP key"},
		"age recipient":        {"age1qqq\n", "an age recipient, which encrypts and can't sign"},
		"minisign":             {"untrusted comment: minisign public key 1\nRWQ\n", "a key of minisign or signify"},
		"64 digits":            {strings.Repeat("0a", 32), "64 hexadecimal digits, which may be a key ID, or a key, public or private"},
		"a point":              {hex.EncodeToString(point), "130 hexadecimal digits, perhaps a point of P-256. Give the public key as PEM"},
		"a bare point":         {string(point), "65 bytes without a format"},
		"32 bytes":             {"\x01" + strings.Repeat("\xfe", 31), "32 bytes without a format"},
		"rubbish":              {"hello", "not a format that is read here. Give the public key as PEM"},
		"AWS":                  {`{"KeyId":"arn:…","PublicKey":"MFkw","KeySpec":"ECC_NIST_P256"}`, "--query PublicKey --output text"},
		"Google":               {`{"algorithm":"EC_SIGN_P256_SHA256","pem":"x"}`, "the whole answer of Google Cloud KMS"},
		"JWK":                  {`{"kty":"EC","crv":"P-256","x":"x","y":"y"}`, "a public key as JWK. Give it as PEM"},
		"an entry":             {`{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"00"}}`, "the entry of a key in TUF metadata"},
		"metadata":             {`{"signatures":[],"signed":{}}`, "TUF metadata, and not a public key"},
		"a card":               {`{"format":"bindery-ceremony-card/1"}`, "a card, which has the holder's name in it"},
		"a request of ours":    {`{"format":"bindery-ceremony-request/1"}`, `a file of a ceremony ("bindery-ceremony-request/1")`},
		"other JSON":           {`[1]`, "JSON, and not a public key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keys.ParsePublicKeyFile([]byte(c.file))
			require.ErrorContains(t, err, c.want)
		})
	}
	for _, file := range []string{string(unsupported), string(ssh.MarshalAuthorizedKey(other)), "sk-ssh-ed25519@openssh.com AAAA ada"} {
		_, err := keys.ParsePublicKeyFile([]byte(file))
		require.ErrorIs(t, err, keys.ErrUnsupported)
	}
}

// What is read is a key that metadata can list.
func FuzzParsePublicKeyFile(f *testing.F) {
	for _, private := range pairs(f) {
		der, err := x509.MarshalPKIXPublicKey(private.Public())
		require.NoError(f, err)
		line, err := ssh.NewPublicKey(private.Public())
		require.NoError(f, err)
		secret, err := x509.MarshalPKCS8PrivateKey(private)
		require.NoError(f, err)
		f.Add(der)
		f.Add([]byte(block("PUBLIC KEY", der)))
		f.Add([]byte(base64.StdEncoding.EncodeToString(der)))
		f.Add(ssh.MarshalAuthorizedKey(line))
		f.Add(secret)
		f.Add([]byte(inUTF16(block("PRIVATE KEY", secret))))
	}
	f.Add([]byte(`{"kty":"EC"}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		k, err := keys.ParsePublicKeyFile(file)
		if err != nil {
			return
		}
		again, err := keys.ParsePublicKey(k.ID(), k.Type(), k.Scheme(), k.Value())
		require.NoError(t, err)
		require.True(t, again.Same(k))
	})
}
