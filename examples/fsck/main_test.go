package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// TestMain lets a test run this binary as fsck itself.
func TestMain(m *testing.M) {
	if os.Getenv("FSCK_TEST_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// runFsck runs the program and returns what it printed and its exit status.
func runFsck(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), "FSCK_TEST_MAIN=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		exit := &exec.ExitError{}
		require.ErrorAs(t, err, &exit)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// index makes a folder with a repository of Bindery's: metadata, target files and
// journal, which its publisher has open.
func index(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	c := repotest.NewCeremony(t, layout, time.Now())
	store, err := dirstore.Create(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	targets, err := dirstore.CreateTargets(filepath.Join(dir, "targets"))
	require.NoError(t, err)
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	repo, err := repository.Create(t.Context(), repository.Config{
		Store: store, Journal: journal, Bins: c.Bins, Snapshot: c.Online, Timestamp: c.Online, MaxDelay: -1,
	}, c.Documents())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, repo.Close()) })
	target, err := targets.Put(t.Context(), "pkg/demo-1.0.whl", strings.NewReader("demo"), "sha512")
	require.NoError(t, err)
	receipt, err := repo.Add(t.Context(), target)
	require.NoError(t, err)
	go repo.Run(t.Context())
	_, err = receipt.Wait(t.Context())
	require.NoError(t, err)
	return dir
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

func TestClean(t *testing.T) {
	dir := index(t)
	before := tree(t, dir)
	out, errs, status := runFsck(t, dir)
	require.Equal(t, 0, status, out+errs)
	require.Empty(t, errs)
	require.Equal(t, "checked "+filepath.Join(dir, "metadata")+", target files in "+filepath.Join(dir, "targets")+
		", journal "+filepath.Join(dir, "journal")+": errors=0 warnings=0 notes=0\n", out)
	require.Equal(t, before, tree(t, dir))

	out, _, status = runFsck(t, "-json", filepath.Join(dir, "metadata"))
	require.Equal(t, 0, status)
	require.Empty(t, out)
}

func TestFindings(t *testing.T) {
	dir := index(t)
	metadata := filepath.Join(dir, "metadata")
	// A copy that Bindery knows nothing of, with a note's worth of litter.
	other := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(other, "tuf"), os.DirFS(metadata)))
	require.NoError(t, os.RemoveAll(filepath.Join(other, "tuf", ".bindery")))
	require.NoError(t, os.WriteFile(filepath.Join(other, "tuf", "read\x1bme"), nil, 0o644))
	out, errs, status := runFsck(t, filepath.Join(other, "tuf"))
	require.Equal(t, 0, status, "notes alone are no findings")
	require.Empty(t, errs)
	require.Equal(t, "note     stray       \"read\\x1bme\": it is not the name of any metadata\n"+
		"checked "+filepath.Join(other, "tuf")+": errors=0 warnings=0 notes=1\n", out)

	require.NoError(t, os.Remove(filepath.Join(metadata, "1.bins.json")))
	out, errs, status = runFsck(t, "-json", dir)
	require.Equal(t, 1, status)
	require.Empty(t, errs)
	var f audit.Finding
	require.NoError(t, json.Unmarshal([]byte(out), &f))
	require.Equal(t, 1, strings.Count(out, "\n"))
	require.Equal(t, audit.Finding{Severity: "error", Check: "missing", Name: "1.bins.json", Problem: "clients ask for it, and it does not exist"}, f)

	// A warning is a finding.
	out, _, status = runFsck(t, "-soon", "9000h", "-targets", filepath.Join(dir, "targets"), filepath.Join(other, "tuf"))
	require.Equal(t, 1, status)
	require.Contains(t, out, "errors=0 warnings=3 notes=1\n")
	_, _, status = runFsck(t, "-targets", t.TempDir(), filepath.Join(other, "tuf"))
	require.Equal(t, 1, status, "target files are missing")
}

func TestCouldNotRun(t *testing.T) {
	dir := index(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "want one folder"},
		{[]string{"a", "b"}, "want one folder"},
		{[]string{"-nonsense", dir}, "flag provided but not defined"},
		{[]string{"-soon", "0s", dir}, "must be more than 0"},
		{[]string{filepath.Join(dir, "none")}, "no such file or directory"},
		{[]string{t.TempDir()}, "there is no root metadata"},
		{[]string{"-journal", t.TempDir(), dir}, "not a journal"},
		{[]string{"-targets", filepath.Join(dir, "metadata", "1.root.json"), dir}, "is not a folder"},
	} {
		out, errs, status := runFsck(t, c.args...)
		require.Equal(t, 2, status, c.args)
		require.Contains(t, errs, c.says)
		require.Empty(t, out)
	}
	_, _, status := runFsck(t, "-journal", "", dir)
	require.Equal(t, 0, status)
	_, help, status := runFsck(t, "-help")
	require.Equal(t, 0, status)
	require.Contains(t, help, "usage: fsck")
}

// The runbook says of every check what to do.
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
}
