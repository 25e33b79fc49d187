package project_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the path of the root module. A nested one has that of its folder below it.
const module = "github.com/bindery-tuf/bindery"

const top = "../.."

// modules returns the folders of all modules, from the top and with slashes. The root's
// is ".", and the first.
func modules(t *testing.T) []string {
	t.Helper()
	var folders []string
	require.NoError(t, filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != top && (d.Name()[0] == '.' || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.Name() == "go.work":
			return errors.New("there is a " + name)
		case d.Name() != "go.mod":
			return nil
		}
		folder, err := filepath.Rel(top, filepath.Dir(name))
		folders = append(folders, filepath.ToSlash(folder))
		return err
	}))
	slices.Sort(folders)
	return folders
}

// moduleOf returns the folder of the module that a package of ours belongs to.
func moduleOf(folders []string, path string) string {
	of := "."
	for _, folder := range folders {
		if strings.HasPrefix(path+"/", module+"/"+folder+"/") && (of == "." || len(folder) > len(of)) {
			of = folder
		}
	}
	return of
}

// goMod is what the tests look at in a go.mod file.
type goMod struct {
	Module  struct{ Path string }
	Go      string
	Require []struct {
		Path, Version string
	}
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
	Tool []struct{ Path string }
}

func readGoMod(t *testing.T, file string) goMod {
	t.Helper()
	var m goMod
	require.NoError(t, json.Unmarshal([]byte(goCommand(t, ".", "mod", "edit", "-json", file)), &m))
	return m
}

// A nested module requires our other modules at v0.0.0, and replaces each by its folder:
// a clone is all that building it takes. The root requires no nested module. Only the modules
// that are there to pin tools have tools.
func TestModules(t *testing.T) {
	var root goMod
	for i, folder := range modules(t) {
		m := readGoMod(t, folder+"/go.mod")
		if i == 0 {
			root = m
		}
		require.Equal(t, path.Join(module, folder), m.Module.Path)
		require.Equal(t, root.Go, m.Go, folder)

		required, replaced := map[string]string{}, map[string]string{}
		for _, r := range m.Require {
			if r.Path == module || strings.HasPrefix(r.Path, module+"/") {
				require.Equal(t, "v0.0.0", r.Version, "%s requires %s", folder, r.Path)
				up, err := filepath.Rel(filepath.FromSlash(folder), filepath.FromSlash("./"+strings.TrimPrefix(r.Path, module)))
				require.NoError(t, err)
				required[r.Path] = filepath.ToSlash(up)
			}
		}
		for _, r := range m.Replace {
			require.Empty(t, r.Old.Version, "%s replaces %s", folder, r.Old.Path)
			replaced[r.Old.Path] = r.New.Path
		}
		require.Equal(t, required, replaced, folder)
		if folder == "." {
			require.Empty(t, required)
		}
		if !slices.Contains(toolModules, folder) {
			require.Empty(t, m.Tool, folder)
		}
	}
}

// toolModules pin programs that checks and tests run, and nothing else requires them.
var toolModules = []string{"internal/tools", "internal/versitygw", "internal/fakegcs"}

// goCommand returns what the go command prints in a folder, given from the top.
func goCommand(t *testing.T, folder string, args ...string) string {
	t.Helper()
	return goCommandFor(t, nil, folder, args...)
}

// goCommandFor is goCommand with more variables in the environment.
func goCommandFor(t *testing.T, env []string, folder string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = filepath.Join(top, filepath.FromSlash(folder))
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return string(out)
}
