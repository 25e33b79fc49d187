package project_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/thorough"
)

// Every public package has an example that a user can copy: it is in an external test package,
// imports nothing internal, and compiles without the package's other tests.
func TestEveryPackageHasAnExample(t *testing.T) {
	for _, folder := range modules(t) {
		root, err := filepath.Abs(filepath.Join(top, filepath.FromSlash(folder)))
		require.NoError(t, err)
		overlay := map[string]string{}
		var copies []string
		for line := range strings.Lines(goCommand(t, folder, "list", "-f", "{{.ImportPath}}|{{.Name}}|{{.Dir}}|{{join .XTestGoFiles \"|\"}}", "./...")) {
			fields := strings.Split(strings.TrimSpace(line), "|")
			path, name, dir := fields[0], fields[1], fields[2]
			if name == "main" || strings.Contains(path+"/", "/internal/") {
				continue
			}
			examples := exampleFiles(t, dir, fields[3:])
			require.NotEmptyf(t, examples, "%s has no example in package %s_test", path, name)
			copied := fmt.Sprintf("%s/%d", programDir, len(copies))
			copies = append(copies, "./"+copied)
			for _, file := range examples {
				// Not as tests: those are linked, which takes longer.
				overlay[filepath.Join(root, filepath.FromSlash(copied), strings.TrimSuffix(file, "_test.go")+".go")] = filepath.Join(dir, file)
			}
		}
		if len(copies) == 0 || !thorough.Long() { // the tests of the packages compile them too
			continue
		}
		replace, err := json.Marshal(map[string]any{"Replace": overlay})
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "overlay.json")
		require.NoError(t, os.WriteFile(file, replace, 0o600))
		goCommand(t, folder, append([]string{"build", "-overlay", file}, copies...)...)
	}
}

// exampleFiles returns those of a package's external test files that have an example. None may
// import anything internal of ours.
func exampleFiles(t *testing.T, dir string, files []string) (examples []string) {
	t.Helper()
	for _, file := range files {
		if file == "" {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, file), nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		if !hasExample(parsed) {
			continue
		}
		examples = append(examples, file)
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			require.Falsef(t, strings.HasPrefix(imported, module+"/") && strings.Contains(imported, "/internal/"), "the example in %s/%s imports %s", dir, file, imported)
		}
	}
	return examples
}

func hasExample(file *ast.File) bool {
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Example") {
			return true
		}
	}
	return false
}
