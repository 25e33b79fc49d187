package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// asked is a stage on which Ada, Bob and Cleo are asked for root 1, 2 of 3.
func asked(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.keygen("Ada", "Bob", "Cleo", "web", "bins")
	s.init("2", "Ada", "Bob", "Cleo")
	return s
}

// files are all that the stage's folder holds, with the digests of their contents.
func (s *stage) files() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	require.NoError(s.t, filepath.WalkDir(s.dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var data []byte
			data, err = os.ReadFile(name)
			all[name] = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		return err
	}))
	return all
}

// refuse runs the program, which must refuse, say why, and change nothing.
func (s *stage) refuse(want, typed string, args ...string) {
	s.t.Helper()
	before := s.files()
	_, errs := s.run(refused, typed, args...)
	require.Contains(s.t, errs, want)
	require.Equal(s.t, before, s.files())
}

func (s *stage) write(name, content string) string {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(s.path(name), []byte(content), 0o600))
	return s.path(name)
}

// unwrapped is a screen as one line.
func unwrapped(screen string) string { return strings.Join(strings.Fields(screen), " ") }

func TestSignRefuses(t *testing.T) {
	s := asked(t)
	group := s.digest().Groups()[2]
	sign := func(more ...string) []string {
		return append([]string{"sign", "-key", s.path("Ada.key"), "-confirm", group, "-passphrase-fd", "0"}, more...)
	}
	request, err := os.ReadFile(s.request())
	require.NoError(t, err)
	s.refuse("wrong passphrase", "Bob\n", sign(s.request())...)
	s.refuse(": nobody answered", "", sign(s.request())...)
	s.refuse(": nothing was typed", "\n", sign(s.request())...)
	s.refuse("nothing was signed: that is not a group of this request's digest. If that is what your paper", "Ada\n",
		"sign", "-key", s.path("Ada.key"), "-confirm", "00000000", "-passphrase-fd", "0", s.request())
	s.refuse("has nothing to sign: the request asks Ada (", "web\n",
		"sign", "-key", s.path("web.key"), "-confirm", group, "-passphrase-fd", "0", s.request())
	s.refuse("no such file", "Ada\n", sign(s.path("nothing.json"))...)
	s.refuse("is not a file", "Ada\n", sign(s.dir)...)
	s.refuse("name your key with -key, and one request", "", "sign", s.request())
	s.refuse("damaged, or another kind of file", "Ada\n", sign(s.write("half.json", string(request[:len(request)/2])))...)
	s.refuse("this file is a card, and a request is wanted", "Ada\n", sign(s.card("Ada"))...)
	s.refuse("has the digest\n", "Ada\n", sign(s.write("flipped.json", strings.Replace(string(request), `"threshold":2`, `"threshold":1`, 1)))...)
	s.refuse("this file is a PEM block of \"ENCRYPTED ", "Ada\n", sign(s.path("Ada.key"))...)
	s.refuse("-key: "+s.card("Ada")+" is a card, and the file with your private key is wanted", "", "sign", "-key", s.card("Ada"), s.request())
	s.refuse("-key: stat "+s.path("Eve.key")+": no such file", "", "sign", "-key", s.path("Eve.key"), s.request())
	s.refuse("eight of the digits 0 to 9 and a to f; that is 7\n", "Ada\n", "sign", "-key", s.path("Ada.key"), "-confirm", "0000000", "-passphrase-fd", "0", s.request())
	s.refuse("this file is a request, and a notebook is wanted", "Ada\n", sign("-notebook", s.request(), s.request())...)
	s.refuse("nothing was signed: the notebook: ", "Ada\n", sign("-notebook", s.path("no/notebook"), s.request())...)
	s.refuse("exists already, and is not a response by this key", "Ada\n", sign("-notebook", s.path("n1"), "-out", s.card("Ada"), s.request())...)
}

