package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// TestMain lets a test run this binary as the program itself.
func TestMain(m *testing.M) {
	if os.Getenv("OPERATOR_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// index is a folder with metadata, target files and journal, and its publisher, which runs.
type index struct {
	t        *testing.T
	ceremony *repotest.Ceremony
	dir      string
	clock    func() time.Time
	repo     *repository.Repository
	targets  *dirstore.Targets
	signers  map[string]keys.Signer
	cfg      repository.Config
	opened   map[string]keys.Signer // by file
	in       string                 // what is typed
}

// newIndex makes one in which generation 2 has a file.
func newIndex(t *testing.T) *index {
	t.Helper()
	x := &index{t: t, dir: t.TempDir(), signers: map[string]keys.Signer{}, opened: map[string]keys.Signer{}}
	now := time.Now().UTC().Truncate(time.Second)
	x.clock = func() time.Time { return now.Add(5 * time.Minute) }
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	c := repotest.NewCeremony(t, layout, now)
	x.signers["bins"], x.signers["online"] = c.Bins, c.Online
	store, err := dirstore.Create(filepath.Join(x.dir, "metadata"))
	require.NoError(t, err)
	x.targets, err = dirstore.CreateTargets(filepath.Join(x.dir, "targets"))
	require.NoError(t, err)
	journal, err := dirjournal.Create(filepath.Join(x.dir, "journal"))
	require.NoError(t, err)
	x.ceremony = c
	x.cfg = repository.Config{
		Store: store, Journal: journal, Bins: c.Bins, Snapshot: c.Online, Timestamp: c.Online, MaxDelay: -1, Now: func() time.Time { return now },
	}
	x.repo, err = repository.Create(t.Context(), x.cfg, c.Documents())
	require.NoError(t, err)
	x.run()
	x.publish("upload-1", "ada", "pkg/demo-1.0.whl", "demo")
	return x
}

// run runs the publisher until the test ends.
func (x *index) run() {
	repo := x.repo
	x.t.Cleanup(func() { require.NoError(x.t, repo.Close()) })
	go repo.Run(x.t.Context())
}

// open opens the repository again.
func (x *index) open() {
	x.t.Helper()
	var err error
	x.cfg.Journal, err = dirjournal.Open(filepath.Join(x.dir, "journal"))
	require.NoError(x.t, err)
	x.repo, err = repository.Open(x.t.Context(), x.cfg)
	require.NoError(x.t, err)
	x.run()
}

// publish adds a file, or removes it if there is no content.
func (x *index) publish(id, by, path, content string) {
	x.t.Helper()
	it := repository.Item{ID: id, By: by, Remove: []string{path}}
	if content != "" {
		target, err := x.targets.Put(x.t.Context(), path, strings.NewReader(content), "sha512")
		require.NoError(x.t, err)
		it.Add, it.Remove = []roles.Target{target}, nil
	}
	receipt, err := x.repo.Submit(x.t.Context(), it)
	require.NoError(x.t, err)
	_, err = receipt.Wait(x.t.Context())
	require.NoError(x.t, err)
}

// operator runs the program, and fails the test if the exit status is another than want.
func (x *index) operator(want int, args ...string) (screen, errs string) {
	x.t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{in: strings.NewReader(x.in), out: &stdout, err: &stderr, clock: x.clock, fileOpener: x.opener}
	status := a.run(x.t.Context(), args)
	require.Equalf(x.t, want, status, "%v\n%s%s", args, stdout.String(), stderr.String())
	for line := range strings.Lines(stdout.String()) {
		if long := regexp.MustCompile(`\S{60}`); !long.MatchString(line) && !strings.Contains(line, os.TempDir()) && !strings.HasPrefix(stdout.String(), "{") {
			require.LessOrEqual(x.t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), columns, line)
		}
	}
	return stdout.String(), stderr.String()
}

// opener is keys.FileOpener, which takes a second for each file, on purpose. Here it takes that once.
func (x *index) opener(ask func(context.Context, string) ([]byte, error)) keys.Opener {
	return func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
		if key, ok := x.opened[place]; ok {
			return key, nil
		}
		key, err := keys.FileOpener(ask)(ctx, place, public)
		if err == nil {
			x.opened[place] = key
		}
		return key, err
	}
}

