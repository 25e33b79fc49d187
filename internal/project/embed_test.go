package project_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const gotuf = "github.com/theupdateframework/go-tuf/v2"

// ownRequirements are what the root module lists beyond go-tuf, or in a newer version.
var ownRequirements = []string{
	"github.com/secure-systems-lab/go-securesystemslib",
	"github.com/stretchr/testify",
	"golang.org/x/crypto",
	"golang.org/x/sync",
	"golang.org/x/sys",
	"golang.org/x/term",
	"golang.org/x/text",
}

// linkedBeyond are the modules in the program of whoever embeds Bindery that are not in
// one which only uses go-tuf.
var linkedBeyond = []string{module, "golang.org/x/sync", "golang.org/x/text"}

// raisedVersions are the modules of which an index that requires go-tuf gets a newer
// version if it requires Bindery: our requirements, and what those list themselves.
var raisedVersions = append([]string{"golang.org/x/mod", "golang.org/x/net", "golang.org/x/tools"}, ownRequirements...)

// Every line in the root's go.mod is a cost for those who embed it.
func TestRootListsLittle(t *testing.T) {
	allowed := append([]string{gotuf}, ownRequirements...)
	of := readGoMod(t, strings.TrimSpace(goCommand(t, ".", "list", "-m", "-f", "{{.GoMod}}", gotuf)))
	require.Equal(t, gotuf, of.Module.Path)
	versions := map[string]string{}
	for _, r := range of.Require {
		allowed = append(allowed, r.Path)
		versions[r.Path] = r.Version
	}
	for _, r := range readGoMod(t, "go.mod").Require {
		require.Contains(t, allowed, r.Path)
		if !slices.Contains(ownRequirements, r.Path) && r.Path != gotuf {
			require.Equal(t, versions[r.Path], r.Version, r.Path)
		}
	}
}

// A program that requires Bindery is compared with one that requires go-tuf only.
func TestEmbedding(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two programs")
	}
	version := strings.TrimSpace(goCommand(t, ".", "list", "-m", "-f", "{{.Version}}", gotuf))
	root, err := filepath.Abs(top)
	require.NoError(t, err)

	less, err := embed(t, "require "+gotuf+" "+version+"\n", []string{gotuf + "/metadata"})
	if err != nil && os.Getenv("BINDERY_INTEROP") != "1" {
		t.Skipf("what go-tuf requires can't be had, perhaps because there is no network: %v", err)
	}
	require.NoError(t, err)
	more, err := embed(t, fmt.Sprintf("require %s v0.0.0\nreplace %[1]s => %s\n", module, root), []string{
		module + "/delegation", module + "/keys", module + "/keys/passphrase", module + "/keys/sshagent",
		module + "/repository", module + "/repository/dirjournal", module + "/repository/dirstore",
		module + "/repository/reconcile", module + "/repository/service", module + "/repository/web",
		module + "/roles", module + "/roles/ceremony",
	})
	require.NoError(t, err)

	var raised, added []string
	for path, version := range more.listed {
		switch before, ok := less.listed[path]; {
		case !ok:
			added = append(added, path)
		case before != version:
			raised = append(raised, path)
		}
	}
	slices.Sort(raised)
	t.Logf("%-10s %9s %9s %9s", "requires", "bytes", "linked", "listed")
	t.Logf("%-10s %9d %9d %9d", "go-tuf", less.size, len(less.linked), len(less.listed))
	t.Logf("%-10s %9d %9d %9d", "Bindery", more.size, len(more.linked), len(more.listed))
	t.Logf("versions raised: %d", len(raised))
	for _, path := range raised {
		t.Logf("    %s %s => %s", path, less.listed[path], more.listed[path])
	}

	require.Equal(t, linkedBeyond, slices.DeleteFunc(more.linked, func(path string) bool { return slices.Contains(less.linked, path) }))
	require.Equal(t, []string{module}, added)
	for _, path := range raised {
		require.Contains(t, raisedVersions, path)
	}
}

// embedding is what a program brings with it.
type embedding struct {
	size   int64
	linked []string          // paths of the modules in the binary, sorted
	listed map[string]string // versions of all modules that its go.mod leads to, by path
}

// embed builds a program that links packages, as a module that requires nothing else.
func embed(t *testing.T, requirements string, packages []string) (embedding, error) {
	t.Helper()
	dir := t.TempDir()
	source := "package main\n\nimport (\n"
	for _, path := range packages {
		source += fmt.Sprintf("\t_ %q\n", path)
	}
	source += ")\n\nfunc main() {}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/program\n\ngo 1.26.0\n\n"+requirements), 0o600))
	sums, err := os.ReadFile(filepath.Join(top, "go.sum"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o600))

	var e embedding
	if _, err := goIn(t, dir, "build", "-o", "program", "."); err != nil {
		return e, err
	}
	info, err := os.Stat(filepath.Join(dir, "program"))
	require.NoError(t, err)
	e.size = info.Size()
	out, err := goIn(t, dir, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", ".")
	if err != nil {
		return e, err
	}
	linked := map[string]bool{}
	for _, path := range strings.Fields(out) {
		linked[path] = true
	}
	e.linked = slices.Sorted(maps.Keys(linked))
	out, err = goIn(t, dir, "list", "-m", "-f", "{{if not .Main}}{{.Path}} {{.Version}}{{end}}", "all")
	if err != nil {
		return e, err
	}
	e.listed = map[string]string{}
	for line := range strings.Lines(out) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			e.listed[path] = version
		}
	}
	return e, nil
}

// goIn returns what the go command prints in a directory, in a module whose go.mod it may
// complete.
func goIn(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return string(out), err
}
