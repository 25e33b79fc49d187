package project_test

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// layers are the packages of all modules, from the lowest to the highest; a "/..." stands for
// all below it. A package imports from lower layers only: a store is built without
// a journal, an example without another. No two packages of one layer are an
// exception; one that must be is given a layer of its own. The first entry that
// matches decides.
var layers = [][]string{
	{"internal/cjson", "internal/jsontext", "internal/schema", "internal/disk", "internal/excerpt", "internal/interrupt", "internal/columns", "internal/material", "internal/parallel", "internal/pinned", "internal/thorough"},
	{"internal/crashfs"},
	{"keys"},
	{"keys/remote"}, // what some of those share
	{"keys/..."},    // each place where a key can live, and the suite for them
	{"roles"},
	{"delegation"},
	{"roles/ceremony"},
	{"internal/clients", "repository/ledger"},
	{"repository"},
	{"internal/ondisk"},    // how tests put our stores and journals on a disk of theirs
	{"repository/service"}, // the engine, supervised; it is not given a store or journal of ours
	{"repository/bucket"},  // what some stores share
	{"repository/..."},     // stores, journals, and the suites for them
	{"internal/faulty", "internal/tufclient", "internal/repotest", "internal/mutation", "internal/pgtest", "internal/s3test"}, // what tests are made of
	{"internal/benchmark"}, // what programs share that measure
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

// A file may be for one machine, or for one tag: each is looked at.
func TestImportsPointDown(t *testing.T) {
	folders := modules(t)
	for _, folder := range folders {
		for _, goos := range []string{"linux", "darwin", "windows"} {
			for _, tags := range []string{"", "pkcs11"} {
				requireDown(t, folders, listFor(t, []string{"GOOS=" + goos, "CGO_ENABLED=1"}, folder, "-tags", tags, "./..."))
			}
		}
	}
}

func requireDown(t *testing.T, folders []string, packages map[string]goPackage) {
	t.Helper()
	require.NotEmpty(t, packages)
	for path, p := range packages {
		require.GreaterOrEqualf(t, layerOf(path), 0, "%s is in no layer", path)
		for _, imported := range p.Imports {
			require.Truef(t, mayImport(folders, p, imported), "%s must not import %s", path, imported)
		}
	}
}

// mayImport applies the layers, and the two rules for modules. The root's packages import
// no nested module's, or whoever embeds them would get that module too. A nested
// module's packages import no other module's internal packages, because a user may
// upgrade one module alone; its programs may, because they are built from this tree.
func mayImport(folders []string, p goPackage, imported string) bool {
	if !strings.HasPrefix(imported, module+"/") {
		return true
	}
	from, to := moduleOf(folders, p.ImportPath), moduleOf(folders, imported)
	switch {
	case layerOf(imported) >= layerOf(p.ImportPath):
		return false
	case from == ".":
		return to == "."
	case from != to && p.Name != "main":
		return !strings.Contains(imported, "/internal/")
	}
	return true
}

func TestMayImport(t *testing.T) {
	folders := []string{".", "examples/kms", "keys/awskms", "keys/remote"}
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

		{"keys/awskms", "keys", true},
		{"keys/awskms", "keys/remote", true},
		{"keys/remote", "keys/awskms", false},
		{"keys/awskms", "internal/disk", false},
		{"examples/kms", "internal/disk", true},
		{"examples/kms", "keys/awskms", true},
		{"examples/quickstart", "keys/awskms", false},
		{"internal/repotest", "keys/remote", false},
	} {
		p := goPackage{ImportPath: module + "/" + test.path, Name: "library"}
		if strings.HasPrefix(test.path, "examples/") {
			p.Name = "main"
		}
		require.Equal(t, test.may, mayImport(folders, p, module+"/"+test.imported), "%s imports %s", test.path, test.imported)
	}
	require.True(t, mayImport(folders, goPackage{ImportPath: module + "/internal/cjson"}, "golang.org/x/text/unicode/norm"))
}

// What lies in internal for tests must not be linked into a user's program.
func TestNoTestCodeInPrograms(t *testing.T) {
	for _, folder := range modules(t) {
		if folder != "." && !strings.HasPrefix(folder, "examples/") {
			continue
		}
		pattern := "./..."
		switch folder {
		case ".":
			pattern = "./examples/..."
		case "examples/publisher":
			pattern = "." // its demo, which nobody starts from, has a throw-away database and bucket
		}
		for _, p := range list(t, folder, "-deps", pattern) {
			for _, name := range []string{"internal/repotest", "internal/faulty", "internal/crashfs", "internal/mutation", "internal/thorough", "keys/keystest", "repository/storetest"} {
				require.NotEqual(t, module+"/"+name, p.ImportPath)
			}
			require.NotEqual(t, "testing", p.ImportPath)
		}
	}
}

func TestBannedDependencies(t *testing.T) {
	for name, prefixes := range banned {
		for _, p := range list(t, ".", "-deps", "./"+name) {
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
	Name       string
	Imports    []string
}

// list returns what go list says of the packages named, by import path, in the module in
// a folder.
func list(t *testing.T, folder string, args ...string) map[string]goPackage {
	t.Helper()
	return listFor(t, nil, folder, args...)
}

// listFor is list with more variables in go list's environment.
func listFor(t *testing.T, env []string, folder string, args ...string) map[string]goPackage {
	t.Helper()
	out := goCommandFor(t, env, folder, append([]string{"list", "-json=ImportPath,Name,Imports"}, args...)...)
	packages := map[string]goPackage{}
	for decoder := json.NewDecoder(strings.NewReader(out)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		require.NoError(t, err)
		packages[p.ImportPath] = p
	}
}