// keys are the flags for a command that signs. Key files are made at first, which takes a while.
func (x *index) keys(args ...string) []string {
	for name, key := range x.signers {
		require.NoError(x.t, keys.WriteFile(filepath.Join(x.dir, name+".pem"), key.(*keys.MemorySigner), []byte("secret")))
		require.NoError(x.t, os.WriteFile(filepath.Join(x.dir, "passphrase"), []byte("secret\n"), 0o600))
	}
	x.signers = nil
	return append([]string{args[0], "-bins", "file:" + filepath.Join(x.dir, "bins.pem"), "-online", "file:" + filepath.Join(x.dir, "online.pem"),
		"-passphrase", filepath.Join(x.dir, "passphrase")}, args[1:]...)
}

// golden compares a screen with a file, in which times have no digits. With OPERATOR_GOLDEN it
// is written.
func golden(t *testing.T, name, screen string) {
	t.Helper()
	screen = regexp.MustCompile(`\d{4}-\d\d-\d\d`).ReplaceAllString(screen, "YYYY-MM-DD")
	screen = regexp.MustCompile(`\d\d:\d\d:\d\d`).ReplaceAllString(screen, "hh:mm:ss")
	screen = regexp.MustCompile(`\d\d:\d\d`).ReplaceAllString(screen, "hh:mm")
	screen = regexp.MustCompile(`bins-[0-3] .*`).ReplaceAllString(screen, "bins-N") // which one is the fullest is chance
	screen = regexp.MustCompile(`\d,\d{3} B`).ReplaceAllString(screen, "N,NNN B")   // signatures differ in length
	screen = regexp.MustCompile(`\d{3} B`).ReplaceAllString(screen, "NNN B")
	file := filepath.Join("testdata", name+".txt")
	if os.Getenv("OPERATOR_GOLDEN") != "" {
		require.NoError(t, os.WriteFile(file, []byte(screen), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), screen)
}

// tree is every file below dir with its content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var data []byte
			data, err = os.ReadFile(name)
			files[name] = string(data)
		}
		return err
	}))
	return files
}

// Commands that only show something work while a publisher runs. They write nothing.
func TestShow(t *testing.T) {
	x := newIndex(t)
	x.publish("upload-2", "bob", "pkg/demo-1.1.whl", "demo, again")
	x.publish("removal-1", "ada", "pkg/demo-1.0.whl", "")
	before := tree(t, x.dir)

	out, errs := x.operator(done, "status", x.dir)
	require.Empty(t, errs)
	golden(t, "status", out)
	out, _ = x.operator(done, "log", x.dir)
	golden(t, "log", out)
	out, _ = x.operator(done, "log", "-n", "1", x.dir)
	require.Contains(t, out, "3 generations before these: -n 0 shows all")
	out, _ = x.operator(done, "log", "-since", "4", x.dir)
	require.Equal(t, 2, strings.Count(out, "\n"))
	out, _ = x.operator(done, "diff", x.dir, "1", "4")
	golden(t, "diff", out)
	out, _ = x.operator(done, "lookup", "-life", x.dir, "pkg/demo-1.1.whl")
	golden(t, "lookup", out)
	out, _ = x.operator(attention, "lookup", "-life", x.dir, "pkg/demo-1.0.whl")
	golden(t, "lookup-none", out)
	out, _ = x.operator(done, "audit", x.dir)
	require.Equal(t, forms+"checked "+filepath.Join(x.dir, "metadata")+", target files in "+filepath.Join(x.dir, "targets")+
		", journal "+filepath.Join(x.dir, "journal")+": errors=0 warnings=0 notes=1\n", out)

	require.Equal(t, before, tree(t, x.dir))
}

// forms is what an audit says of every index with succinct bins.
const forms = `note     clients     1.bins.json: tough doesn't know succinct bins and finds no
                     target behind them; other clients do
`