// What is refused doesn't keep the rest from being merged.
func TestMergeRefuses(t *testing.T) {
	s := asked(t)
	ada, _ := s.sign("Ada")
	bob, _ := s.sign("Bob")
	data, err := os.ReadFile(ada)
	require.NoError(t, err)
	half := s.write("half.json", string(data[:len(data)-20]))
	digit := data[bytes.Index(data, []byte(`"sig":"`))+10]
	other := s.write("other.json", strings.Replace(string(data), `"sig":"`+string(data[bytes.Index(data, []byte(`"sig":"`))+7:][:3])+string(digit),
		`"sig":"`+string(data[bytes.Index(data, []byte(`"sig":"`))+7:][:3])+map[bool]string{true: "0", false: "1"}[digit != '0'], 1))

	s.refuse("the file was refused; nothing was merged", "", "merge", "-dir", s.path("repo"), s.request())
	s.refuse("all 2 files were refused; nothing was merged", "", "merge", "-dir", s.path("repo"), half, other)
	s.refuse("all 2 files were refused; nothing was merged", "", "merge", "-dir", s.path("repo"), s.path("nothing"), s.dir)

	screen, errs := s.run(refused, "", "merge", "-dir", s.path("repo"), half, ada, other)
	require.Contains(t, errs, "2 of 3 files were refused; the others are merged")
	require.Contains(t, screen, "  Ada\n")
	require.Contains(t, unwrapped(screen), "REFUSED: "+half+": response: damaged, or another kind of file")
	require.Contains(t, unwrapped(screen), "REFUSED: "+other+": response 1 of 1: root version 1: Ada (")
	require.Contains(t, screen, "for root 1  1 of 2    1 more needed")
	_, errs = s.run(refused, "", "merge", "-dir", s.path("repo"), half, ada)
	require.Contains(t, errs, "1 of 2 files was refused; the others are merged")

	// What a file system leaves beside a file is no response.
	s.write("repo/open/responses/._"+filepath.Base(ada), "\x00\x05\x16\x07")
	s.run(incomplete, "", "status", "-dir", s.path("repo"))

	// The same again, and renamed, is no news.
	before := s.files()
	s.run(incomplete, "", "merge", "-dir", s.path("repo"), ada, s.write("../renamed.txt", string(data)))
	require.Equal(t, before, s.files())
	require.NoError(t, os.Remove(s.path("../renamed.txt")))

	s.run(done, "", "merge", "-dir", s.path("repo"), bob)
	s.refuse("no request is open", "", "merge", "-dir", s.path("repo"), bob)

	// Replayed: the responses to root 1 don't count for root 2.
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "renewal")
	s.refuse("the file was refused; nothing was merged", "", "merge", "-dir", s.path("repo"), ada)
}

func TestRequestRefuses(t *testing.T) {
	s := asked(t)
	repo := s.path("repo")
	request := func(more ...string) []string {
		return append([]string{"request", "-dir", repo, "-reason", "x"}, more...)
	}
	s.refuse("the first root is not complete yet", "", request()...)
	s.refuse("exists already", "", "init", "-dir", repo, "-holder", s.card("Ada"), "-online", s.card("web"))
	s.merge("Ada", "Bob")
	s.keygen("Dora")
	s.refuse("say with -reason what the holders are told", "", "request", "-dir", repo)
	s.refuse("-compromise, and no key goes: name the one", "", "request", "-dir", repo, "-reason", "theft", "-compromise")
	s.refuse(`-remove: nobody there is "Zoe"`, "", request("-remove", "Zoe")...)
	s.refuse("the threshold drops from 2 to 1, and the request doesn't declare that", "", request("-threshold", "1")...)
	s.refuse("a threshold of 2 with 1 keys", "", request("-remove", "Ada", "-remove", "Bob")...)
	s.refuse("the key of Ada is there already", "", request("-add", s.card("Ada"))...)
	s.refuse("Ada.key.card.json has the key that is to be removed", "", request("-replace", "Ada="+s.card("Ada"))...)
	s.refuse("Ada.key.card.json has the key that is to be removed", "", request("-remove", "Ada", "-add", s.card("Ada"))...)
	s.refuse("no key is left for snapshot and timestamp: give the new one with -add-online", "", request("-drop-online", "web")...)
	s.refuse("other keys for the bins need a new document of bins", "", request("-add-online-bins", s.card("Dora"))...)
	s.refuse(`-replace "Ada" is not HOLDER=CARD`, "", request("-replace", "Ada")...)
	s.refuse(`"Ada" is too much: every change has a flag`, "", request("Ada")...)
	s.refuse("-days must be at least 1", "", request("-days", "0")...)
	s.refuse("say which folder with -dir", "", "request", "-reason", "x")
	card, err := os.ReadFile(s.card("Dora"))
	require.NoError(t, err)
	forged := s.write("forged.json", strings.Replace(string(card), `"Dora"`, `"Bob"`, 1))
	s.refuse("the proof that its author has the private key", "", request("-add", forged)...)
}

