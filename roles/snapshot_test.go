package roles_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func metaIn(t testing.TB, s *roles.Snapshot) []roles.MetaEdit {
	t.Helper()
	var list []roles.MetaEdit
	for m, err := range s.Meta() {
		require.NoError(t, err)
		list = append(list, m)
	}
	return list
}

func TestSnapshotEdit(t *testing.T) {
	empty := roles.NewSnapshot()
	require.Equal(t, `{"_type":"snapshot","expires":"0001-01-01T00:00:00Z","meta":{},"spec_version":"`+roles.SpecVersion+`","version":0}`, string(empty.Canonical()))
	_, err := empty.Sign(t.Context(), binSigner(t))
	require.EqualError(t, err, "snapshot: version 0: call Edit before Sign")

	s, err := empty.Edit(5, binExpires, []roles.MetaEdit{
		{Role: "targets", Version: 2}, {Role: "bins-0", Version: 1}, {Role: "bins", Version: 3, Length: 6_000_000}, {Role: "bins-0", Version: 4},
	})
	require.NoError(t, err)
	want := `{"_type":"snapshot","expires":"2030-01-02T03:04:05Z","meta":{"bins-0.json":{"version":4},` +
		`"bins.json":{"length":6000000,"version":3},"targets.json":{"version":2}},"spec_version":"` + roles.SpecVersion + `","version":5}`
	require.Equal(t, want, string(s.Canonical()))
	require.Equal(t, int64(5), s.Version())
	require.Equal(t, binExpires, s.Expires())
	require.Empty(t, s.Signatures())
	require.Equal(t, []roles.MetaEdit{{"bins-0", 4, 0}, {"bins", 3, 6_000_000}, {"targets", 2, 0}}, metaIn(t, s))

	for _, test := range []struct {
		edit roles.MetaEdit
		want string
	}{
		{roles.MetaEdit{"", 1, 0}, `snapshot: role "": no name`},
		{roles.MetaEdit{"a", 0, 0}, `snapshot: role "a": version 0: not from 1 to 2^53-1`},
		{roles.MetaEdit{"a", 1 << 53, 0}, `snapshot: role "a": version 9007199254740992: not from 1 to 2^53-1`},
		{roles.MetaEdit{"a", 1, -1}, `snapshot: role "a": length -1: not from 0 to 2^53-1`},
		{roles.MetaEdit{"a\n", 1, 0}, `snapshot: role "a\n": a control character U+000A`},
	} {
		_, err := s.Edit(6, binExpires, []roles.MetaEdit{test.edit})
		require.EqualError(t, err, test.want)
	}
	_, err = s.Edit(-1, binExpires, nil)
	require.EqualError(t, err, "snapshot: version -1: not from 0 to 2^53-1")
}

// TestSnapshotModel makes random edits to a snapshot and to go-tuf's type, which
// the reference encodes.
func TestSnapshotModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	signer := binSigner(t)
	model := metadata.Snapshot(binExpires)
	model.Signed.SpecVersion, model.Signed.Meta = roles.SpecVersion, map[string]*metadata.MetaFiles{}
	s := roles.NewSnapshot()
	for version := int64(1); version <= 200; version++ {
		var edits []roles.MetaEdit
		for range rng.IntN(6) {
			e := roles.MetaEdit{Role: fmt.Sprintf("bins-%02x", rng.IntN(64)), Version: 1 + rng.Int64N(1000), Length: rng.Int64N(2) * rng.Int64N(9)}
			edits = append(edits, e)
			model.Signed.Meta[e.Role+".json"] = &metadata.MetaFiles{Version: e.Version, Length: e.Length}
		}
		model.Signed.Version = version
		var err error
		s, err = s.Edit(version, binExpires, edits)
		require.NoError(t, err)
		want, err := cjson.EncodeCanonical(model.Signed)
		require.NoError(t, err)
		require.Equal(t, string(want), string(s.Canonical()))

		file, err := s.Sign(t.Context(), signer)
		require.NoError(t, err)
		theirs, err := metadata.Snapshot().FromBytes(file)
		require.NoError(t, err)
		require.Len(t, metaIn(t, s), len(theirs.Signed.Meta))
		parsed, err := roles.ParseSnapshot(file)
		require.NoError(t, err)
		require.Equal(t, s.Canonical(), parsed.Canonical())
		require.NoError(t, signer.Public().Verify(s.Canonical(), parsed.Signatures()[0].Sig))
		if version%3 == 0 { // else the next edit is made to the edited snapshot itself
			s = parsed
		}
	}
}