func TestJSON(t *testing.T) {
	x := newIndex(t)
	result := func(want int, args ...string) (status, fault string, result map[string]any) {
		t.Helper()
		out, _ := x.operator(want, args...)
		var r struct {
			Status, Error string
			Result        map[string]any
		}
		require.NoError(t, json.Unmarshal([]byte(out), &r))
		return r.Status, r.Error, r.Result
	}
	state, fault, r := result(done, "status", "-json", x.dir)
	require.Equal(t, []any{"done", "", 2.}, []any{state, fault, r["generation"]})
	_, _, r = result(done, "log", "-json", "-n", "1", x.dir)
	require.Equal(t, 1., r["earlier"])
	require.Equal(t, 2., r["generations"].([]any)[0].(map[string]any)["generation"])
	_, _, r = result(done, "diff", "-json", x.dir, "1", "2")
	require.Equal(t, "pkg/demo-1.0.whl", r["targets"].([]any)[0].(map[string]any)["path"])
	_, _, r = result(done, "lookup", "-json", x.dir, "pkg/demo-1.0.whl")
	require.Equal(t, "pkg/demo-1.0.whl", r["target"].(map[string]any)["path"])
	state, _, r = result(attention, "lookup", "-json", x.dir, "pkg/none")
	require.Equal(t, "attention", state)
	require.Nil(t, r["target"])
	_, _, r = result(done, "audit", "-json", x.dir)
	require.Len(t, r["findings"], 1)
	require.Equal(t, []any{0., 0., 1.}, []any{r["errors"], r["warnings"], r["notes"]})
	_, _, r = result(done, "plan", "-json", "-targets", "100", "-bins", "4", "-form", "explicit")
	require.Equal(t, "explicit", r["form"])
	require.Equal(t, 4., r["spec"].(map[string]any)["bins"])
	state, fault, r = result(refused, "plan", "-json", "-targets", "100", "-bins", "5")
	require.Equal(t, "refused", state)
	require.Contains(t, fault, "5 bins: not a power of two")
	require.Nil(t, r)
	_, fault, _ = result(refused, "restore", "-nonsense", "-json")
	require.Contains(t, fault, "flag provided but not defined")
	_, fault, _ = result(refused, "nonsense", "-json")
	require.Equal(t, `"nonsense" is no command: operator -h lists them`, fault)
}

func TestStatusWithProblems(t *testing.T) {
	x := newIndex(t)
	require.NoError(t, x.repo.Close())
	reader, err := dirjournal.Open(filepath.Join(x.dir, "journal"))
	require.NoError(t, err)
	require.NoError(t, reader.Close())
	store := filepath.Join(x.dir, "metadata")
	require.NoError(t, os.Rename(filepath.Join(store, "1.bins.json"), filepath.Join(x.dir, "away")))
	_, errs := x.operator(refused, "status", x.dir)
	require.Contains(t, errs, "operator: status: ")
	require.NoError(t, os.Rename(filepath.Join(x.dir, "away"), filepath.Join(store, "1.bins.json")))

	var screen bytes.Buffer
	a := &app{out: &screen, clock: x.clock}
	s := repository.Status{Generation: 7, Signed: x.clock().Add(-90 * time.Minute), Problems: []repository.Problem{{
		Severity: repository.SeverityError, What: strings.Repeat("something is wrong ", 6), Advice: "put it \x1b[31mright", From: x.clock(),
	}}}
	s.Queue.Pending, s.Queue.Bytes, s.Queue.Oldest = 3, 12_345, x.clock().Add(-30*time.Hour)
	a.showStatus(s)
	golden(t, "problems", screen.String())
}

