package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
)

// ParsePublicKeyFile reads the public key in a file that another program wrote. The key has the
// ID that the specification defines. It reads
//
//   - PEM with one block, "PUBLIC KEY" or "RSA PUBLIC KEY" (PKCS#1), and the same as DER;
//   - the base64 of that DER, which is what AWS KMS answers, also in quotation marks;
//   - one line of OpenSSH: ssh-ed25519, ecdsa-sha2-nistp256 or ssh-rsa.
//
// White space around it, CRLF, a byte order mark and UTF-16 do no harm.
//
// It reads no certificate: nobody would check its expiry and its issuer. It reads no key as bare
// bytes or hexadecimal digits, which could also be a private key or a key ID. The error says what
// the file is and what to do next. That of a private key, of any kind, says that the file must not
// be here. No error shows what a file holds. The error wraps ErrUnsupported for a kind of key that
// not all clients verify.
func ParsePublicKeyFile(data []byte) (*PublicKey, error) {
	public, err := parsePublicFile(data)
	var k *PublicKey
	if err == nil {
		k, err = NewPublicKey(public)
	}
	switch {
	case errors.Is(err, ErrUnsupported):
		return nil, fmt.Errorf("no public key that is of use: %w. Use a key of Ed25519, ECDSA on P-256 (not compressed), or RSA of %d to %d bits", err, minRSABits, maxRSABits)
	case err != nil:
		return nil, fmt.Errorf("no public key: %w", err)
	}
	return k, nil
}

func parsePublicFile(data []byte) (crypto.PublicKey, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("more than %d bytes: name a file with one public key", maxFile)
	}
	for _, der := range [][]byte{data, bytes.TrimRight(data, "\r\n")} { // an editor adds a line feed
		if isDER(der) {
			return publicDER(der)
		}
	}
	text := strings.TrimSpace(decodeText(data))
	if s := findSecret(text); s != nil {
		return nil, s
	}
	switch compact := strings.Join(strings.Fields(text), ""); {
	case text == "":
		return nil, errors.New("the file is empty: copy it once more")
	case strings.Contains(text, "-----BEGIN "):
		return publicPEMBlock(text)
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return nil, explainJSON(text)
	case strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`): // AWS's, without --output text
		return parsePublicFile([]byte(strings.Trim(text, `"`)))
	case hasSSHType(text):
		return publicSSH(text)
	case hexadecimal.MatchString(compact):
		return nil, explainHex(compact)
	default:
		if der, err := base64.StdEncoding.DecodeString(compact); err == nil && isDER(der) {
			return publicDER(der)
		}
	}
	for _, k := range otherText {
		if strings.HasPrefix(text, k.begins) {
			return nil, errors.New(k.is)
		}
	}
	if n := len(data); n == ed25519.PublicKeySize || n == ed25519.PrivateKeySize || n == 65 || n == 33 {
		return nil, fmt.Errorf("%d bytes without a format: they may be a key, public or private. Give the public key as PEM, or a card", n)
	}
	return nil, errors.New("not a format that is read here. Give the public key as PEM (\"-----BEGIN PUBLIC KEY-----\"), or a card")
}

// decodeText returns text without a byte order mark, which Windows writes, as UTF-8.
func decodeText(data []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return string(data[3:])
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return string(data)
	}
	var units []uint16
	for rest := data[2:]; len(rest) > 1; rest = rest[2:] {
		units = append(units, order.Uint16(rest))
	}
	return string(utf16.Decode(units))
}

// secretError is the error for a private key in the place of a public one.
type secretError struct{ is, how string }

func (e *secretError) Error() string {
	return e.is + ". It must not be here: give it back to its owner, and ask for " + e.how +
		". If anybody else could read the file on its way, the owner makes a new key"
}

// notKeyFile says what a file is that isn't a key file, or returns err if it isn't known.
func notKeyFile(data []byte, err error) error {
	public, perr := parsePublicFile(data)
	var secret *secretError
	switch {
	case public != nil:
		return errors.New("it is a public key. Name the file of the private key")
	case errors.As(perr, &secret) && !strings.Contains(secret.is, "key file of"): // else a damaged one of ours
		return fmt.Errorf("it is %s, which isn't read here. Make a new key, or sign through an agent (sshagent:) that has this one", secret.is)
	case errors.Is(perr, errCertificate):
		return errors.New("it is a certificate. Name the file of the private key")
	case strings.Contains(string(data), `"bindery-ceremony-`):
		return errors.New("it is a file of a ceremony, such as a card. Name the file of the private key")
	}
	return err
}

