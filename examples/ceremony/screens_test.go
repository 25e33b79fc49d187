package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/columns"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// crowd are people whose names are long, wide, or of one word.
var crowd = map[string]string{
	"ada":  "Augusta Ada King, Countess of Lovelace, née Byron, of Ockham Park, Surrey",
	"bob":  "Wolfeschlegelsteinhausenbergerdorff",
	"cleo": "北京市朝阳区的李雷先生",
	"dora": "Dora",
	"emil": "Emil Post (Prof. emeritus)",
	"fay":  "Fay Wray",
}

// fits fails the test if a line of a screen is too wide for a terminal, and returns the screen.
func fits(t *testing.T, screen string, args ...string) string {
	t.Helper()
	for line := range strings.Lines(screen) {
		line = strings.TrimSuffix(line, "\n")
		require.LessOrEqualf(t, columns.Width(line), pageWidth, "%v\n%s", args, line)
		require.Equal(t, strings.TrimRight(line, " "), line, "%v", args)
	}
	return screen
}

// Every command, in every state of a ceremony, shows lines of at most 80 columns in which the names,
// the reason and the digests are whole.
func TestEveryScreen(t *testing.T) {
	s := newStage(t)
	t.Chdir(s.dir)
	see := func(want int, typed string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		tall := &terminal{-1, func() (columns, lines int) { return pageWidth, 1 << 20 }}
		a := &app{in: strings.NewReader(typed), out: &out, err: &errs, terminal: tall, clock: s.clock, fileOpener: fileOpener}
		status := a.run(t.Context(), args)
		require.Equalf(t, want, status, "%v\n%s%s", args, &out, &errs)
		// A prompt ends with a space, and what is typed follows.
		shown := strings.ReplaceAll(errs.String(), ": ", ":\n")
		fits(t, strings.ReplaceAll(shown, " \n", "\n"), args...)
		return fits(t, out.String(), args...)
	}
	whole := func(screen string, words ...string) {
		t.Helper()
		for _, text := range words {
			for _, word := range strings.Fields(text) {
				require.Contains(t, strings.Fields(screen), word, screen)
			}
		}
	}
	names := func(who ...string) (all []string) {
		for _, w := range who {
			all = append(all, crowd[w])
		}
		return all
	}

	see(done, "", "help")
	see(refused, "", "nothing-of-the-kind")
	for _, c := range commands {
		see(done, "", c.name, "-h")
		see(refused, "", c.name, "-no-such-flag")
		see(refused, "", c.name)
	}

	// Cards.
	for key, name := range crowd {
		s.keygen(key) // named as the file; the card has the real name
		k := readKeys["the key of "+key+", not encrypted\x00"+key]
		card, err := ceremony.NewCard(t.Context(), k, name)
		require.NoError(t, err)
		s.write(key+".key.card.json", string(card))
		whole(see(done, "", "verify", key+".key.card.json"), name)
		whole(see(done, "", "inspect", key+".key.card.json"), name)
	}
	s.keygen("web", "bins", "web2", "bins2")
	whole(see(done, "secret words\nsecret words\n", "keygen", "-name", crowd["ada"], "more.key"), crowd["ada"])
	see(refused, "short\nsecret words\nother words\n", "keygen", "-name", "Zoe", "zoe.key")
	see(refused, "", "keygen", "-name", "Zoe", "more.key")
	see(done, "secret words\n", "card", "-name", crowd["cleo"], "-key", "more.key", "more.card.json")

	// sign signs what is open, and returns the response.
	sign := func(who string, more ...string) string {
		t.Helper()
		response := who + ".response.json"
		_ = os.Remove(response)
		args := append([]string{"sign", "-key", who + ".key", "-out", response, "-confirm", s.digest().Groups()[2]}, more...)
		screen := see(done, who+"\n", append(args, "repo/open/request.json")...)
		reason, err := readRequest(s.request())
		require.NoError(t, err)
		whole(screen, reason.Proposal().Reason, s.digest().String())
		return response
	}
	// states shows what every command says of the folder as it is now.
	states := func(status int, verified int) {
		t.Helper()
		see(status, "", "status", "-dir", "repo")
		see(status, "", "status", "-dir", "repo", "-soon", "9999")
		see(verified, "", "verify", "-dir", "repo")
		if status == incomplete {
			whole(see(done, "", "sheet", "-dir", "repo"), s.digest().String())
			see(done, "", "inspect", "repo/open/request.json")
			see(incomplete, "", "merge", "-dir", "repo")
			see(refused, "", "merge", "-dir", "repo", "repo/names.json")
			see(refused, "wrong\n\n00000000\n", "sign", "-key", "dora.key", "-trust", "1:"+strings.Repeat("0", 64), "repo/open/request.json")
			see(refused, "wrong\n\n00000000\n", "sign", "-key", "ada.key", "repo/open/request.json")
			see(refused, "web\n", "sign", "-key", "web.key", "-notebook", "ada.key.notebook.json", "-confirm", s.digest().Groups()[0], "repo/open/request.json")
		} else {
			see(refused, "", "sheet", "-dir", "repo")
			see(refused, "", "merge", "-dir", "repo")
		}
		all, err := filepath.Glob("*/*/*.json")
		require.NoError(t, err)
		for _, name := range all {
			see(done, "", "inspect", name)
		}
	}

	// The first root.
	start := []string{"init", "-dir", "repo", "-threshold", "3", "-bins", "4", "-online", "web.key.card.json", "-online-bins", "bins.key.card.json"}
	for _, who := range []string{"ada", "bob", "cleo", "dora", "emil"} {
		start = append(start, "-holder", who+".key.card.json")
	}
	whole(see(done, "", start...), names("ada", "bob", "cleo", "dora", "emil")...)
	see(refused, "", start...)
	states(incomplete, incomplete)
	ada := sign("ada")
	see(done, "", "inspect", ada, "ada.key.notebook.json")
	see(refused, "", "inspect", "ada.key", "more.key")
	see(incomplete, "", "merge", "-dir", "repo", ada)
	states(incomplete, incomplete)
	whole(see(done, "", "merge", "-dir", "repo", sign("bob"), sign("cleo")), "repo/documents/1.root.json", crowd["cleo"])
	states(done, done)
	whole(see(done, "", "status", "-dir", "repo"), append(names("ada", "bob", "cleo", "dora", "emil"), "web", "bins")...)

	// A holder is replaced; the request is given up, and made again.
	replace := []string{"request", "-dir", "repo", "-reason", "Emil's key is lost, and so that all of this is long enough for two lines, we say so at some length", "-replace", crowd["emil"] + "=fay.key.card.json"}
	whole(see(done, "", replace...), crowd["emil"], crowd["fay"])
	see(refused, "", replace...)
	see(refused, "", "request", "-dir", "repo", "-reason", "x", "-give-up", "-remove", "Nobody")
	states(incomplete, incomplete)
	sign("ada")
	see(done, "", append(replace, "-give-up", "-days", "300")...)
	see(refused, "ada\n", "sign", "-key", "ada.key", "-out", "again", "-confirm", s.digest().Groups()[0], "repo/open/request.json")
	sign("cleo")
	os.Remove("bob.key.notebook.json")
	see(refused, "bob\nno\n", "sign", "-key", "bob.key", "-trust-root", "repo/documents/1.root.json", "-out", "again", "-confirm", s.digest().Groups()[0], "repo/open/request.json")
	see(done, "", "merge", "-dir", "repo", "cleo.response.json", sign("bob", "-trust-root", "repo/documents/1.root.json", "-no-notebook"),
		sign("dora", "-trust-root", "repo/documents/1.root.json", "-no-notebook"))
	states(done, done)

	// A compromise, by which fewer must sign.
	see(done, "", "request", "-dir", "repo", "-compromise", "-reason", "Break-in of Tuesday", "-replace", crowd["ada"]+"="+"emil.key.card.json", "-threshold", "1", "-lower", "root",
		"-new-one-time", "2", "-drop-online", "web", "-add-online", "web2.key.card.json", "-drop-online-bins", "bins", "-add-online-bins", "bins2.key.card.json")
	states(incomplete, incomplete)
	s.now = s.now.AddDate(-4, 0, 0)
	see(refused, "no\n", "sign", "-key", "bob.key", "repo/open/request.json")
	s.now = testNow
	see(done, "", "merge", "-dir", "repo", sign("bob"), sign("cleo"), sign("dora"))
	states(done, done)
	see(done, "", "request", "-dir", "repo", "-reason", "Another year", "-new-one-time", "2")
	states(incomplete, incomplete)
	s.now = testNow.AddDate(3, 0, 0)
	states(incomplete, incomplete)
	s.now = testNow

	// Archives.
	see(done, "secret words\nother\nsecret words\nsecret words\n", "backup", "-dir", "repo", "-out", "all.age")
	see(done, "secret words\nsecret words\n", "backup", "-dir", "repo", "-online", "-out", "online.age")
	see(refused, "", "backup", "-dir", "repo", "-out", "all.age")
	see(done, "wrong\nsecret words\n", "restore", "-check", "all.age")
	see(done, "secret words\n", "restore", "-dir", "restored", "all.age")
	see(refused, "", "restore", "-dir", "restored", "all.age")
	see(refused, "", "inspect", "all.age")
	see(done, "", "init", "-dir", "taken-over", "-from", "repo/documents", "-holder", "bob.key.card.json")
	see(refused, "", "init", "-dir", "taken-over-2", "-from", "nowhere", "-holder", "bob.key.card.json")
}