func TestAuditFindings(t *testing.T) {
	x := newIndex(t)
	metadata := filepath.Join(x.dir, "metadata")
	// A copy that Bindery knows nothing of, with a note's worth of litter.
	other := filepath.Join(t.TempDir(), "tuf")
	require.NoError(t, os.CopyFS(other, os.DirFS(metadata)))
	require.NoError(t, os.RemoveAll(filepath.Join(other, ".bindery")))
	require.NoError(t, os.WriteFile(filepath.Join(other, "read\x1bme"), nil, 0o644))
	out, errs := x.operator(done, "audit", other)
	require.Empty(t, errs)
	require.Equal(t, forms+"note     stray       read\uFFFDme: it is not the name of any metadata\n"+
		"checked "+other+": errors=0 warnings=0 notes=2\n", out, "notes alone need no attention")

	require.NoError(t, os.Remove(filepath.Join(metadata, "1.bins.json")))
	out, _ = x.operator(attention, "audit", "-json", x.dir)
	var r struct {
		Status string
		Result audited
	}
	require.NoError(t, json.Unmarshal([]byte(out), &r))
	require.Equal(t, "attention", r.Status)
	require.Equal(t, 1, r.Result.Errors)
	require.Equal(t, []audit.Finding{{Severity: "error", Check: "missing", Name: "1.bins.json", Problem: "clients ask for it, and it does not exist"}}, r.Result.Findings)

	// A warning needs attention too.
	out, _ = x.operator(attention, "audit", "-soon", "9000h", "-targets", filepath.Join(x.dir, "targets"), other)
	require.Contains(t, out, "errors=0 warnings=3 notes=2\n")
	out, _ = x.operator(attention, "audit", "-targets", t.TempDir(), other)
	require.Contains(t, out, "error    file        ", "target files are missing")
	_, _ = x.operator(attention, "audit", "-journal", "", x.dir)
}

// Thousands of bins with the same fault are a few lines.
func TestAuditCountsWhatIsAlike(t *testing.T) {
	show := func(all bool, given ...audit.Finding) []string {
		var screen bytes.Buffer
		s := findings{a: &app{out: &screen}, all: all, groups: map[findingGroup]int{}}
		for _, f := range given {
			s.show(f)
		}
		s.end()
		return strings.Split(strings.TrimSuffix(screen.String(), "\n"), "\n")
	}
	var given []audit.Finding
	for i := range 16384 {
		given = append(given, audit.Finding{Severity: audit.Error, Check: "missing", Name: fmt.Sprintf("%d.bins-%04x.json", i%97+1, i), Problem: "it is missing"})
	}
	given = append(given, audit.Finding{Severity: audit.Error, Check: "missing", Name: "7.targets.json", Problem: "it is missing"})
	lines := show(false, given...)
	require.Equal(t, []string{
		"error    missing     1.bins-0000.json: it is missing",
		"error    missing     2.bins-0001.json: it is missing",
		"error    missing     3.bins-0002.json: it is missing",
		"error    missing     4.bins-0003.json: it is missing",
		"error    missing     5.bins-0004.json: it is missing",
		"error    missing     7.targets.json: it is missing",
		"error    missing     bins-*.json: 16,379 more like the 5 above (-all lists each)",
	}, lines)
	require.Len(t, show(true, given...), 16385)

	// Different faults are never counted together, whatever is in their texts.
	require.Len(t, show(false,
		audit.Finding{Severity: audit.Error, Check: "signature", Name: "1.bins-0.json", Problem: "0 of 1 signatures"},
		audit.Finding{Severity: audit.Error, Check: "signature", Name: "1.bins-1.json", Problem: "0 of 1 signatures: no signature"},
		audit.Finding{Severity: audit.Warning, Check: "signature", Name: "1.bins-2.json", Problem: "0 of 1 signatures"},
		audit.Finding{Severity: audit.Error, Check: "expiry", Name: "1.bins-3.json", Problem: "0 of 1 signatures"},
		audit.Finding{Severity: audit.Error, Check: "signature", Name: "1.claimed.json", Problem: "0 of 1 signatures"},
	), 5)
	for what, f := range map[string]func(i int) audit.Finding{
		"an expiry": func(i int) audit.Finding {
			return audit.Finding{Severity: audit.Error, Check: "expiry", Name: fmt.Sprintf("1.bins-%02x.json", i), Problem: fmt.Sprintf("it expired %d days ago, at 2026-01-%02dT00:00:00Z", i, i%28)}
		},
		"a role that the snapshot lacks": func(i int) audit.Finding {
			return audit.Finding{Severity: audit.Error, Check: "missing", Name: "5.snapshot.json", Problem: fmt.Sprintf("it doesn't name the role %q, which bins delegates to", fmt.Sprintf("bins-%02x", i))}
		},
		"a misplaced target": func(i int) audit.Finding {
			return audit.Finding{Severity: audit.Error, Check: "misplaced", Name: fmt.Sprintf("1.bins-%02x.json", i), Target: fmt.Sprint("a/", i), Problem: fmt.Sprintf("clients don't look for it here: bins doesn't delegate this path to bins-%02x", i)}
		},
		"a file of a target": func(i int) audit.Finding {
			sum := sha256.Sum256([]byte{byte(i)})
			return audit.Finding{Severity: audit.Error, Check: "file", Name: fmt.Sprintf("a/%x.b", sum), Target: fmt.Sprint("a/", i), Problem: fmt.Sprintf("its sha256 is %x, and the metadata says %x", sum, sum)}
		},
	} {
		var given []audit.Finding
		for i := range 200 {
			given = append(given, f(i))
		}
		lines := show(false, given...)
		require.Contains(t, lines[len(lines)-1], ": 195 more like the 5 above", what)
	}
}

