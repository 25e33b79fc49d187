package main

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteNew(t *testing.T) {
	s := newStage(t)
	name := s.path("file")
	require.NoError(t, writeNew(name, []byte("a")))
	require.NoError(t, writeNew(name, []byte("a")), "the same again")
	require.EqualError(t, writeNew(name, []byte("b")), name+" exists already, with other contents")
	require.NoError(t, replace(name, []byte("b")))
	require.Len(t, s.files(), 1, "no temporary file is left")
	require.ErrorIs(t, writeNew(s.path("no/file"), []byte("a")), fs.ErrNotExist)

	// A stick with FAT has no links, and says so in one of two ways.
	for i, cause := range []error{syscall.EPERM, syscall.EOPNOTSUPP} {
		noLinks := func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: cause} }
		fat := s.path([]string{"x", "y"}[i])
		require.NoError(t, writeTemp(fat, []byte("a"), noLinks))
		err := writeTemp(fat, []byte("b"), noLinks)
		require.ErrorIs(t, err, fs.ErrExist)
		data, err := os.ReadFile(fat)
		require.NoError(t, err)
		require.Equal(t, "a", string(data))
	}
	failing := errors.New("broken")
	require.ErrorIs(t, writeTemp(s.path("z"), nil, func(string, string) error { return failing }), failing)
	require.Len(t, s.files(), 3)
}

// The program ends, say with the machine's power, once all signatures are there and
// before all documents are.
func TestInterruptedFinish(t *testing.T) {
	s := asked(t)
	for _, name := range []string{"Ada", "Bob"} {
		response, _ := s.sign(name)
		data, err := os.ReadFile(response)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(s.path("repo/open/responses/"+name+".json"), data, 0o600))
	}
	s.write("repo/open/responses/.ceremony-123", "half a fi")
	f, err := openFolder(s.path("repo"))
	require.NoError(t, err)
	_, err = f.writeDocuments(f.open.progress.Files()[:1], f.open.request.Marks())
	require.NoError(t, err)

	s.refuse("run ceremony merge once more, without files", "", "status", "-dir", s.path("repo"))
	s.run(done, "", "merge", "-dir", s.path("repo"))
	s.verify(1)
	s.run(done, "", "status", "-dir", s.path("repo"))
	require.NoFileExists(t, s.request())
}