// A folder whose files were altered is not gone on with.
func TestDamagedFolder(t *testing.T) {
	s := asked(t)
	s.merge("Ada", "Bob")
	for _, name := range []string{s.document("1.root"), s.document("1.targets"), s.document("1.bins")} {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(name, bytes.Replace(data, []byte("2031-"), []byte("2041-"), 1), 0o600))
		for _, command := range [][]string{{"status"}, {"verify"}, {"merge"}, {"request", "-reason", "x"}} {
			s.refuse("0 of 2 signatures", "", append([]string{command[0], "-dir", s.path("repo")}, command[1:]...)...)
		}
		require.NoError(t, os.WriteFile(name, data, 0o600))
	}
	names, err := os.ReadFile(s.path("repo/names.json"))
	require.NoError(t, err)
	for _, content := range []string{"null", "[]", ""} {
		s.write("repo/names.json", content)
		s.refuse("names.json: ", "", "request", "-dir", s.path("repo"), "-reason", "x", "-add", s.card("Cleo"))
	}
	s.write("repo/names.json", string(names))
	s.run(done, "", "verify", "-dir", s.path("repo"))
}

// lazily answers a prompt when it is asked.
type lazily struct {
	answer func() string
	rest   io.Reader
}

func (l *lazily) Read(p []byte) (int, error) {
	if l.rest == nil {
		l.rest = strings.NewReader(l.answer())
	}
	return l.rest.Read(p)
}

// A person types the group of the digest that the screen leaves out, and the
// passphrase.
func TestSignByHand(t *testing.T) {
	s := asked(t)
	for _, right := range []bool{false, true} {
		var out, errs bytes.Buffer
		in := &lazily{answer: func() string {
			n, err := strconv.Atoi(regexp.MustCompile(`Group (\d) is left out`).FindStringSubmatch(errs.String())[1])
			require.NoError(t, err)
			group := s.digest().Groups()[n-1]
			require.Contains(t, out.String(), fmt.Sprintf("%d: ________", n))
			require.NotContains(t, out.String(), group, "it must come from paper")
			if !right {
				group = s.digest().Groups()[n%8]
			}
			return " " + strings.ToUpper(group) + " \nAda\n"
		}}
		a := &app{in: in, out: &out, err: &errs, clock: s.clock, fileOpener: fileOpener}
		status := a.run(t.Context(), []string{"sign", "-key", s.path("Ada.key"), s.request()})
		if right {
			require.Equal(t, done, status, errs.String())
			matches, err := filepath.Glob(s.path("repo/open/request.*.response.json"))
			require.NoError(t, err)
			require.Len(t, matches, 1)
		} else {
			require.Equal(t, refused, status)
			require.Regexp(t, `No: that is group \d of this request's digest, and group \d of this request's digest is asked for\.`, unwrapped(out.String()))
			require.Contains(t, errs.String(), "nothing was signed: group ")
			require.NotContains(t, errs.String(), "stop", "a slip is no attack")
		}
	}
}