func TestPlan(t *testing.T) {
	x := &index{t: t, dir: "nowhere", clock: time.Now}
	out, _ := x.operator(done, "plan", "-targets", "2273539", "-uploads", "5000", "-generations", "1440")
	require.Contains(t, out, "2,273,539 targets in 16,384 bins (succinct), 5,000 uploads a day\n")
	require.Contains(t, out, "pays least with 4,096 bins, with gzip 8,192.")
	require.Contains(t, out, "LIMITS OF CLIENTS")
	out, _ = x.operator(done, "plan", "-pep458", "-uploads", "1440")
	require.Regexp(t, `V11  snapshot +98 kB +5 % +590 kB +27 %`, out)
	out, _ = x.operator(done, "plan", "-targets", "5", "-bins", "2", "-root-keys", "ecdsa-sha2-nistp256:3:5", "-json")
	require.Contains(t, out, `"threshold": 3`)
	_, errs := x.operator(refused, "plan", "-targets", "5", "-root-keys", "ed25519:x:5")
	require.Contains(t, errs, `"x" is not a number`)
}

// What a sweep says is shown by its reasons.
func TestCollect(t *testing.T) {
	x := newIndex(t)
	before := tree(t, x.dir)
	out, _ := x.operator(done, "collect", "-cache-age", "0", "-client-run", "0", x.dir)
	golden(t, "collect", out)
	out, _ = x.operator(done, "collect", x.dir)
	require.NotContains(t, out, "\n  delete")
	require.Contains(t, out, "superseded by generation …, kept until …")
	out, _ = x.operator(done, "collect", "-list", "-json", x.dir)
	require.Contains(t, out, `"why": "published"`)
	_, errs := x.operator(refused, x.keys("collect", "-delete", "-yes", x.dir)...)
	require.Contains(t, errs, "locked by another publisher")
	require.Equal(t, before, without(tree(t, x.dir), "bins.pem", "online.pem", "passphrase"))

	require.NoError(t, x.repo.Close())
	out, _ = x.operator(done, x.keys("collect", "-delete", "-yes", "-cache-age", "0", "-client-run", "1s", "-list", x.dir)...)
	require.Contains(t, out, "deleted  1.snapshot.json: superseded by generation 2\n")
	require.NoFileExists(t, filepath.Join(x.dir, "metadata", "1.snapshot.json"))
	x.operator(done, "audit", x.dir)

	away := t.TempDir()
	_, errs = x.operator(refused, x.keys("archive", x.dir)...)
	require.Contains(t, errs, "-to")
	x.in = "no\n"
	out, errs = x.operator(refused, x.keys("archive", "-to", away, x.dir)...)
	require.Contains(t, out, "The history that is left begins at generation")
	require.Contains(t, errs, "not confirmed")
	require.Empty(t, tree(t, away))
	x.operator(done, x.keys("archive", "-yes", "-to", away, x.dir)...)
	require.NotEmpty(t, tree(t, away))
	_, errs = x.operator(refused, "diff", x.dir, "1", "2")
	require.Contains(t, errs, "put the archived segments back")
	out, _ = x.operator(done, "log", x.dir)
	require.Contains(t, strings.Join(strings.Fields(out), " "), "put archived segments back to see it")
	require.NotContains(t, out, "clients see it since")
	x.operator(done, "audit", x.dir)
	x.open()
	x.publish("upload-9", "ada", "pkg/late.whl", "late")
	out, _ = x.operator(done, "log", x.dir)
	require.Regexp(t, `(?s)^the history that is kept begins with generation \d+: .*put archived.*ada: 1`, out)
	out, _ = x.operator(done, "log", "-since", "99", x.dir)
	require.Contains(t, out, "there is no generation 99 yet: the newest is ")

	// The next call deletes the files with which the history began, once they are superseded.
	require.NoError(t, x.repo.Close())
	x.cfg.CacheAge, x.cfg.ClientRun = -1, -1
	x.open()
	x.publish("upload-10", "ada", "pkg/demo-1.0.whl", "again")
	require.NoError(t, x.repo.Close())
	x.open()
	require.Eventually(t, func() bool {
		s, err := x.repo.Status(t.Context())
		return err == nil && s.Collection.Files == 0
	}, time.Minute, 10*time.Millisecond)
	require.NoError(t, x.repo.Close())
	bins := func() []string {
		names, err := filepath.Glob(filepath.Join(x.dir, "metadata", "*.bins-*.json"))
		require.NoError(t, err)
		return names
	}
	require.Greater(t, len(bins()), 4)
	x.operator(done, x.keys("archive", "-yes", "-to", away, x.dir)...)
	require.Len(t, bins(), 4)
	x.operator(done, "audit", x.dir)
}

