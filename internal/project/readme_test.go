package project_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The Go code in the README is the function of the same name in the example of
// package repository, which is compiled and run.
func TestReadmeShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	require.Len(t, blocks, 1)
	require.Equal(t, function(t, "../../repository/example_test.go", "publish"), string(blocks[0][1]))
}

// function returns the source of a function with its doc comment.
func function(t *testing.T, file, name string) string {
	t.Helper()
	source, err := os.ReadFile(file)
	require.NoError(t, err)
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.ParseComments|parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			return string(source[files.Position(f.Doc.Pos()).Offset:files.Position(f.End()).Offset]) + "\n"
		}
	}
	require.FailNow(t, "no function "+name)
	return ""
}
