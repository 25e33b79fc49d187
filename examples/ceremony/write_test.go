package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

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

// So it is where those documents that are written don't go together yet, or would be
// others with one response more.
func TestInterruptedFinishOfSeveral(t *testing.T) {
	for _, more := range [][]string{nil, {"-compromise"}} {
		for written := 1; written < 3; written++ {
			s := asked(t)
			s.merge("Ada", "Bob")
			s.run(done, "", append([]string{"request", "-dir", s.path("repo"), "-reason", "new", "-new-one-time", "2"}, more...)...)
			for _, name := range []string{"Ada", "Bob"} {
				response, _ := s.sign(name)
				data, err := os.ReadFile(response)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(s.path("repo/open/responses/"+name+".json"), data, 0o600))
			}
			late, _ := s.sign("Cleo", "-trust-root", s.document("1.root"), "-no-notebook")
			f, err := openFolder(s.path("repo"))
			require.NoError(t, err)
			_, err = f.writeDocuments(f.open.progress.Files()[:written], f.open.request.Marks())
			require.NoError(t, err)

			s.refuse("run ceremony merge once more", "", "status", "-dir", s.path("repo"))
			s.refuse("run ceremony merge once more", "", "request", "-dir", s.path("repo"), "-reason", "other", "-give-up")
			s.run(done, "", "merge", "-dir", s.path("repo"), late)
			s.run(done, "", "verify", "-dir", s.path("repo"))
			require.FileExists(t, s.document("2.bins"))
		}
	}
}
