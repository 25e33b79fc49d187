package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A repository that exists is taken over, and its root, which nears its expiry, is
// signed for another year.
func TestTakeOver(t *testing.T) {
	s := asked(t)
	s.merge("Ada", "Bob")
	published := s.path("repo/documents")
	before, err := os.ReadFile(s.document("1.root"))
	require.NoError(t, err)
	require.NoError(t, os.Rename(published, s.path("metadata")))
	require.NoError(t, os.WriteFile(s.path("metadata/timestamp.json"), []byte("{}"), 0o600))
	require.NoError(t, os.RemoveAll(s.path("repo")))

	s.keygen("Zoe")
	s.refuse("Zoe has none of the keys of this repository", "", "init", "-dir", s.path("repo"), "-from", s.path("metadata"), "-holder", s.card("Zoe"))
	s.refuse("no such file", "", "init", "-dir", s.path("repo"), "-from", s.path("nowhere"))
	s.run(done, "", "init", "-dir", s.path("repo"), "-from", s.path("metadata"), "-holder", s.card("Ada"), "-holder", s.card("Bob"), "-online", s.card("web"))
	after, err := os.ReadFile(s.document("1.root"))
	require.NoError(t, err)
	require.Equal(t, before, after)
	entries, err := filepath.Glob(s.path("repo/documents/*"))
	require.NoError(t, err)
	require.Len(t, entries, 3)

	s.now = testNow.AddDate(0, 11, 0)
	screen, _ := s.run(done, "", "status", "-dir", s.path("repo"))
	require.Contains(t, screen, "root     version 1  until 2031-01-31 12:00 UTC, 31 days  PREPARE THE NEXT ONE")
	s.now = s.now.Add(time.Minute)
	screen, _ = s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "Another year")
	for _, name := range []string{"targets", "bins"} {
		require.Contains(t, unwrapped(screen), "BEWARE: "+name+" version 1 is good until 2031-01-31 12:00 UTC, 31 days only, and this request doesn't renew it: -new-one-time 2 does.")
	}
	s.now = s.now.Add(-time.Minute)
	out, _ := s.run(done, "", "request", "-json", "-give-up", "-dir", s.path("repo"), "-reason", "All of it", "-new-one-time", "2")
	require.NotContains(t, out, "doesn't renew it")
	out, _ = s.run(done, "", "request", "-json", "-give-up", "-dir", s.path("repo"), "-reason", "Until then", "-days", "20")
	require.NotContains(t, out, "doesn't renew it")
	// Two documents of one day are not of one minute.
	s.now = testNow.Add(9 * time.Minute)
	out, _ = s.run(done, "", "request", "-json", "-give-up", "-dir", s.path("repo"), "-reason", "A word", "-days", "365")
	require.NotContains(t, out, "doesn't renew it")
	s.now = testNow.AddDate(0, 11, 0)
	out, _ = s.run(done, "", "request", "-json", "-give-up", "-dir", s.path("repo"), "-reason", "Another year")
	var result struct{ Result requestView }
	require.NoError(t, json.Unmarshal([]byte(out), &result))
	require.Len(t, result.Result.Warnings, 2)
	screen, _ = s.run(incomplete, "", "status", "-dir", s.path("repo"))
	require.Contains(t, screen, "can sign  ")
	require.Contains(t, screen, "  (no name)", "nobody gave Cleo's card")
	p := s.merge("Ada", "Bob")
	require.Equal(t, [][]string{{s.document("2.root")}}, p.Publish)
	s.verify(2)
	screen, _ = s.run(done, "", "status", "-dir", s.path("repo"))
	require.Contains(t, screen, "root     version 2  until 2031-12-31 12:00 UTC, 365 days\n")
	screen, _ = s.run(done, "", "sheet", "-done", s.path("repo/done/"+doneName(t, s)))
	require.Contains(t, screen, "   expires 2031-12-31 12:00 UTC; complete\n")
}

// doneName is the one ceremony that is complete.
func doneName(t *testing.T, s *stage) string {
	t.Helper()
	entries, err := os.ReadDir(s.path("repo/done"))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	return entries[0].Name()
}