func without(files map[string]string, names ...string) map[string]string {
	for file := range files {
		if slices.Contains(names, filepath.Base(file)) {
			delete(files, file)
		}
	}
	return files
}

// The bins go over to another key.
func TestRotate(t *testing.T) {
	x := newIndex(t)
	_, errs := x.operator(refused, x.keys("rotate", x.dir, "bins-*")...)
	require.Contains(t, errs, "name the new key with -to")
	next, err := keys.GenerateEd25519()
	require.NoError(t, err)
	place := filepath.Join(x.dir, "next.pem")
	x.opened["//"+place], x.opened[place] = next, next
	args := []string{"rotate", "-to", "file:" + place, x.dir, "bins-*"}
	require.NoError(t, x.repo.Close())
	_, errs = x.operator(refused, x.keys(slices.Insert(slices.Clone(args), 1, "-yes")...)...)
	require.Contains(t, errs, "install documents that name both keys first")

	x.ceremony.NextBins(func(a *roles.Authority) { a.Keys = append(a.Keys, next.Public()) })
	x.open()
	require.NoError(t, x.repo.Install(t.Context(), x.ceremony.Documents()))
	require.NoError(t, x.repo.Close())
	x.in = "no\n"
	_, errs = x.operator(refused, x.keys(args...)...)
	require.Contains(t, errs, "not confirmed")
	x.in = "yes\n"
	out, _ := x.operator(done, x.keys(args...)...)
	require.Contains(t, out, "bins-*: signing, from key ")
	require.Contains(t, out, "4 roles left to sign")
	out, _ = x.operator(done, "status", x.dir)
	require.Contains(t, out, "bins-*: signing, from key ")
	out, _ = x.operator(done, x.keys("rotate", "-yes", "-run", "-to", "file:"+place, x.dir, "bins-*")...)
	require.Contains(t, out, "bins-*: ready")
	require.NotContains(t, out, "left to sign")
	x.operator(done, "audit", x.dir)
}

