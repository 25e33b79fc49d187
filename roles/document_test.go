package roles_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	reference "github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

var expiry = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)

// timestampSigned is a signed part with members that nobody knows, one of them an
// integer that go-tuf rounds.
const timestampSigned = `{ "_type": "timestamp", "spec_version": "1.0",
  "x-owner": {"b":"ü\u0001", "a":9007199254740993}, "version": 7, "expires":"2030-01-31T12:00:00.25Z",
  "meta": {"snapshot.json": {"x-note": [true], "version": 12}} }`

func file(signed, signatures string) []byte {
	return []byte(`{"signed": ` + signed + `, "x-envelope" : 1, "signatures": [` + signatures + `] }`)
}

func parseTimestamp(t *testing.T, data []byte) *roles.Document[metadata.TimestampType] {
	t.Helper()
	d, err := roles.Parse[metadata.TimestampType](data)
	require.NoError(t, err)
	return d
}

func TestNewEncodesOnce(t *testing.T) {
	signed := metadata.TimestampType{
		Type: "timestamp", SpecVersion: "1.0.34", Version: 1, Expires: expiry,
		Meta:               map[string]*metadata.MetaFiles{"snapshot.json": {Version: 3}},
		UnrecognizedFields: map[string]any{"x-pem": "-----BEGIN\nEND\n<&>\"\\"},
	}
	d, err := roles.New(signed)
	require.NoError(t, err)
	want, err := reference.EncodeCanonical(signed)
	require.NoError(t, err)
	require.Equal(t, string(want), string(d.Canonical()))
	require.Equal(t, `{"signatures":[],"signed":{"_type":"timestamp","expires":"2030-01-31T12:00:00Z",`+
		`"meta":{"snapshot.json":{"version":3}},"spec_version":"1.0.34","version":1,`+
		`"x-pem":"-----BEGIN\u000aEND\u000a<&>\"\\"}}`, string(d.Bytes()))
	require.Equal(t, sha256.Sum256(want), d.Digest())
	require.Equal(t, int64(1), d.Version())
	require.Equal(t, expiry, d.Expires())
	require.Empty(t, d.Signatures())
}

func TestNewRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*metadata.TimestampType)
		want string
	}{
		{"fraction", func(s *metadata.TimestampType) { s.Expires = expiry.Add(time.Millisecond) },
			"timestamp: expires 2030-01-31T12:00:00.001Z: not in UTC and whole seconds"},
		{"zone", func(s *metadata.TimestampType) { s.Expires = expiry.In(time.FixedZone("", 3600)) },
			"timestamp: expires 2030-01-31T13:00:00+01:00: not in UTC and whole seconds"},
		{"version", func(s *metadata.TimestampType) { s.Version = 0 },
			"timestamp: signed.version: 0 is not an integer from 1 to 9007199254740991"},
		{"large version", func(s *metadata.TimestampType) { s.Version = 1 << 53 },
			"timestamp: signed.version: 9007199254740992 is not an integer from 1 to 9007199254740991"},
		{"type", func(s *metadata.TimestampType) { s.Type = "snapshot" },
			`timestamp: signed._type: "snapshot" instead of "timestamp"`},
		{"no meta", func(s *metadata.TimestampType) { s.Meta = nil },
			"timestamp: signed.meta: null instead of an object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			signed := metadata.TimestampType{Type: "timestamp", SpecVersion: "1.0.34", Version: 1, Expires: expiry,
				Meta: map[string]*metadata.MetaFiles{"snapshot.json": {Version: 3}}}
			c.edit(&signed)
			_, err := roles.New(signed)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestSigningKeepsEveryByte(t *testing.T) {
	data := file(timestampSigned, ` {"x-sig": 1.0e0, "sig":"", "keyid":"not hex at all"} `)
	_, err := roles.Parse[metadata.TimestampType](data)
	require.EqualError(t, err, "timestamp: byte 272, in signatures[0][\"x-sig\"]: a number that is no plain integer")

	data = file(timestampSigned, ` {"x-sig": [1 , 2], "sig" : "", "keyid":"not hex at all", "x":"y"} , {"keyid":"z\u0062","sig":"00"}`)
	d := parseTimestamp(t, data)
	require.Equal(t, string(data), string(d.Bytes()))
	require.Equal(t, []roles.Signature{{KeyID: "not hex at all", Sig: []byte{}}, {KeyID: "zb", Sig: []byte{0}}}, d.Signatures())
	require.Equal(t, "{\"_type\":\"timestamp\",\"expires\":\"2030-01-31T12:00:00.25Z\",\"meta\":{\"snapshot.json\":{\"version\":12,\"x-note\":[true]}},"+
		"\"spec_version\":\"1.0\",\"version\":7,\"x-owner\":{\"a\":9007199254740993,\"b\":\"ü\x01\"}}", string(d.Canonical()))

	signer := ed25519Signer(t)
	s, err := d.Sign(t.Context(), signer)
	require.NoError(t, err)
	s, err = s.AddSignature(roles.Signature{KeyID: "not hex at all", Sig: []byte{0xab}})
	require.NoError(t, err)
	sig, id := hex.EncodeToString(s.Signatures()[0].Sig), signer.Public().ID()
	require.Equal(t, string(file(timestampSigned, fmt.Sprintf(
		`{"keyid":"%s","sig":"%s"},{"x-sig": [1 , 2], "sig" : "ab", "keyid":"not hex at all", "x":"y"},{"keyid":"z\u0062","sig":"00"}`, id, sig))), string(s.Bytes()))
	require.Equal(t, d.Canonical(), s.Canonical())
	require.Equal(t, d.Digest(), s.Digest())
	require.NoError(t, signer.Public().Verify(s.Canonical(), s.Signatures()[0].Sig))
	require.Equal(t, string(data), string(d.Bytes()), "the first document changed")

	again, err := s.Sign(t.Context(), signer)
	require.NoError(t, err)
	require.Equal(t, string(s.Bytes()), string(again.Bytes()), "Ed25519 is deterministic and replaces its own signature")
	require.Equal(t, s.Signatures(), parseTimestamp(t, s.Bytes()).Signatures())
}

func TestParseKeepsACopy(t *testing.T) {
	data := file(timestampSigned, "")
	d := parseTimestamp(t, data)
	clear(data)
	require.Equal(t, string(file(timestampSigned, "")), string(d.Bytes()))
}

func TestAddSignatureRefuses(t *testing.T) {
	d := parseTimestamp(t, file(timestampSigned, ""))
	for want, s := range map[string]roles.Signature{
		"timestamp: a signature without a key ID":                {Sig: []byte{1}},
		"timestamp: key k: an empty signature":                   {KeyID: "k"},
		`timestamp: key "\xff": an ID that is not valid UTF-8`:   {KeyID: "\xff", Sig: []byte{1}},
		"timestamp: 16686 bytes, and clients read at most 16384": {KeyID: "k", Sig: make([]byte, 8200)},
	} {
		_, err := d.AddSignature(s)
		require.EqualError(t, err, want)
	}
}

func TestParseRefuses(t *testing.T) {
	signed := func(old, new string) []byte {
		require.Contains(t, timestampSigned, old)
		return file(strings.Replace(timestampSigned, old, new, 1), "")
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"nothing", nil, "timestamp: byte 0: the text ends where a value should be"},
		{"another value", []byte("[]"), "timestamp: an array instead of an object"},
		{"trailing data", append(file(timestampSigned, ""), "{}"...), "timestamp: byte 264: '{' where the end of the document should be"},
		{"duplicate member", signed(`"version": 7`, `"version": 7, "version": 7`), "timestamp: byte 125, in signed: duplicate key \"version\""},
		{"another case", signed(`"x-owner"`, `"Version"`), `timestamp: signed.Version: some clients take it for "version"`},
		{"another case, optional", signed(`"x-note": [true]`, `"LENGTH": 3`), `timestamp: signed.meta["snapshot.json"].LENGTH: some clients take it for "length"`},
		{"folded beyond ASCII", signed(`"x-note": [true]`, `"haſhes": 3`), `timestamp: signed.meta["snapshot.json"].haſhes: some clients take it for "hashes"`},
		{"no signed part", []byte(`{"signatures":[]}`), "timestamp: signed: missing"},
		{"no signatures", []byte(`{"signed":{}}`), "timestamp: signatures: missing"},
		{"null signatures", []byte(`{"signed":{},"signatures":null}`), "timestamp: signatures: null instead of an array"},
		{"signature of another type", file(timestampSigned, "7"), "timestamp: signatures[0]: a number instead of an object"},
		{"signature without a key", file(timestampSigned, `{"sig":""}`), "timestamp: signatures[0].keyid: missing"},
		{"signature that is no hex", file(timestampSigned, `{"sig":"0g","keyid":""}`), "timestamp: signatures[0].sig: encoding/hex: invalid byte: U+0067 'g'"},
		{"two signatures of a key", file(timestampSigned, `{"sig":"","keyid":"a"},{"sig":"00","keyid":"\u0061"}`), `timestamp: signatures[1]: "a" a second time`},
		{"another role", signed(`"_type": "timestamp"`, `"_type": "root"`), `timestamp: signed._type: "root" instead of "timestamp"`},
		{"no version", signed(`"version": 7,`, ""), "timestamp: signed.version: missing"},
		{"version as text", signed(`"version": 7`, `"version": "7"`), "timestamp: signed.version: a string instead of an integer"},
		{"version null", signed(`"version": 7`, `"version": null`), "timestamp: signed.version: null instead of an integer"},
		{"fractional version", signed(`"version": 7`, `"version": 7.0`), "timestamp: byte 122, in signed.version: a number that is no plain integer"},
		{"a future specification", signed(`"1.0"`, `"2.0"`), `timestamp: signed.spec_version: "2.0" is not a version 1 of the specification`},
		{"no specification", signed(`"1.0"`, `"1."`), `timestamp: signed.spec_version: "1." is not a version 1 of the specification`},
		{"expires with an offset", signed(`12:00:00.25Z`, `12:00:00+00:00`), `timestamp: signed.expires: "2030-01-31T12:00:00+00:00" is not a time in UTC such as "2030-01-31T12:00:00Z"`},
		{"expires on no day", signed(`2030-01-31`, `2030-02-31`), `timestamp: signed.expires: "2030-02-31T12:00:00.25Z" is not a time in UTC such as "2030-01-31T12:00:00Z"`},
		{"no snapshot", signed(`snapshot.json`, `snapshot.txt`), `timestamp: signed.meta.snapshot.json: missing`},
		{"snapshot version 0", signed(`"version": 12`, `"version": 0`), `timestamp: signed.meta["snapshot.json"].version: 0 is not an integer from 1 to 9007199254740991`},
		{"empty hashes", signed(`"x-note": [true]`, `"hashes": {}`), `timestamp: signed.meta["snapshot.json"].hashes: empty`},
		{"upper-case hash", signed(`"x-note": [true]`, `"hashes": {"sha256":"AB"}`), `timestamp: signed.meta["snapshot.json"].hashes["sha256"]: "AB" is not a digest in lower-case hexadecimal`},
		{"too large", append(file(timestampSigned, ""), make([]byte, 16384)...), "timestamp: 16648 bytes, and clients read at most 16384"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := roles.Parse[metadata.TimestampType](c.data)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestParseTargetsRefuses(t *testing.T) {
	const prefix = `{"signed":{"_type":"targets","spec_version":"1.0.31","version":1,"expires":"2030-01-31T12:00:00Z",`
	for tail, want := range map[string]string{
		`"targets":{"a":null}`:                      `targets: signed.targets["a"]: null instead of an object`,
		`"targets":{"a":{"length":0,"hashes":{}}}`:  `targets: signed.targets["a"].hashes: empty`,
		`"targets":{"a":{"length":-1,"hashes":{}}}`: `targets: signed.targets["a"].hashes: empty`,
		`"targets":{},"delegations":null`:           `targets: signed.delegations: null instead of an object`,
		`"targets":{},"delegations":{"keys":{}}`:    `targets: signed.delegations: exactly one of "roles" and "succinct_roles" must be there`,
		`"targets":{},"delegations":{"keys":{},"roles":[{"name":"a","keyids":[],"threshold":1,"terminating":true,"paths":[]},` +
			`{"name":"a","keyids":[],"threshold":1,"terminating":true,"paths":[]}]}`: `targets: signed.delegations.roles[1]: "a" a second time`,
		`"targets":{},"delegations":{"keys":{},"roles":[{"name":"root","keyids":[],"threshold":1,"terminating":true,"paths":[]}]}`:     `targets: signed.delegations.roles[0].name: "root" can't be delegated to: it must be a name, and not that of a top-level role`,
		`"targets":{},"delegations":{"keys":{},"roles":[{"name":"a","keyids":[],"threshold":1,"terminating":true}]}`:                   `targets: signed.delegations.roles[0]: exactly one of "paths" and "path_hash_prefixes" must be there`,
		`"targets":{},"delegations":{"keys":{},"roles":[{"name":"a","keyids":["k","k"],"threshold":1,"terminating":true,"paths":[]}]}`: `targets: signed.delegations.roles[0].keyids[1]: "k" a second time`,
		`"targets":{},"delegations":{"keys":{},"succinct_roles":{"keyids":[],"threshold":0,"bit_length":3,"name_prefix":"b"}}`:         `targets: signed.delegations.succinct_roles.threshold: 0 is not an integer from 1 to 9007199254740991`,
		`"targets":{},"delegations":{"keys":{},"succinct_roles":{"keyids":[],"threshold":1,"bit_length":33,"name_prefix":"b"}}`:        `targets: signed.delegations.succinct_roles.bit_length: 33 is not an integer from 1 to 32`,
	} {
		_, err := roles.Parse[metadata.TargetsType]([]byte(prefix + tail + `},"signatures":[]}`))
		require.EqualError(t, err, want)
	}
}

func TestPeek(t *testing.T) {
	h, err := roles.Peek(file(timestampSigned, ""))
	require.NoError(t, err)
	require.Equal(t, roles.Header{Type: "timestamp", Version: 7, Expires: expiry.Add(250 * time.Millisecond)}, h)

	_, err = roles.Peek(file(strings.Replace(timestampSigned, "timestamp", "mirrors", 1), ""))
	require.EqualError(t, err, `signed._type: "mirrors" instead of "root" or "targets" or "snapshot" or "timestamp"`)
}