// An interrupt at a prompt ends the program, and nothing was written.
func TestInterruptAtEveryPrompt(t *testing.T) {
	s := asked(t)
	s.merge("Ada", "Bob")
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "renewal")
	group := s.digest().Groups()[0]
	for _, c := range []struct {
		prompt, typed string
		args          []string
	}{
		{"Passphrase of the new key:", "", []string{"keygen", "-name", "Dora", s.path("Dora.key")}},
		{"Passphrase of the new key, once more:", "secret\n", []string{"keygen", "-name", "Dora", s.path("Dora.key")}},
		{"of the digest of root version 1 from a record sheet:", "", []string{"sign", "-key", s.path("Cleo.key"), "-confirm", group, s.request()}},
		{"Type it from your paper copy to sign:", "", []string{"sign", "-key", s.path("Ada.key"), s.request()}},
		{"Passphrase of key file " + s.path("Ada.key") + ":", "", []string{"sign", "-key", s.path("Ada.key"), "-confirm", group, s.request()}},
		{"Do you know that your key has signed no other root version 2?", "Ada\n", []string{"sign", "-key", s.path("Ada.key"), "-notebook", s.path("lost"),
			"-trust-root", s.document("1.root"), "-confirm", group, "-passphrase-fd", "0", s.request()}},
		{"Is this clock right?", "", []string{"sign", "-key", s.path("Ada.key"), "-confirm", group, s.request()}},
	} {
		t.Run(c.prompt, func(t *testing.T) {
			clock := s.clock
			if strings.Contains(c.prompt, "clock") {
				s.now = testNow.AddDate(-4, 0, 0) // before this program was written
			}
			defer func() { s.now = testNow }()
			before := s.files()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out bytes.Buffer
			errs := &until{text: c.prompt, reached: cancel}
			blocked, unblock := io.Pipe()
			defer unblock.Close()
			a := &app{in: io.MultiReader(strings.NewReader(c.typed), blocked), out: &out, err: errs, clock: clock, fileOpener: fileOpener}
			require.Equal(t, refused, a.run(ctx, c.args))
			require.Contains(t, errs.String(), c.prompt)
			require.Contains(t, errs.String(), "interrupted")
			require.Equal(t, before, s.files())
		})
	}
}

// until calls reached once text was written to it.
type until struct {
	bytes.Buffer
	text    string
	reached func()
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if strings.Contains(u.String(), u.text) {
		u.reached()
	}
	return n, err
}

// The clock is shown, and doubted where it can't be right.
func TestClock(t *testing.T) {
	s := asked(t)
	sign := func(more ...string) []string {
		return append(append([]string{"sign", "-key", s.path("Ada.key"), "-confirm", s.digest().Groups()[0], "-passphrase-fd", "0"}, more...), s.request())
	}
	s.now = testNow.AddDate(0, 0, -1)
	s.refuse("the clock is wrong: set it, or give the time with -now; nothing was written", "no\n", sign()...)
	s.refuse("the clock (-clock-is-right answers this): nobody answered", "", sign()...)
	screen, _ := s.run(done, "yes\nAda\n", sign("-out", s.path("1"))...)
	require.Contains(t, unwrapped(screen), "Wednesday, 30 January 2030, 12:00 UTC It looks wrong: it is earlier than when the one-time keys were destroyed: 2030-01-31T12:00:00Z.")
	s.run(done, "Ada\n", sign("-out", s.path("2"), "-clock-is-right")...)
	screen, _ = s.run(done, "Ada\n", sign("-out", s.path("3"), "-now", "2030-01-31T13:00:00Z")...)
	require.Contains(t, screen, "  Thursday, 31 January 2030, 13:00 UTC\n")
	require.NotContains(t, screen, "looks wrong")
	s.now = testNow.AddDate(1, 0, 1)
	s.refuse("root version 1 expired at 2031-01-31T12:00:00Z, and now it is 2031-02-01T12:00:00Z", "Ada\n", sign("-out", s.path("4"))...)
	// So it is where documents are made, whose expiry depends on it.
	s.now = testNow.AddDate(-4, 0, 0)
	start := []string{"init", "-dir", s.path("new"), "-bins", "4", "-holder", s.card("Ada"), "-online", s.card("web")}
	s.refuse("the clock is wrong", "no\n", start...)
	s.run(done, "", append(start, "-clock-is-right")...)
	s.now = testNow
	s.refuse(`"tomorrow" is not a time such as 2030-01-31T12:00:00Z`, "", sign("-now", "tomorrow")...)
}