func TestRestore(t *testing.T) {
	x := newIndex(t)
	_, errs := x.operator(refused, x.keys("restore", "-lost", "store", "-yes", x.dir)...)
	require.Contains(t, errs, "locked by another publisher")
	require.NoError(t, x.repo.Close())

	for _, file := range []string{"-root", "-witness"} { // a pipe would be waited for, as this would
		_, errs = x.operator(refused, x.keys("restore", "-lost", "store", "-yes", file, os.DevNull, x.dir)...)
		require.Contains(t, errs, os.DevNull+" is not a file")
	}

	before := tree(t, x.dir)
	x.in = "no\n"
	_, errs = x.operator(refused, x.keys("restore", "-lost", "store", x.dir)...)
	require.Equal(t, "operator: not confirmed: nothing was changed\n", errs)
	require.Equal(t, before, tree(t, x.dir))

	require.NoError(t, os.RemoveAll(filepath.Join(x.dir, "metadata")))
	_, errs = x.operator(refused, "status", x.dir)
	require.Contains(t, errs, "operator: ")
	_, errs = x.operator(refused, x.keys("restore", "-lost", "journal", "-yes", x.dir)...)
	require.Contains(t, errs, "is no folder, and the store is what isn't lost")
	x.in = "yes\n"
	out, _ := x.operator(done, x.keys("restore", "-lost", "store", "-past", "9", x.dir)...)
	require.Contains(t, out, "published generation 10, with 6 signatures")
	x.operator(done, "audit", x.dir)

	require.NoError(t, os.RemoveAll(filepath.Join(x.dir, "journal")))
	_, errs = x.operator(refused, x.keys("restore", "-lost", "journal", "-yes", x.dir)...)
	require.Contains(t, errs, "-root")
	out, _ = x.operator(done, x.keys("restore", "-json", "-lost", "journal", "-yes", "-root", filepath.Join(x.dir, "metadata", "1.root.json"), x.dir)...)
	require.Contains(t, out, `"generation": 11`)
	x.operator(done, "audit", x.dir)
	x.operator(done, "lookup", x.dir, "pkg/demo-1.0.whl")
}

// Work that can't be counted shows that it goes on, on a terminal.
func TestWorking(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var stderr bytes.Buffer
			a := &app{err: &stderr, terminal: terminal, patience: 2 * time.Second}
			done := a.working("reading the journal")
			time.Sleep(time.Second)
			synctest.Wait()
			require.Empty(t, stderr.String())
			time.Sleep(2 * time.Second)
			synctest.Wait()
			require.Equal(t, terminal, strings.Contains(stderr.String(), "reading the journal"), stderr.String())
			require.NotContains(t, stderr.String(), "-1")
			done()
			done()
		})
	}
}

// A bar appears on a terminal, for what takes long.
func TestProgress(t *testing.T) {
	x := newIndex(t)
	for _, c := range []struct {
		terminal bool
		patience time.Duration
	}{{true, 0}, {true, time.Hour}, {false, 0}} {
		var stdout, stderr bytes.Buffer
		a := &app{out: &stdout, err: &stderr, clock: x.clock, terminal: c.terminal, patience: c.patience}
		require.Equal(t, done, a.run(t.Context(), []string{"audit", x.dir}))
		require.Contains(t, stdout.String(), "errors=0")
		require.Equal(t, c.terminal && c.patience == 0, strings.Contains(stderr.String(), "roles"), stderr.String())
	}
}