func TestParseSnapshotRefuses(t *testing.T) {
	good := `{"_type":"snapshot","expires":"2030-01-01T00:00:00Z","meta":{"a.json":{"hashes":{"sha256":"00"},"length":1,"version":1,"x":1}},"spec_version":"1.0.34","version":1}`
	s, err := roles.ParseSnapshot(binFile(good))
	require.NoError(t, err)
	require.Equal(t, []roles.MetaEdit{{"a", 1, 1}}, metaIn(t, s))
	require.Equal(t, good, string(s.Canonical()))
	for _, test := range []struct{ old, new, place string }{
		{`"a.json"`, `"a"`, `"a": not the name of a metadata file`},
		{`"version":1,"x"`, `"version":0,"x"`, "version"},
		{`"version":1,"x"`, `"x"`, "version"},
		{`"length":1`, `"length":-1`, "length"},
		{`"snapshot"`, `"targets"`, "_type"},
		{`"meta"`, `"meat"`, "meta"},
	} {
		changed := bytes.Replace([]byte(good), []byte(test.old), []byte(test.new), 1)
		_, err := roles.ParseSnapshot(binFile(string(changed)))
		require.ErrorContains(t, err, test.place, "%s", changed)
	}
}

func fullSnapshot(t testing.TB, n int) *roles.Snapshot {
	t.Helper()
	edits := []roles.MetaEdit{{Role: "targets", Version: 1}, {Role: "bins", Version: 1}}
	for i := range n {
		edits = append(edits, roles.MetaEdit{Role: fmt.Sprintf("bins-%04x", i), Version: int64(1000 + i)})
	}
	s, err := roles.NewSnapshot().Edit(1, binExpires, edits)
	require.NoError(t, err)
	return s
}

// FuzzSnapshot does for a snapshot what FuzzBin does for a bin.
func FuzzSnapshot(f *testing.F) {
	signer := binSigner(f)
	file, err := fullSnapshot(f, 3).Sign(f.Context(), signer)
	require.NoError(f, err)
	f.Add(file, "bins-1")
	f.Add([]byte(`{"signed":{"version":3,"x-y":"\n","_type":"snapshot","meta":{"b.json":{"version":2},"a.json":{"hashes":{"sha512":"00"},"version":1}},"spec_version":"1.0","expires":"2029-01-01T00:00:00Z"},"signatures":[]}`), "a")
	f.Fuzz(func(t *testing.T, file []byte, role string) {
		edits := []roles.MetaEdit{{Role: "new", Version: 1}}
		s, err := roles.ParseSnapshot(file)
		if err != nil {
			return
		}
		var envelope struct{ Signed json.RawMessage }
		require.NoError(t, json.Unmarshal(file, &envelope))
		want, err := cjson.EncodeCanonical(envelope.Signed)
		require.NoError(t, err)
		require.Equal(t, string(want), string(s.Canonical()))

		s, err = s.Edit(2, binExpires, edits)
		require.NoError(t, err)
		signed, err := s.Sign(t.Context(), signer)
		require.NoError(t, err)
		again, err := roles.ParseSnapshot(signed)
		require.NoError(t, err)
		require.Equal(t, string(s.Canonical()), string(again.Canonical()))
	})
}
