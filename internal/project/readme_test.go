package project_test

import (
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// readmeBlocks are the Go blocks of the README, by the first function in each, with what shows
// that a reader can use it. A new block gets an entry.
var readmeBlocks = map[string]func(t *testing.T, block string){
	"run": func(t *testing.T, block string) { // the tests of examples/embed run it
		source, err := os.ReadFile("../../examples/embed/main.go")
		require.NoError(t, err)
		parsed, err := parser.ParseFile(token.NewFileSet(), "block.go", "package main\n\n"+block, parser.SkipObjectResolution)
		require.NoError(t, err)
		require.NotEmpty(t, parsed.Decls)
		for part := range strings.SplitSeq(strings.TrimSuffix(block, "\n"), "\n\n") {
			require.Contains(t, string(source), part)
		}
		if testing.Short() {
			t.Skip("it builds a program")
		}
		buildOutside(t, string(source))
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

// buildOutside builds a program of a user's.
func buildOutside(t *testing.T, main string) {
	t.Helper()
	root, err := filepath.Abs(top)
	require.NoError(t, err)
	sums, err := os.ReadFile(filepath.Join(top, "go.sum"))
	require.NoError(t, err)
	dir := t.TempDir()
	for file, content := range map[string]string{
		"go.mod":  "module example.com/index\n\ngo 1.26.0\n\nrequire " + module + " v0.0.0\nreplace " + module + " => " + root + "\n",
		"go.sum":  string(sums),
		"main.go": main,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
	}
	_, err = goIn(t, dir, "build", "-o", "program", ".")
	require.NoError(t, err)
}
