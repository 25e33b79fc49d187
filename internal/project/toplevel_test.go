package project_test

import (
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// At the top level are the packages and what a user looks for first. The rest
// (contributing, security policy, changelog) is in .github.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("../..")
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	require.Equal(t, []string{
		"LICENSE", "README.md", "delegation", "examples", "go.mod", "go.sum", "internal", "keys", "repository", "roles",
	}, names)
}

// The README has people make indexes in this folder, keys included.
func TestIndexesAreIgnored(t *testing.T) {
	ignored, err := os.ReadFile("../../.gitignore")
	require.NoError(t, err)
	require.Subset(t, strings.Split(string(ignored), "\n"), []string{"/index/", "/shop/", "/trial/"})
}

// A file is a story that is looked for under its name. These names tell nothing.
func TestFilesHaveNames(t *testing.T) {
	for _, folder := range modules(t) {
		files := strings.Fields(goCommand(t, folder, "list", "-f",
			`{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .TestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}`, "./..."))
		require.NotEmpty(t, files, folder)
		for _, name := range files {
			require.NotContains(t, []string{"utils.go", "util.go", "helpers.go", "common.go"}, path.Base(name))
		}
	}
}