const (
	byOpenSSL = "the public key (openssl pkey -in KEY -pubout)"
	bySSH     = "the public key (the file KEY.pub, or ssh-keygen -y -f KEY)"
	byCard    = "the card (KEY.card.json), or the public key"
)

// secrets say by what text a private key is known, wherever that stands in a file. The first one that
// fits counts.
var secrets = []struct {
	holds string
	secretError
}{
	{"-----BEGIN " + pemType + "-----", secretError{"a private key, encrypted: a key file of this project or of cosign", byCard}},
	{"-----BEGIN " + oldPEMType + "-----", secretError{"a private key, encrypted: a key file of cosign", byCard}},
	{"-----BEGIN OPENSSH PRIVATE KEY-----", secretError{"a private key (OpenSSH)", bySSH}},
	{"-----BEGIN ENCRYPTED PRIVATE KEY-----", secretError{"a private key, encrypted (PKCS#8)", byOpenSSL}},
	{"-----BEGIN PRIVATE KEY-----", secretError{"a private key, not encrypted (PKCS#8)", byOpenSSL}},
	{"-----BEGIN EC PRIVATE KEY-----", secretError{"a private key (EC)", byOpenSSL}},
	{"-----BEGIN RSA PRIVATE KEY-----", secretError{"a private key (RSA, PKCS#1)", byOpenSSL}},
	{"-----BEGIN PGP PRIVATE KEY BLOCK-----", secretError{"a private key (OpenPGP)", "the public key as PEM; OpenPGP's keys aren't read"}},
	{"PRIVATE KEY-----", secretError{"a private key", byOpenSSL}},
	{"SSH2 ENCRYPTED PRIVATE KEY ----", secretError{"a private key (SSH2)", bySSH}},
	{"PuTTY-User-Key-File-", secretError{"a private key (PuTTY)", "the public key in OpenSSH's form, which PuTTYgen shows"}},
	{"AGE-SECRET-KEY-", secretError{"a private key (an age identity)", "another key: age's can't sign"}},
	{"AGE-PLUGIN-", secretError{"a private key (an age identity)", "another key: age's can't sign"}},
	{"-----BEGIN AGE ENCRYPTED FILE-----", secretError{"a file that age encrypted, perhaps a private key", "the public key"}},
	{"age-encryption.org/v", secretError{"a file that age encrypted, perhaps a private key", "the public key"}},
	{"minisign encrypted secret key", secretError{"a private key (minisign)", "another key: minisign's are in no format of TUF"}},
	{"signify secret key", secretError{"a private key (signify)", "another key: signify's are in no format of TUF"}},
	{"@@@@", secretError{"a private key, encrypted (securesystemslib)", "the public key"}},
}

func findSecret(text string) error {
	for i, s := range secrets {
		if strings.Contains(text, s.holds) {
			return &secrets[i].secretError
		}
	}
	return nil
}

// otherText says by what beginning other files are known.
var otherText = []struct{ begins, is string }{
	{"age1", "an age recipient, which encrypts and can't sign. Give the public key of a key that signs"},
	{"untrusted comment:", "a key of minisign or signify, which TUF has no format for. Give the public key of another key"},
	{"---- BEGIN SSH2 PUBLIC KEY ----", "an SSH2 public key (RFC 4716). Convert it with: ssh-keygen -i -f FILE"},
}

// isDER reports whether data is one DER value of the kind that all keys are: a SEQUENCE.
func isDER(data []byte) bool {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(data, &v)
	return err == nil && len(rest) == 0 && v.Class == asn1.ClassUniversal && v.Tag == asn1.TagSequence
}

// fits reports whether der begins as v does, a pointer to a struct. A value may have more members.
func fits(der []byte, v any) bool {
	_, err := asn1.Unmarshal(der, v)
	return err == nil
}

