package project_test

import (
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The Go code in the README is a function in the example of package repository,
// which is compiled and run, with the imports that the function needs.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	require.Len(t, blocks, 1)
	require.Equal(t, function(t, "../../repository/example_test.go", "publish"), string(blocks[0][1]))
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
