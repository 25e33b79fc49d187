package roles_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

const smallOrder = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"

// entry is a key as metadata lists it.
type entry struct{ id, keytype, scheme, public, more string }

func (e entry) json() string {
	return fmt.Sprintf(`%q:{"keytype":%q,"scheme":%q,"keyval":{"public":%q}%s}`, e.id, e.keytype, e.scheme, e.public, e.more)
}

func entryOf(id string, s *testSigner) entry {
	return entry{id, s.public.Type(), s.public.Scheme(), s.public.Value(), ""}
}

// listing is a document of each kind that lists keys, in which ids sign the role that text names.
func listing(t *testing.T, keys []entry, ids ...string) map[string]error {
	t.Helper()
	var entries []string
	for _, k := range keys {
		entries = append(entries, k.json())
	}
	listed := "{" + strings.Join(entries, ",") + "}"
	all, err := json.Marshal(ids)
	require.NoError(t, err)
	who := fmt.Sprintf(`"keyids":%s,"threshold":1`, all)
	other := `{"keyids":[],"threshold":1}`
	const header = `"spec_version":"1.0.34","version":1,"expires":"2030-01-01T00:00:00Z"`
	root := func(role string) error {
		members := map[string]json.RawMessage{}
		for _, r := range metadata.TOP_LEVEL_ROLE_NAMES {
			members[r] = json.RawMessage(other)
		}
		members[role] = json.RawMessage("{" + who + "}")
		text, err := json.Marshal(members)
		require.NoError(t, err)
		d, err := roles.Parse[metadata.RootType](fmt.Appendf(nil, `{"signed":{"_type":"root",%s,"consistent_snapshot":true,"keys":%s,"roles":%s},"signatures":[]}`, header, listed, text))
		require.NoError(t, err)
		return roles.CheckKeys(d)
	}
	targets := func(delegations string) error {
		d, err := roles.Parse[metadata.TargetsType](fmt.Appendf(nil, `{"signed":{"_type":"targets",%s,"targets":{},"delegations":{"keys":%s,%s}},"signatures":[]}`, header, listed, delegations))
		require.NoError(t, err)
		return roles.CheckKeys(d)
	}
	out := map[string]error{
		"bins-*":   targets(fmt.Sprintf(`"succinct_roles":{"bit_length":4,"name_prefix":"bins",%s}`, who)),
		"bins":     targets(fmt.Sprintf(`"roles":[{"name":"other","paths":["*"],"terminating":false,"keyids":[],"threshold":1},{"name":"bins","paths":["*"],"terminating":true,%s}]`, who)),
		"explicit": targets(fmt.Sprintf(`"roles":[{"name":"b-0","path_hash_prefixes":["0"],"terminating":true,%[1]s},{"name":"b-1","path_hash_prefixes":["1"],"terminating":true,%[1]s}]`, who)),
	}
	for _, r := range metadata.TOP_LEVEL_ROLE_NAMES {
		out[r] = root(r)
	}
	return out
}

func TestCheckKeysRefuses(t *testing.T) {
	ed, p256 := ed25519Signer(t), ecdsaSigner(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKIXPublicKey(&p384.PublicKey)
	require.NoError(t, err)
	foreign := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	short := shortPoint(t, &p384.PublicKey)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err = x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	plain := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	pkcs1 := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)}))
	pss := pkixPEM(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}, asn1.RawValue{}, x509.MarshalPKCS1PublicKey(&key.PublicKey))
	upper, old, bare := entryOf("upper", ed), entryOf("old", p256), entryOf("bare", p256)
	upper.public = strings.ToUpper(upper.public)
	old.keytype = "ecdsa-sha2-nistp256"
	bare.public = strings.TrimSpace(bare.public)

	for name, twice := range map[string][2]entry{
		"two IDs":                {entryOf("a", ed), entryOf("b", ed)},
		"hex in two cases":       {entryOf("a", ed), upper},
		"PEM in two forms":       {entryOf("a", p256), bare},
		"the old keytype":        {entryOf("a", p256), old},
		"two schemes":            {entryOf("a", p256), {"b", "ecdsa", "ecdsa-sha2-nistp384", p256.public.Value(), ""}},
		"a kind unknown here":    {{"a", "ecdsa", "ecdsa-sha2-nistp384", foreign, ""}, {"b", "ecdsa", "ecdsa-sha2-nistp384", strings.TrimSpace(foreign), ""}},
		"a compressed point":     {{"a", "ecdsa", "ecdsa-sha2-nistp384", foreign, ""}, {"b", "ecdsa", "ecdsa-sha2-nistp384", short, ""}},
		"RSA as PKCS#1":          {{"a", "rsa", "rsassa-pss-sha256", plain, ""}, {"b", "rsa", "rsassa-pss-sha512", pkcs1, ""}},
		"RSA for PSS only":       {{"a", "rsa", "rsassa-pss-sha256", plain, ""}, {"b", "rsa", "rsassa-pss-sha512", pss, ""}},
		"a kind without PEM":     {{"a", "sphincs", "sphincs-sha3", "00ab", ""}, {"b", "sphincs", "sphincs-sha3", "00AB", ""}},
		"with members of others": {entryOf("a", ed), {"b", "ed25519", "ed25519", ed.public.Value(), `,"keyid_hash_algorithms":["sha256"]`}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := twice[0], twice[1]
			for role, err := range listing(t, twice[:], a.id, b.id) {
				if role == "explicit" {
					role = "b-0"
				}
				require.EqualError(t, err, fmt.Sprintf("role %q: keys %q and %q are the same key: some clients would count its holder twice: list it once", role, a.id, b.id))
			}
			for role, err := range listing(t, twice[:], b.id) {
				require.NoError(t, err, "%s: nobody counts twice in one role", role)
			}
		})
	}
	for role, err := range listing(t, []entry{entryOf("a", ed), {"weak", "ed25519", "ed25519", smallOrder, ""}}, "a") {
		require.ErrorContains(t, err, `public key "weak": an Ed25519 key of small order`, role)
	}
}