// With -json the standard output is one object, also when something is refused.
func TestJSON(t *testing.T) {
	s := asked(t)
	for _, c := range []struct {
		status int
		word   string
		typed  string
		args   []string
	}{
		{done, "done", "", []string{"inspect", "-json", s.request(), s.card("Ada")}},
		{incomplete, "incomplete", "", []string{"status", "-json", "-dir", s.path("repo")}},
		{incomplete, "incomplete", "", []string{"verify", "-json", "-dir", s.path("repo")}},
		{refused, "refused", "", []string{"inspect", "-json", s.path("Ada.key")}},
		{done, "done", "", []string{"sheet", "-json", "-dir", s.path("repo"), "-out", s.path("sheet.txt")}},
		{done, "done", "Ada\n", []string{"sign", "-json", "-key", s.path("Ada.key"), "-confirm", s.digest().Groups()[0], "-passphrase-fd", "0", s.request()}},
	} {
		out, _ := s.run(c.status, c.typed, c.args...)
		var result struct {
			Status, Error string
			Result        json.RawMessage
		}
		decoder := json.NewDecoder(strings.NewReader(out))
		require.NoError(t, decoder.Decode(&result), out)
		require.Equal(t, c.word, result.Status)
		require.Equal(t, c.status == done, result.Error == "", result.Error)
		require.ErrorIs(t, decoder.Decode(&result), io.EOF)
	}
	// Nobody confirms what is not shown.
	out, errs := s.run(refused, s.digest().Groups()[0]+"\nAda\n", "sign", "-json", "-key", s.path("Ada.key"), "-passphrase-fd", "0", s.request())
	require.Contains(t, out, "the digest (-confirm answers this): with -json there is no screen to answer from")
	require.Empty(t, errs)
	for _, args := range [][]string{{"sign", "-bogus", "-json"}, {"destroy", "-json"}, {"sign", s.request(), "-json"}} {
		out, _ = s.run(refused, "", args...)
		var result struct{ Status, Error string }
		require.NoError(t, json.Unmarshal([]byte(out), &result), out)
		require.Equal(t, "refused", result.Status)
		require.NotEmpty(t, result.Error)
	}
	out, _ = s.run(refused, "", "sign", "-bogus", "--", "-json")
	require.Empty(t, out)
	_, errs = s.run(refused, "", "destroy")
	require.Contains(t, errs, "usage: ceremony COMMAND")
	out, _ = s.run(done, "", "sign", "-h")
	require.Contains(t, out, "-confirm")
	_, errs = s.run(refused, "", "sign", "-kye", "Ada.key")
	require.Equal(t, "ceremony: flag provided but not defined: -kye; ceremony sign -h lists the flags\n", errs)
}

// What others wrote can't move the cursor, whatever the file.
func TestScreensAreClean(t *testing.T) {
	s := asked(t)
	response, _ := s.sign("Ada")
	data, err := os.ReadFile(response)
	require.NoError(t, err)
	id := regexp.MustCompile(`"keyid":"([0-9a-f]+)"`).FindSubmatch(data)[1]
	evil := s.write("evil.json", strings.Replace(string(data), string(id), `\u001b[2Jok`, 1))
	screen, _ := s.run(done, "", "inspect", evil)
	require.NotContains(t, screen, "\x1b")
	screen, errs := s.run(refused, "", "merge", "-dir", s.path("repo"), evil)
	require.NotContains(t, screen+errs, "\x1b")
}