// publicDER returns the key in a value that isDER is true for.
func publicDER(der []byte) (crypto.PublicKey, error) {
	switch {
	case fits(der, &struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{}):
		public, err := x509.ParsePKIXPublicKey(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
		}
		return public, nil
	case fits(der, &struct {
		Version   int
		Algorithm pkix.AlgorithmIdentifier
		Private   []byte
	}{}):
		return nil, &secretError{"a private key, not encrypted (PKCS#8, DER)", byOpenSSL}
	case fits(der, &struct {
		Algorithm pkix.AlgorithmIdentifier
		Encrypted []byte
	}{}):
		return nil, &secretError{"a private key, encrypted (PKCS#8, DER)", byOpenSSL}
	case fits(der, &struct {
		Version int
		Private []byte
	}{}):
		return nil, &secretError{"a private key (EC, DER)", byOpenSSL}
	case fits(der, &struct {
		Version int
		N, E, D *big.Int
	}{}):
		return nil, &secretError{"a private key (RSA, PKCS#1, DER)", byOpenSSL}
	case fits(der, &struct {
		Version int
		Content struct{ Type asn1.ObjectIdentifier }
	}{}):
		return nil, &secretError{"a PKCS#12 archive, which is for private keys", byOpenSSL}
	}
	if public, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return public, nil
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		return nil, errCertificate
	}
	if _, err := x509.ParseCertificateRequest(der); err == nil {
		return nil, errCertificateRequest
	}
	return nil, errors.New("DER, and not a public key (PKIX). Ask for the public key as PEM (\"-----BEGIN PUBLIC KEY-----\")")
}

var (
	errCertificate = errors.New("a certificate. Nobody would check its expiry and its issuer, so it isn't read. " +
		"Take the key out with: openssl x509 -in FILE -noout -pubkey")
	errCertificateRequest = errors.New("a certificate request. Take the key out with: openssl req -in FILE -noout -pubkey")
)

// rsaPEM is the type of PEM block around an RSA key in PKCS#1 form.
const rsaPEM = "RSA PUBLIC KEY"

var pemBegin = regexp.MustCompile(`-----BEGIN ([^\n-]*)-----`)

func publicPEMBlock(text string) (crypto.PublicKey, error) {
	var types []string
	for _, found := range pemBegin.FindAllStringSubmatch(text, -1) {
		types = append(types, found[1])
	}
	kind := func(words string) bool {
		return slices.ContainsFunc(types, func(t string) bool { return strings.HasSuffix(t, words) })
	}
	switch {
	case kind("CERTIFICATE REQUEST"):
		return nil, errCertificateRequest
	case kind("CERTIFICATE"):
		return nil, errCertificate
	case kind("PGP PUBLIC KEY BLOCK"):
		return nil, errors.New("an OpenPGP key, which TUF has no format for. Give the public key of another key")
	case len(types) > 1:
		return nil, fmt.Errorf("%d PEM blocks. Give a file with one key", len(types))
	}
	der, err := decodePEM([]byte(text), publicPEM, rsaPEM)
	switch block, _ := pem.Decode([]byte(text)); {
	case block == nil:
		return nil, errors.New("a PEM block that is damaged. Copy the whole of it, from -----BEGIN to the end of the line with -----END")
	case err != nil:
		return nil, fmt.Errorf("%w. Give a file with nothing in it but the public key", err)
	case !isDER(der):
		return nil, errors.New("a PEM block whose content is damaged. Copy it once more")
	}
	return publicDER(der)
}

var hexadecimal = regexp.MustCompile(`^(0x)?[0-9a-fA-F]+$`)

func explainHex(digits string) error {
	digits = strings.TrimPrefix(digits, "0x")
	if n := len(digits); n == 66 || n == 130 {
		return fmt.Errorf("%d hexadecimal digits, perhaps a point of P-256. Give the public key as PEM", n)
	}
	return fmt.Errorf("%d hexadecimal digits, which may be a key ID, or a key, public or private. Give the public key as PEM, or a card", len(digits))
}

// explainJSON says what a JSON file is, as far as it is of use here.
func explainJSON(text string) error {
	var v struct {
		Format                string
		KeyID, PublicKey, PEM string
		Kty                   string
		Keytype               string
		Signed                json.RawMessage
	}
	_ = json.Unmarshal([]byte(text), &v) // what doesn't fit is left out
	var whole any
	_ = json.Unmarshal([]byte(text), &whole)
	switch secret := secretMember(whole); {
	case secret == "d" || secret == "k":
		return &secretError{"a private key (JWK)", "the public key as PEM"}
	case secret == "private":
		return &secretError{"a private key (securesystemslib)", "the public key as PEM"}
	case strings.HasPrefix(v.Format, "bindery-ceremony-card/"):
		return errors.New("a card, which has the holder's name in it, and not a public key")
	case strings.HasPrefix(v.Format, "bindery-ceremony-"):
		return fmt.Errorf("a file of a ceremony (%q), and not a public key", v.Format)
	case v.KeyID != "" && v.PublicKey != "":
		return errors.New("the whole answer of AWS KMS. Ask for the key alone: aws kms get-public-key --query PublicKey --output text --key-id …")
	case v.PEM != "":
		return errors.New("the whole answer of Google Cloud KMS. Give the text in \"pem\", which gcloud writes without --format")
	case v.Kty != "":
		return errors.New("a public key as JWK. Give it as PEM (\"-----BEGIN PUBLIC KEY-----\")")
	case v.Keytype != "":
		return errors.New("the entry of a key in TUF metadata. Give the public key as PEM, or a card")
	case v.Signed != nil:
		return errors.New("TUF metadata, and not a public key")
	}
	return errors.New("JSON, and not a public key. Give the public key as PEM, or a card")
}

