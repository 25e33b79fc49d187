package project_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/bindery-tuf/bindery"

// layers are the packages from the lowest to the highest; a "/..." stands for
// all below it. A package imports from lower layers only: a store is built without
// a journal, an example without another. No two packages of one layer are an
// exception; one that must be is given a layer of its own. The first entry that
// matches decides.
var layers = [][]string{
	{"internal/cjson", "internal/jsontext", "internal/schema", "internal/disk"},
	{"internal/crashfs"},
	{"keys"},
	{"keys/remote"}, // what some of those share
	{"keys/..."},    // each place where a key can live, and the suite for them
	{"roles"},
	{"delegation"},
	{"roles/ceremony"},
	{"repository"},
	{"repository/..."}, // stores, journals, and the suites for them
	{"internal/faulty", "internal/repotest", "internal/mutation"}, // what tests are made of
	{"internal/crashpoints"},
	{"internal/interop"}, // others' clients
	{"internal/..."},     // tests of the whole, and commands
	{"examples/..."},
}

// keys and roles hold no cloud SDK, so that a ceremony's program stays small
// enough to be read, and keys no TUF implementation either.
var banned = map[string][]string{
	"keys":  {"github.com/theupdateframework/", "github.com/aws/", "cloud.google.com/", "google.golang.org/", "github.com/Azure/", "net/http"},
	"roles": {"github.com/aws/", "cloud.google.com/", "google.golang.org/grpc", "google.golang.org/api", "github.com/Azure/"},
}

func TestImportsPointDown(t *testing.T) {
	packages := list(t, "./...")
	require.Contains(t, packages, module+"/repository")
	for path, p := range packages {
		require.GreaterOrEqualf(t, layerOf(path), 0, "%s is in no layer", path)
		for _, imported := range p.Imports {
			require.Truef(t, mayImport(path, imported), "%s must not import %s", path, imported)
		}
	}
}

func mayImport(path, imported string) bool {
	return !strings.HasPrefix(imported, module+"/") || layerOf(imported) < layerOf(path)
}

func TestMayImport(t *testing.T) {
	for _, test := range []struct {
		path, imported string
		may            bool
	}{
		{"repository/dirstore", "repository", true},
		{"repository/dirstore", "internal/disk", true},
		{"examples/quickstart", "repository/dirstore", true},
		{"repository", "repository/dirstore", false},
		{"repository/dirstore", "repository/dirjournal", false},
		{"repository/dirjournal", "repository/dirstore", false},
		{"repository/dirstore", "internal/repotest", false},
		{"examples/quickstart", "examples/other", false},
		{"keys/keystest", "keys/other", false},
		{"internal/cjson", "internal/schema", false},
		{"keys", "roles", false},
	} {
		require.Equal(t, test.may, mayImport(module+"/"+test.path, module+"/"+test.imported), "%s imports %s", test.path, test.imported)
	}
	require.True(t, mayImport(module+"/internal/cjson", "golang.org/x/text/unicode/norm"))
}

// What lies in internal for tests must not be linked into a user's program.
func TestNoTestCodeInPrograms(t *testing.T) {
	for _, p := range list(t, "-deps", "./examples/...") {
		for _, name := range []string{"internal/repotest", "internal/faulty", "internal/crashfs", "internal/mutation", "keys/keystest", "repository/storetest"} {
			require.NotEqual(t, module+"/"+name, p.ImportPath)
		}
		require.NotEqual(t, "testing", p.ImportPath)
	}
}

func TestBannedDependencies(t *testing.T) {
	for name, prefixes := range banned {
		for _, p := range list(t, "-deps", "./"+name) {
			for _, prefix := range prefixes {
				require.Falsef(t, strings.HasPrefix(p.ImportPath, prefix), "%s depends on %s", name, p.ImportPath)
			}
		}
	}
}

// layerOf returns the place of a package in layers, or -1.
func layerOf(path string) int {
	name := strings.TrimPrefix(path, module+"/")
	return slices.IndexFunc(layers, func(layer []string) bool {
		return slices.ContainsFunc(layer, func(pattern string) bool {
			below, all := strings.CutSuffix(pattern, "...")
			return name == pattern || all && strings.HasPrefix(name, below)
		})
	})
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

// list returns what go list says of the packages named, by import path.
func list(t *testing.T, args ...string) map[string]goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	packages := map[string]goPackage{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages[p.ImportPath] = p
	}
}
