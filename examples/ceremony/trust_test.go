package main

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// A holder whose notebook trusts no root says which, from paper.
func TestTrust(t *testing.T) {
	s := asked(t)
	s.merge("Ada", "Bob")
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "renewal")
	r, err := readRequest(s.request())
	require.NoError(t, err)
	root := *r.Based()
	sign := func(more ...string) []string {
		return append(append([]string{"sign", "-key", s.path("Cleo.key"), "-confirm", s.digest().Groups()[0], "-passphrase-fd", "0"}, more...), s.request())
	}
	s.refuse("the request is based on another root than the one on paper: stop", "00000000\n00000000\n00000000\nCleo\n", sign()...)
	s.refuse("your root version 1 has the digest\n", "Cleo\n", sign("-trust", "1:"+ceremony.Digest{}.String())...)
	s.refuse("it ends at root version 2, and you trust version 3", "Cleo\n", sign("-trust", "3:"+root.Digest.String())...)
	s.refuse(`-trust "1" is not VERSION:DIGEST`, "Cleo\n", sign("-trust", "1")...)
	s.refuse("Cleo.key.card.json: root: ", "Cleo\n", sign("-trust-root", s.card("Cleo"))...)

	var out, errs bytes.Buffer
	in := &lazily{answer: func() string {
		n, err := strconv.Atoi(regexp.MustCompile(`Type group (\d) of the digest of root version 1`).FindStringSubmatch(errs.String())[1])
		require.NoError(t, err)
		return root.Digest.Groups()[n-1] + "\nCleo\nyes\n"
	}}
	a := &app{in: in, out: &out, err: &errs, clock: s.clock, fileOpener: fileOpener}
	require.Equal(t, done, a.run(t.Context(), sign("-out", s.path("by hand"))), errs.String())
	notebook, err := readNotebook(s.path("Cleo.key.notebook.json"))
	require.NoError(t, err)
	require.Equal(t, ceremony.Notebook{Trusted: &root, Signed: r.Marks()}, notebook)

	s.refuse("trusts root version 1 already: leave the flag away", "Cleo\n", sign("-trust", "2:"+root.Digest.String())...)
	s.run(done, "Cleo\n", sign("-out", s.path("again"), "-trust", "1:"+root.Digest.String())...)
	lost := sign("-out", s.path("new"), "-notebook", s.path("other"), "-trust-root", s.document("1.root"))
	s.refuse("the notebook is missing (-no-notebook answers this): nobody answered", "Cleo\n", lost...)
	s.refuse("name it with -notebook, or ask the others what you signed", "Cleo\nno\n", lost...)
	screen, _ := s.run(done, "Cleo\n", append([]string{"sign", "-no-notebook"}, lost[1:]...)...)
	require.Contains(t, unwrapped(screen), "it has signed another root version 2.")
	screen, _ = s.run(done, "", "inspect", s.path("other"))
	require.Contains(t, screen, "  trusts  root version 1\n")
	require.Contains(t, screen, "  signed  root version 2\n")
}

func TestKeygen(t *testing.T) {
	s := newStage(t)
	s.refuse("no key was made: the two passphrases differ", "a\nb\n", "keygen", "-name", "Ada", s.path("a.key"))
	s.refuse("the passphrase is empty", "\n\n", "keygen", "-name", "Ada", s.path("a.key"))
	s.refuse("give the holder's name with -name", "a\na\n", "keygen", s.path("a.key"))
	s.refuse("name one file for the key", "", "keygen", "-name", "Ada")
	s.refuse(`-type "dsa": it can be ed25519, p256 or rsa`, "", "keygen", "-name", "Ada", "-type", "dsa", s.path("a.key"))
	s.refuse("the passphrase has fewer than 8 characters", "a\na\n", "keygen", "-name", "Ada", s.path("a.key"))
	const long = "correct horse\ncorrect horse\n"
	_, errs := s.run(done, long, "keygen", "-name", "Ada", "-type", "p256", s.path("a.key"))
	require.NotContains(t, errs, "a.key")
	screen, _ := s.run(done, "", "verify", s.path("a.key.card.json"))
	require.Contains(t, screen, "  name    Ada\n  key     ecdsa-sha2-nistp256\n")
	s.refuse("a.key exists already", "a\na\n", "keygen", "-name", "Ada", s.path("a.key"))
	s.refuse("exists already", "a\na\n", "keygen", "-name", "Ada", "-card", s.path("a.key.card.json"), s.path("b.key"))

	// The public key of a KMS, as its console gives it.
	h, err := readCard(s.path("a.key.card.json"))
	require.NoError(t, err)
	file := s.write("kms.pem", h.Key.Value())
	fromPEM, err := readCard("KMS=" + file)
	require.NoError(t, err)
	require.Equal(t, "KMS", fromPEM.Name)
	require.Equal(t, h.Key.ID(), fromPEM.Key.ID())
	_, err = readCard("KMS=" + s.write("two.pem", h.Key.Value()+h.Key.Value()))
	require.ErrorContains(t, err, "two.pem: no public key: 2 PEM blocks. Give a file with one key")
}

func TestSheetFile(t *testing.T) {
	s := asked(t)
	s.run(done, "", "sheet", "-dir", s.path("repo"), "-html", "-out", s.path("sheet.html"))
	page, err := os.ReadFile(s.path("sheet.html"))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(page, []byte("<!DOCTYPE html>")))
	s.merge("Ada", "Bob")
	s.refuse("no request is open; name one of the 1 ceremonies in", "", "sheet", "-dir", s.path("repo"))
}