func TestRefusals(t *testing.T) {
	x := newIndex(t)
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "usage: operator COMMAND"},
		{[]string{"nonsense"}, "usage: operator COMMAND"},
		{[]string{"status"}, "0 arguments after the flags: see operator status -h"},
		{[]string{"status", empty}, "there is no folder journal: name it with -journal"},
		{[]string{"status", "-journal", empty, x.dir}, "not a journal"},
		{[]string{"status", filepath.Join(x.dir, "none")}, "no such file or directory"},
		{[]string{"log", "-n", "-1", x.dir}, "must not be negative"},
		{[]string{"diff", x.dir, "1"}, "2 arguments after the flags"},
		{[]string{"diff", x.dir, "one", "2"}, `"one" is not the number of a generation`},
		{[]string{"diff", x.dir, "2", "1"}, "name the earlier one first"},
		{[]string{"diff", x.dir, "1", "9"}, "there is no generation 9 yet"},
		{[]string{"lookup", x.dir}, "1 arguments after the flags"},
		{[]string{"audit"}, "want one folder"},
		{[]string{"audit", "a", "b"}, "want one folder"},
		{[]string{"audit", "-soon", "0s", x.dir}, "must be more than 0"},
		{[]string{"audit", empty}, "there is no root metadata"},
		{[]string{"audit", "-journal", empty, x.dir}, `not a journal`},
		{[]string{"audit", "-targets", filepath.Join(x.dir, "metadata", "1.root.json"), x.dir}, "is not a folder"},
		{[]string{"plan", "x"}, `unexpected argument "x"`},
		{[]string{"plan"}, "say how many files there are, with -targets"},
		{[]string{"plan", "-targets", "-1"}, "Targets is -1"},
		{[]string{"plan", "-targets", "1", "-form", "both"}, `-form "both": want succinct or explicit`},
		{[]string{"restore", x.dir}, "say with -lost what was lost"},
		{[]string{"restore", "-lost", "store", "-past", "-1", x.dir}, "must not be negative"},
		{[]string{"restore", "-lost", "store", x.dir}, "name the online keys with -bins and -online"},
		{[]string{"restore", "-lost", "store", "-bins", "http:x", "-online", "http:x", x.dir}, "this program opens file:, sshagent:"},
	} {
		out, errs := x.operator(refused, c.args...)
		require.Contains(t, errs, c.says)
		require.Empty(t, out)
		if strings.HasPrefix(errs, "usage:") {
			for line := range strings.Lines(errs) {
				require.LessOrEqual(t, len(line)-1, columns, line)
			}
		}
	}
}

// An error with thousands of lines doesn't scroll away what is wrong.
func TestLongError(t *testing.T) {
	var stdout, stderr bytes.Buffer
	a := &app{out: &stdout, err: &stderr}
	long := errors.New("16384 files are missing:" + strings.Repeat("\n1.bins-0000.json", 16384))
	require.NoError(t, a.finish(refused, nil, long))
	require.Len(t, strings.Split(strings.TrimSpace(stderr.String()), "\n"), 20)
	require.Contains(t, stderr.String(), "… and 16,366 more lines: -json shows all\n")
	a.json = true
	require.NoError(t, a.finish(refused, nil, long))
	require.Equal(t, 16384, strings.Count(stdout.String(), "bins-0000"))
}

// The exit statuses are those of the process.
func TestProcess(t *testing.T) {
	x := newIndex(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	for want, args := range map[int][]string{done: {"audit", x.dir}, refused: {"audit"}, attention: {"audit", "-soon", "9000h", x.dir}} {
		cmd := exec.CommandContext(t.Context(), exe, args...)
		cmd.Env = append(os.Environ(), "OPERATOR_TEST_MAIN=1")
		if err := cmd.Run(); want != done {
			exit := &exec.ExitError{}
			require.ErrorAs(t, err, &exit)
		}
		require.Equal(t, want, cmd.ProcessState.ExitCode())
	}
	out, errs := x.operator(done, "-h")
	require.Empty(t, out)
	for _, c := range commands {
		require.Contains(t, errs, "\n  "+c.name+" ")
		_, help := x.operator(done, c.name, "-h")
		require.Contains(t, help, "usage: operator "+c.name+" ")
	}
}

// The runbook says of every check what to do, and names every command.
func TestRunbookIsComplete(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	source, err := os.ReadFile("../../repository/audit/audit.go")
	require.NoError(t, err)
	checks := regexp.MustCompile(`(?m)^\tcheck\w+ += "(\w+)"$`).FindAllSubmatch(source, -1)
	require.NotEmpty(t, checks)
	for _, c := range checks {
		require.Regexp(t, "(?m)^\\| .*`"+string(c[1])+"`", string(readme))
	}
	for _, c := range commands {
		require.Contains(t, string(readme), "operator "+c.name)
	}
	// It promises exit statuses, which go run doesn't pass on.
	require.NotRegexp(t, `(?m)^ {4}.*go run`, string(readme))
}