// inspect says of each file what it is: of a finished document what it proves of itself, of a key or
// an archive that it shows nothing.
func TestInspect(t *testing.T) {
	s := asked(t)
	s.merge("Ada", "Bob")
	id := func(name string) string { groups := s.idOf(name); return strings.Join(groups[:], " ") }
	screen, _ := s.run(done, "", "inspect", s.document("1.root"))
	require.Contains(t, screen, "\nTUF METADATA: ROOT VERSION 1\n\n  good    until 2031-01-31 12:00 UTC, 365 days\n  digest  1: ")
	require.Contains(t, screen, "\n  root can be signed by any 2 of:\n")
	require.Equal(t, 2, strings.Count(screen, "    "+id("Ada")+"\n"), "it can sign, and did")
	require.Equal(t, 1, strings.Count(screen, "    "+id("Cleo")+"\n"))
	require.Contains(t, screen, "  Enough of its own keys signed it. Compare its digest with a record sheet.\n")
	screen, _ = s.run(done, "", "inspect", s.document("1.targets"))
	require.Contains(t, screen, "TARGETS VERSION 1\n")
	require.Contains(t, screen, "  bins can be signed by any 2 of:\n")
	screen, _ = s.run(done, "", "inspect", s.document("1.bins"))
	require.Contains(t, screen, "  each bin can be signed by any 1 of:\n    "+id("bins")+"\n")
	data, err := os.ReadFile(s.document("1.root"))
	require.NoError(t, err)
	altered := s.write("altered.json", strings.Replace(string(data), `"version":1`, `"version":2`, 1))
	screen, _ = s.run(done, "", "inspect", altered)
	require.Contains(t, unwrapped(screen), "It is not signed as it demands itself: ")

	s.refuse("is a private key, encrypted: nothing in it can be shown", "", "inspect", s.path("Ada.key"))
	s.refuse("no public key: a private key (OpenSSH)", "",
		"inspect", s.write("id", "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n"))
	screen, _ = s.run(done, "", "inspect", s.write("id.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINykyvYuPuijj//SnidEytxJIKInZYvHpLgYuquokHhQ ada\n"))
	require.Contains(t, screen, "\nA PUBLIC KEY: NOTHING PROVES WHOSE IT IS\n\n  key     ed25519\n")
	s.refuse("is an archive: ceremony restore -check shows", "", "inspect", s.write("age", "age-encryption.org/v1\n"))
	s.refuse("is no file of a ceremony and no TUF metadata, or it is damaged; and it is no public key: ", "", "inspect", s.write("text", "Dear all"))
}

// verify says VERIFIED of all that was finished, and not of what is being signed.
func TestVerifyWhileOpen(t *testing.T) {
	s := asked(t)
	_, errs := s.run(incomplete, "", "verify", "-dir", s.path("repo"))
	require.Contains(t, errs, "not complete yet: signatures are missing of the first root; ceremony status")
	s.merge("Ada", "Bob")
	s.verify(1)
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "renewal", "-new-one-time", "2")
	screen, errs := s.run(incomplete, "", "verify", "-dir", s.path("repo"))
	require.Contains(t, screen, "\nVERIFIED, BUT FOR THE REQUEST THAT IS OPEN\n")
	require.Contains(t, unwrapped(screen), "NOT AMONG THEM is what is being signed now: root version 2, targets version 2, bins version 2, root version 3.")
	require.Contains(t, errs, "not complete yet: signatures are missing of root version 2, root version 3; ceremony status -dir "+s.path("repo")+" says whose\n", "targets and bins are complete")
	s.merge("Ada", "Bob")
	s.verify(3)
}
