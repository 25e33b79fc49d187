package roles_test

import (
	"encoding/json"
	"fmt"
	"testing"

	reference "github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

// FuzzParse demands of each document that Parse accepts: Peek and go-tuf read the
// same in it, the canonical form is that of go-securesystemslib, and a signature
// added to it changes nothing else.
func FuzzParse(f *testing.F) {
	a, b, c := ed25519Signer(f), ecdsaSigner(f), rsaSigner(f)
	root, err := roles.NewRoot(rootOf(3, authorityOf(2, a, b, c), authorityOf(1, a)))
	require.NoError(f, err)
	timestamp, err := roles.NewTimestamp(1, expiry, 1, []byte("{}"))
	require.NoError(f, err)
	for _, seed := range [][]byte{
		signAll(f, root, a, b, c).Bytes(),
		signAll(f, timestamp, a).Bytes(),
		file(timestampSigned, ` {"x-sig": [1 , 2], "sig" : "", "keyid":"not hex at all", "x":"y"} , {"keyid":"z\u0062","sig":"00"}`),
		file(`{"_type":"snapshot","spec_version":"1.0.31","version":2,"expires":"2030-01-31T12:00:00Z","meta":{"targets.json":{"version":1},"a/b.json":{"version":3,"length":1,"hashes":{"sha256":"00"}}}}`, ""),
		file(`{"_type":"targets","spec_version":"1.0.31","version":2,"expires":"2030-01-31T12:00:00Z","targets":{"ü\n":{"length":0,"hashes":{"sha256":"00"},"custom":{"a":[]}}},`+
			`"delegations":{"keys":{"k":{"keytype":"x","scheme":"y","keyval":{"z":1}}},"roles":[{"name":".","keyids":["k"],"threshold":1,"terminating":false,"path_hash_prefixes":[""]}]}}`, ""),
		file(`{"_type":"targets","spec_version":"1.0","version":2,"expires":"2030-01-31T12:00:00Z","targets":{},`+
			`"delegations":{"keys":{},"succinct_roles":{"bit_length":14,"name_prefix":"bins","keyids":[],"threshold":1}}}`, ""),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		header, err := roles.Peek(data)
		if err != nil {
			return
		}
		switch header.Type {
		case metadata.ROOT:
			fuzzDocument[metadata.RootType](t, data, header)
		case metadata.TARGETS:
			fuzzDocument[metadata.TargetsType](t, data, header)
		case metadata.SNAPSHOT:
			fuzzDocument[metadata.SnapshotType](t, data, header)
		case metadata.TIMESTAMP:
			fuzzDocument[metadata.TimestampType](t, data, header)
		}
	})
}

func fuzzDocument[T roles.Type](t *testing.T, data []byte, header roles.Header) {
	d, err := roles.Parse[T](data)
	if err != nil {
		return
	}
	require.Equal(t, data, d.Bytes())
	require.Equal(t, header, roles.Header{Type: header.Type, Version: d.Version(), Expires: d.Expires()})
	require.Equal(t, []any{header.Version, header.Expires}, versionAndExpires(d.Signed()))
	require.Equal(t, d.Canonical(), referenceForm(t, data))

	signed, err := d.AddSignature(roles.Signature{KeyID: "q", Sig: []byte{0xab}})
	require.NoError(t, err)
	require.Equal(t, d.Canonical(), referenceForm(t, signed.Bytes()))
	require.Contains(t, signed.Signatures(), roles.Signature{KeyID: "q", Sig: []byte{0xab}})
	again, err := roles.Parse[T](signed.Bytes())
	require.NoError(t, err)
	require.Equal(t, signed.Signatures(), again.Signatures())
	if _, err := new(metadata.Metadata[T]).FromBytes(signed.Bytes()); err != nil {
		// It takes only lower-case ASCII in a hash or signature that has escapes.
		require.Contains(t, string(data), `\u`, "go-tuf: %v", err)
	}
}

func referenceForm(t *testing.T, data []byte) []byte {
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(data, &members))
	canonical, err := reference.EncodeCanonical(members["signed"])
	require.NoError(t, err)
	return canonical
}

func versionAndExpires(signed any) []any {
	switch s := signed.(type) {
	case metadata.RootType:
		return []any{s.Version, s.Expires}
	case metadata.TargetsType:
		return []any{s.Version, s.Expires}
	case metadata.SnapshotType:
		return []any{s.Version, s.Expires}
	case metadata.TimestampType:
		return []any{s.Version, s.Expires}
	}
	panic(fmt.Sprintf("%T", signed))
}
