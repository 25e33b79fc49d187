package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A request that was given up binds those who signed it until they look it up: the group
// that they have to type is the one that no message shows.
func TestGivenUp(t *testing.T) {
	s := asked(t)
	repo := s.path("repo")
	s.merge("Ada", "Bob")
	s.keygen("Dora")
	request := func(more ...string) []string {
		return append([]string{"request", "-dir", repo, "-reason", "x"}, more...)
	}
	// A holder signed root 2, which is then given up: another root 2 needs a word.
	s.run(done, "", request("-add", s.card("Dora"))...)
	s.sign("Ada")
	given := s.digest()
	signed, err := readRequest(s.request())
	require.NoError(t, err)
	s.refuse("the request of root version 2 is still open", "", request()...)
	s.run(done, "", request("-give-up")...)
	require.FileExists(t, filepath.Join(repo, "given-up", "root-2-"+given.Groups()[0], "request.json"))
	sheet, _ := s.run(done, "", "sheet", "-done", filepath.Join(repo, "given-up", "root-2-"+given.Groups()[0]))
	require.Contains(t, sheet, "!! GIVEN UP: nobody signs this request any more.\n")
	sheet, _ = s.run(done, "", "sheet", "-dir", repo)
	require.NotContains(t, sheet, "GIVEN UP")
	group := s.digest().Groups()[0]
	s.refuse("your key has signed this version with other contents", "Ada\n",
		"sign", "-key", s.path("Ada.key"), "-out", s.path("again"), "-confirm", group, "-passphrase-fd", "0", s.request())
	// The group that the message leaves out, and no other.
	old := signed.Marks()[0].Digest
	_, errs := s.run(refused, "Ada\n", "sign", "-key", s.path("Ada.key"), "-out", s.path("again"), "-confirm", group, "-passphrase-fd", "0", s.request())
	n, err := strconv.Atoi(regexp.MustCompile(`-given-up and group (\d) of that digest`).FindStringSubmatch(errs)[1])
	require.NoError(t, err)
	for i, g := range old.Groups() {
		if i+1 == n {
			require.NotContains(t, errs, g)
			continue
		}
		require.Contains(t, errs, g)
		s.refuse("-given-up "+g+": no such group is asked for. Run it without", "Ada\n", "sign", "-given-up", g,
			"-key", s.path("Ada.key"), "-out", s.path("again"), "-confirm", group, "-passphrase-fd", "0", s.request())
	}
	s.sign("Ada", "-given-up", old.Groups()[n-1])
}

// A first root that was given up doesn't bind those who signed it for ever.
func TestFirstRootGivenUp(t *testing.T) {
	s := asked(t)
	s.sign("Ada")
	r, err := readRequest(s.request())
	require.NoError(t, err)
	old := r.Marks()[0].Digest
	require.NoError(t, os.Rename(s.path("repo"), s.path("old")))
	s.now = s.now.Add(time.Hour)
	s.init("2", "Ada", "Cleo")
	sign := []string{"sign", "-key", s.path("Ada.key"), "-out", s.path("new"), "-confirm", s.digest().Groups()[0], "-passphrase-fd", "0"}
	n := withheld(old)
	s.refuse(fmt.Sprintf("say so with -given-up and group %d of that digest", n), "Ada\n", append(sign, s.request())...)
	s.run(done, "Ada\n", append(sign, "-given-up", old.Groups()[n-1], s.request())...)
	notebook, err := readNotebook(s.path("Ada.key.notebook.json"))
	require.NoError(t, err)
	require.Len(t, notebook.Signed, 1)
	require.Equal(t, notebook.Signed[0], *notebook.Trusted)
	require.NotEqual(t, old, notebook.Trusted.Digest)
}

// Nobody is asked for a notebook that can't be there: that of a key that no root lists yet.
func TestFirstUseOfAKey(t *testing.T) {
	s := asked(t)
	_, screen := s.sign("Ada")
	require.NotContains(t, screen, "NO NOTEBOOK")
	s.merge("Ada", "Bob")
	s.keygen("Dora")
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "Dora joins", "-add", s.card("Dora"))
	_, screen = s.sign("Dora", "-trust-root", s.document("1.root"))
	require.NotContains(t, screen, "NO NOTEBOOK")
	_, screen = s.sign("Ada")
	require.NotContains(t, screen, "NO NOTEBOOK", "the notebook is there")
}

// A request whose root is complete says that the key has signed it, and a newer one.
func TestOutdatedRequest(t *testing.T) {
	s := asked(t)
	s.merge("Ada", "Bob")
	renew := func() string {
		s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "renewal")
		data, err := os.ReadFile(s.request())
		require.NoError(t, err)
		return s.write("old.json", string(data))
	}
	old := renew()
	group := s.digest().Groups()[6]
	again := func(want int) string {
		screen, errs := s.run(want, "Ada\n", "sign", "-key", s.path("Ada.key"), "-out", s.path("again.json"), "-confirm", group, "-passphrase-fd", "0", old)
		return flat(screen + errs)
	}
	require.NotContains(t, again(done), "already")
	screen := again(done)
	require.Contains(t, screen, "Your key has signed root version 2 of this request already, as it is here.")
	require.NotContains(t, screen, "OUTDATED")
	s.merge("Ada", "Bob")
	data, err := os.ReadFile(old)
	require.NoError(t, err)
	renew()
	s.merge("Ada", "Bob")
	s.write("old.json", string(data))
	require.Contains(t, again(done), "It has signed root version 3 since. So this request is OUTDATED:")
	renew()
	s.merge("Ada", "Bob")
	s.write("old.json", string(data))
	require.Contains(t, again(refused), "your key has signed root version 2 of it already, and root version 4 since: the request is outdated. Ask for the one that is open")
}