// secretMember returns the name of the first member, at any depth, that only private keys have: of a
// JWK, a set of them, or a list of keys as go-tuf has had it.
func secretMember(v any) string {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			if secret := secretMember(element); secret != "" {
				return secret
			}
		}
	case map[string]any:
		has := func(name string) bool { s, _ := v[name].(string); return s != "" }
		for _, name := range []string{"d", "k"} {
			if has("kty") && has(name) {
				return name
			}
		}
		if has("private") {
			return "private"
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if secret := secretMember(v[name]); secret != "" {
				return secret
			}
		}
	}
	return ""
}

// sshType is the beginning of a line that OpenSSH writes, for all kinds that there are.
var sshType = regexp.MustCompile(`^(sk-)?(ssh|ecdsa)-[a-z0-9-]+(@openssh\.com)?$`)

func hasSSHType(text string) bool {
	return slices.ContainsFunc(strings.Fields(text), sshType.MatchString)
}

// publicSSH reads a line of OpenSSH: a type, base64, and a comment (RFC 4253, 6.6).
func publicSSH(text string) (crypto.PublicKey, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("several lines of OpenSSH. Give a file with one line, which begins with the type of the key")
	}
	words := strings.Fields(text)
	kind := words[0]
	switch {
	case !sshType.MatchString(kind):
		return nil, errors.New("a line of OpenSSH with something before the key. Give the line from the type of the key on (ssh-…, ecdsa-…)")
	case strings.HasSuffix(kind, "-cert-v01@openssh.com"):
		return nil, errors.New("an OpenSSH certificate. Give the public key that it is for")
	case strings.HasPrefix(kind, "sk-"):
		return nil, fmt.Errorf("%w: a FIDO key of OpenSSH (%s), whose signatures no TUF client verifies", ErrUnsupported, kind)
	case len(words) < 2:
		return nil, errSSHDamaged
	}
	blob, err := base64.StdEncoding.DecodeString(words[1])
	if err != nil {
		return nil, errSSHDamaged
	}
	r := sshReader{rest: blob}
	if string(r.next()) != kind {
		return nil, errSSHDamaged
	}
	var public crypto.PublicKey
	switch kind {
	case "ssh-ed25519":
		public = ed25519.PublicKey(r.next())
	case "ecdsa-sha2-nistp256":
		if curve := r.next(); string(curve) != "nistp256" {
			return nil, errSSHDamaged
		}
		point, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), r.next())
		if err != nil {
			return nil, errSSHDamaged
		}
		public = point
	case "ssh-rsa":
		e, n := new(big.Int).SetBytes(r.next()), new(big.Int).SetBytes(r.next())
		if e.BitLen() > 31 {
			return nil, fmt.Errorf("%w: RSA with an exponent of %d bits: make another key, with the exponent 65537", ErrUnsupported, e.BitLen())
		}
		public = &rsa.PublicKey{N: n, E: int(e.Int64())}
	default:
		return nil, fmt.Errorf("%w: an OpenSSH key of the type %s", ErrUnsupported, kind)
	}
	if r.short || len(r.rest) > 0 {
		return nil, errSSHDamaged
	}
	return public, nil
}

var errSSHDamaged = errors.New("a line of OpenSSH that is damaged. Copy the whole line once more")

// sshReader reads strings with their lengths (RFC 4251, 5).
type sshReader struct {
	rest  []byte
	short bool
}

func (r *sshReader) next() []byte {
	if len(r.rest) < 4 {
		r.short, r.rest = true, nil
		return nil
	}
	n := binary.BigEndian.Uint32(r.rest)
	if uint64(n) > uint64(len(r.rest)-4) {
		r.short, r.rest = true, nil
		return nil
	}
	value := r.rest[4 : 4+n]
	r.rest = r.rest[4+n:]
	return value
}
