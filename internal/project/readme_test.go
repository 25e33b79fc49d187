package project_test

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// readmeBlocks are the Go blocks of the README, by the first function in each, with what shows
// that a reader can use it. A new block gets an entry.
var readmeBlocks = map[string]func(t *testing.T, block string){
	"publish": func(t *testing.T, block string) {
		require.Equal(t, function(t, "../../repository/example_test.go", "publish"), block)
		if testing.Short() {
			t.Skip("it builds a program")
		}
		runPublish(t, readmeProgram(t, "publish", block))
	},
}

// The README's Go code is compiled outside of this module, and run.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	left := maps.Clone(readmeBlocks)
	for _, found := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1) {
		block := string(found[1])
		name := regexp.MustCompile(`(?m)^func (\w+)`).FindStringSubmatch(block)
		require.NotNil(t, name, "no test knows how to run this block of the README:\n%s", block)
		run := left[name[1]]
		require.NotNil(t, run, "no test knows how to run this block of the README, or it is there twice:\n%s", block)
		delete(left, name[1])
		t.Run(name[1], func(t *testing.T) { run(t, block) })
	}
	require.Empty(t, slices.Collect(maps.Keys(left)), "the README has these blocks no more")
}

// readmeProgram builds a block and the main function in testdata/readme, and returns the program.
func readmeProgram(t *testing.T, name, block string) string {
	t.Helper()
	root, err := filepath.Abs(top)
	require.NoError(t, err)
	main, err := os.ReadFile(filepath.Join("testdata", "readme", name+".go"))
	require.NoError(t, err)
	sums, err := os.ReadFile(filepath.Join(top, "go.sum"))
	require.NoError(t, err)
	dir := t.TempDir()
	for file, content := range map[string]string{
		"go.mod":   "module example.com/index\n\ngo 1.26.0\n\nrequire " + module + " v0.0.0\nreplace " + module + " => " + root + "\n",
		"go.sum":   string(sums),
		"main.go":  string(main),
		"block.go": "package main\n\n" + block,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
	}
	_, err = goIn(t, dir, "build", "-o", "program", ".")
	require.NoError(t, err)
	return filepath.Join(dir, "program")
}

func runPublish(t *testing.T, program string) {
	t.Helper()
	dir := t.TempDir()
	layout, err := delegation.New("bins", 16, delegation.Succinct)
	require.NoError(t, err)
	ceremony := repotest.NewCeremony(t, layout, time.Now())
	store, err := dirstore.Create(filepath.Join(dir, "metadata"))
	require.NoError(t, err)
	_, err = dirstore.CreateTargets(filepath.Join(dir, "targets"))
	require.NoError(t, err)
	journal, err := dirjournal.Create(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	repo, err := repository.Create(t.Context(), repository.Config{
		Store: store, Journal: journal, Bins: ceremony.Bins, Snapshot: ceremony.Online, Timestamp: ceremony.Online,
	}, ceremony.Documents())
	require.NoError(t, err)
	require.NoError(t, repo.Close())
	for name, key := range map[string]keys.Signer{"bins.key": ceremony.Bins, "online.key": ceremony.Online} {
		require.NoError(t, keys.WriteFile(filepath.Join(dir, name), key.(*keys.MemorySigner), []byte("correct horse")))
	}

	out, err := exec.CommandContext(t.Context(), program, dir, filepath.Join(dir, "bins.key"), filepath.Join(dir, "online.key"), "correct horse").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "published in generation 2\n", string(out))
	reader, err := dirjournal.OpenReader(filepath.Join(dir, "journal"))
	require.NoError(t, err)
	for finding, err := range audit.Run(t.Context(), store, audit.Config{Journal: reader, Targets: os.DirFS(filepath.Join(dir, "targets"))}) {
		require.NoError(t, err)
		require.NotEqual(t, audit.Error, finding.Severity, "%v", finding)
	}
	content, err := os.ReadFile(filepath.Join(dir, "targets", "demo", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824.demo-1.0.tar.gz"))
	require.NoError(t, err)
	require.Equal(t, "hello", string(content))
}

// function returns the source of a function with its doc comment, below the
// imports that it uses.
func function(t *testing.T, file, name string) string {
	t.Helper()
	source, err := os.ReadFile(file)
	require.NoError(t, err)
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			body := string(source[files.Position(f.Doc.Pos()).Offset:files.Position(f.End()).Offset]) + "\n"
			return importsOf(t, parsed, files, f) + "\n" + body
		}
	}
	require.FailNow(t, "no function "+name)
	return ""
}

// importsOf returns the declaration of a file's imports without those that f does
// not use, in the same groups.
func importsOf(t *testing.T, file *ast.File, files *token.FileSet, f *ast.FuncDecl) string {
	t.Helper()
	used := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	var lines strings.Builder
	last := 0 // line of the import before
	for _, spec := range file.Imports {
		line := files.Position(spec.Pos()).Line
		if last != 0 && line > last+1 && lines.Len() > 0 {
			lines.WriteString("\n")
		}
		last = line
		require.Nil(t, spec.Name)
		imported, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		if used[path.Base(imported)] {
			lines.WriteString(spec.Path.Value + "\n")
		}
	}
	source, err := format.Source([]byte("import (\n" + lines.String() + ")\n"))
	require.NoError(t, err)
	return string(source)
}