// shortPoint is a key in PEM whose point is compressed, which crypto/x509 doesn't read or write.
func shortPoint(t *testing.T, key *ecdsa.PublicKey) string {
	curve, err := asn1.Marshal(asn1.ObjectIdentifier{1, 3, 132, 0, 34})
	require.NoError(t, err)
	point, err := key.Bytes() // 4, x, y
	require.NoError(t, err)
	point = append([]byte{2 + point[len(point)-1]&1}, point[1:1+len(point)/2]...)
	return pkixPEM(t, asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}, asn1.RawValue{FullBytes: curve}, point)
}

func pkixPEM(t *testing.T, algorithm asn1.ObjectIdentifier, parameters asn1.RawValue, key []byte) string {
	der, err := asn1.Marshal(struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}{pkix.AlgorithmIdentifier{Algorithm: algorithm, Parameters: parameters}, asn1.BitString{Bytes: key, BitLength: 8 * len(key)}})
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func TestCheckKeysAccepts(t *testing.T) {
	ed, p256 := ed25519Signer(t), ecdsaSigner(t)
	mine := entryOf("a", ed)
	mine.more = `,"keyid_hash_algorithms":["sha256","sha512"],"x-tuf-on-ci-keyowner":"@ada"`
	for role, err := range listing(t, []entry{mine, entryOf("b", p256),
		{"c", "sphincs", "sphincs-sha3", "00", ""}, {"d", "gpg", "pgp", "", ""}, {"e", "gpg", "pgp", "", ""}}, "a", "b", "c", "d", "e", "missing") {
		require.NoError(t, err, role)
	}
	d := parseTimestamp(t, file(timestampSigned, ""))
	require.NoError(t, roles.CheckKeys(d))
	require.Empty(t, roles.OddKeyIDs(d))
}

func TestOddKeyIDs(t *testing.T) {
	ed, p256 := ed25519Signer(t), ecdsaSigner(t)
	spec := rootOf(1, authorityOf(1, ed, p256), authorityOf(1, p256))
	require.Empty(t, roles.OddKeyIDs(newRoot(t, spec)))
	spec.Root = authorityOf(1, renamed(t, ed, "odd"), renamed(t, ecdsaSigner(t), "é\"\n"))
	require.Equal(t, []string{"odd", "é\"\n"}, roles.OddKeyIDs(newRoot(t, spec)))

	// The ID is that of the entry with all its members, as securesystemslib made it.
	key := entryOf("id", ed)
	key.more = `,"keyid_hash_algorithms":["sha256","sha512"]`
	text := fmt.Sprintf(`{"signed":{"_type":"targets","spec_version":"1.0.34","version":1,"expires":"2030-01-01T00:00:00Z","targets":{},"delegations":{"keys":{%s},"roles":[]}},"signatures":[]}`, key.json())
	d, err := roles.Parse[metadata.TargetsType]([]byte(text))
	require.NoError(t, err)
	require.Equal(t, []string{"id"}, roles.OddKeyIDs(d))
	var value map[string]any
	require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(key.json(), `"id":`)), &value))
	reference, err := cjson.EncodeCanonical(value)
	require.NoError(t, err)
	id := fmt.Sprintf("%x", sha256.Sum256(reference))
	d, err = roles.Parse[metadata.TargetsType]([]byte(strings.Replace(text, `"id":`, fmt.Sprintf("%q:", id), 1)))
	require.NoError(t, err)
	require.Empty(t, roles.OddKeyIDs(d))
	require.NotEqual(t, ed.public.ID(), id)
}
