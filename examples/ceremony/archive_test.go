package main

import (
	"archive/tar"
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const headOfArchive = `{"format":"bindery-ceremony-archive/1","kind":"files","made":"2030-01-31T12:00:00Z"}`

var sampleArchive = archive{kind: kindEverything, made: testNow, entries: []entry{
	{name: "documents", folder: true},
	{name: "documents/1.root.json", data: []byte("{}")},
	{name: "empty", folder: true},
	{name: "files/web.key", private: true, data: bytes.Repeat([]byte("x"), 1000)},
	{name: strings.Repeat("long/", 50) + "ä", data: []byte("x")},
}}

func TestArchiveRoundTrip(t *testing.T) {
	packed, err := sampleArchive.pack()
	require.NoError(t, err)
	again, err := sampleArchive.pack()
	require.NoError(t, err)
	require.Equal(t, packed, again)
	got, err := unpack(bytes.NewReader(packed))
	require.NoError(t, err)
	want := sampleArchive
	want.entries = append([]entry(nil), want.entries...)
	for i := range want.entries {
		if want.entries[i].folder {
			want.entries[i].data = []byte{}
		}
	}
	require.Equal(t, want, got)
}

// tarOf makes a tar file of the head and these.
func tarOf(t testing.TB, head string, headers ...tar.Header) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: archiveHead, Mode: 0o644, Size: int64(len(head))}))
	_, err := io.WriteString(w, head)
	require.NoError(t, err)
	for _, h := range headers {
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write(make([]byte, h.Size))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func TestUnpackRefuses(t *testing.T) {
	good := tarOf(t, headOfArchive, tar.Header{Name: "a", Size: 3})
	_, err := unpack(bytes.NewReader(good))
	require.NoError(t, err)
	file := func(name string) []byte { return tarOf(t, headOfArchive, tar.Header{Name: name, Mode: 0o644}) }
	special := func(kind byte) []byte {
		return tarOf(t, headOfArchive, tar.Header{Name: "a", Linkname: "/etc/passwd", Typeflag: kind})
	}
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":            {nil, "not a backup of this program: it is empty"},
		"no tar file":        {[]byte(strings.Repeat("no tar file ", 100)), "not a backup of this program: "},
		"another tar file":   {tarOf(t, "", tar.Header{Name: "a"}), "archive.json: "},
		"begins otherwise":   {good[1024:], `it begins with "a"`},
		"another format":     {tarOf(t, strings.Replace(headOfArchive, "/1", "/2", 1)), "format"},
		"another kind":       {tarOf(t, strings.Replace(headOfArchive, "files", "keys", 1)), "kind"},
		"a member twice":     {tarOf(t, strings.Replace(headOfArchive, "{", `{"kind":"online",`, 1)), "archive.json: "},
		"one more member":    {tarOf(t, strings.Replace(headOfArchive, "{", `{"x":"y",`, 1)), "archive.json: "},
		"up":                 {file("../a"), `"../a" is no name for a file in a backup`},
		"up and down":        {file("a/../../b"), `"a/../../b" is no name`},
		"absolute":           {file("/etc/passwd"), `"/etc/passwd" is no name`},
		"dots":               {file("./a"), `"./a" is no name`},
		"no name":            {file(""), `"" is no name`},
		"backslash":          {file(`..\a`), `is no name`},
		"drive":              {file("c:a"), `is no name`},
		"symbolic link":      {special(tar.TypeSymlink), `"a" is a link or a device`},
		"link":               {special(tar.TypeLink), `"a" is a link or a device`},
		"device":             {special(tar.TypeChar), `"a" is a link or a device`},
		"pipe":               {special(tar.TypeFifo), `"a" is a link or a device`},
		"twice":              {tarOf(t, headOfArchive, tar.Header{Name: "a"}, tar.Header{Name: "a"}), `"a" is in the archive twice`},
		"as file and folder": {tarOf(t, headOfArchive, tar.Header{Name: "a"}, tar.Header{Name: "a/", Typeflag: tar.TypeDir}), `"a" is in the archive twice`},
		"cut off":            {good[:1300], "unexpected EOF"},
		"goes on":            {append(bytes.Clone(good), "more"...), "something follows its end"},
	} {
		_, err := unpack(bytes.NewReader(test.file))
		require.ErrorContains(t, err, test.want, name)
	}
	// A file that says it is larger than any, without being it.
	var large bytes.Buffer
	w := tar.NewWriter(&large)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: archiveHead, Size: int64(len(headOfArchive))}))
	_, err = io.WriteString(w, headOfArchive)
	require.NoError(t, err)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "large", Size: maxFile + 1}))
	_, err = unpack(&large)
	require.ErrorContains(t, err, `"large" has 67108865 bytes`)
}

// What unpack accepts is what pack writes again, and stays in its folder.
func FuzzUnpack(f *testing.F) {
	packed, err := sampleArchive.pack()
	require.NoError(f, err)
	f.Add(packed)
	f.Add(packed[:len(packed)/2])
	f.Add(tarOf(f, headOfArchive, tar.Header{Name: "a", Size: 3}))
	f.Add(tarOf(f, headOfArchive, tar.Header{Name: "../a"}))
	f.Add(tarOf(f, headOfArchive, tar.Header{Name: "a", Linkname: "b", Typeflag: tar.TypeSymlink}))
	f.Fuzz(func(t *testing.T, file []byte) {
		a, err := unpack(bytes.NewReader(file))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, e := range a.entries {
			require.True(t, filepath.IsLocal(e.name), e.name)
			require.False(t, seen[e.name], e.name)
			seen[e.name] = true
		}
		packed, err := a.pack()
		if err != nil {
			return // a name that Go reads and doesn't write
		}
		again, err := unpack(bytes.NewReader(packed))
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}
