package tools

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

const (
	root    = "github.com/bindery-tuf/bindery"
	top     = "../.."
	version = "v0.1.0"
)

// A user's module outside the repository builds with released versions. Our modules come
// from a proxy that has what a release would put there: no folder replaces a module,
// and an archive has only its module's own files.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds an SDK")
	}
	proxy := t.TempDir()
	release(t, proxy)
	for _, user := range []struct {
		requires string
		program  string
		modules  []string // of ours, that are downloaded for it
		prints   string
	}{
		{
			requires: root,
			program: `package main

import (
	"context"
	"fmt"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

func main() {
	bins, err := delegation.New("bins", 16, delegation.Succinct)
	fmt.Println(bins.Len(), err)
	_, err = keys.Resolver{"file": keys.FileOpener(nil)}.Open(context.Background(), "awskms:key", nil)
	fmt.Println(err != nil)
	_, err = dirstore.Open("missing")
	_, err2 := dirjournal.Open("missing")
	_, err3 := repository.Open(context.Background(), repository.Config{})
	fmt.Println(err != nil, err2 != nil, err3 != nil)
}
`,
			modules: []string{root},
			prints:  "16 <nil>\ntrue\ntrue true true\n",
		},
		{
			requires: root + "/keys/awskms",
			program: `package main

import (
	"fmt"

	"github.com/bindery-tuf/bindery/keys/awskms"
)

func main() {
	_, err := awskms.New(awskms.Config{})
	fmt.Println(err)
}
`,
			modules: []string{root, root + "/keys/awskms", root + "/keys/remote"},
			prints:  "awskms: config: AWS has no credentials: aws-sdk-go-v2/config.LoadDefaultConfig finds them\n",
		},
	} {
		t.Run(user.requires, func(t *testing.T) {
			u := newUser(t, proxy, user.requires, user.program)
			require.Equal(t, user.prints, u.run("go", "run", "."))
			var got []string
			for decoder := json.NewDecoder(strings.NewReader(u.run("go", "list", "-deps", "-json=Module", "."))); ; {
				var p struct {
					Module *struct {
						Path, Version string
						Replace       *struct{}
					}
				}
				err := decoder.Decode(&p)
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
				if m := p.Module; m != nil && strings.HasPrefix(m.Path, root) {
					require.Equal(t, version, m.Version, m.Path)
					require.Nil(t, m.Replace, m.Path)
					got = append(got, m.Path)
				}
			}
			require.Subset(t, user.modules, got)
			require.ElementsMatch(t, user.modules, u.downloaded())
			u.run("go", "mod", "verify")
		})
	}
}

// release fills a proxy with one version of every module, as it is in the tree but for the
// versions in go.mod. The lines that replace modules by folders stay: they count only in
// the main module.
func release(t *testing.T, proxy string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(top, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != top && (d.Name()[0] == '.' || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.Name() == "go.mod":
			publish(t, proxy, filepath.Dir(name))
		}
		return nil
	}))
}

// publish puts the module in a folder into the proxy.
func publish(t *testing.T, proxy, folder string) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	require.NoError(t, err)
	parsed, err := modfile.Parse("go.mod", source, nil)
	require.NoError(t, err)
	for _, r := range parsed.Require {
		if strings.HasPrefix(r.Mod.Path+"/", root+"/") {
			require.NoError(t, parsed.AddRequire(r.Mod.Path, version))
		}
	}
	gomod, err := parsed.Format()
	require.NoError(t, err)

	v := module.Version{Path: parsed.Module.Mod.Path, Version: version}
	found, err := modzip.CheckDir(folder)
	require.NoError(t, err)
	var files []modzip.File
	for _, name := range found.Valid {
		name, err := filepath.Rel(folder, name)
		require.NoError(t, err)
		f := file{folder: folder, path: filepath.ToSlash(name)}
		if name == "go.mod" {
			f.contents = gomod
		}
		files = append(files, f)
	}
	var archive bytes.Buffer
	require.NoError(t, modzip.Create(&archive, v, files))

	escaped, err := module.EscapePath(v.Path)
	require.NoError(t, err)
	dir := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for name, contents := range map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": fmt.Appendf(nil, `{"Version": %q}`, version),
		version + ".mod":  gomod,
		version + ".zip":  archive.Bytes(),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), contents, 0o600))
	}
}

// file is one of a module's, with contents if they aren't those in the folder.
type file struct {
	folder, path string
	contents     []byte
}

func (f file) Path() string { return f.path }

func (f file) Lstat() (fs.FileInfo, error) {
	info, err := os.Lstat(filepath.Join(f.folder, f.path))
	if err == nil && f.contents != nil {
		info = sized{info, int64(len(f.contents))}
	}
	return info, err
}

func (f file) Open() (io.ReadCloser, error) {
	if f.contents != nil {
		return io.NopCloser(bytes.NewReader(f.contents)), nil
	}
	return os.Open(filepath.Join(f.folder, f.path))
}

type sized struct {
	fs.FileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }

// user is a module outside the repository.
type user struct {
	t          *testing.T
	dir, cache string
	env        []string
}

// newUser makes a module of one program that requires one of our modules. It has a module
// cache of its own, so that nothing of this release stays behind. What others publish
// comes from the machine's cache, which listing our module's packages has filled.
func newUser(t *testing.T, proxy, requires, program string) *user {
	t.Helper()
	folder := filepath.Join(top, filepath.FromSlash("./"+strings.TrimPrefix(requires, root)))
	sums, err := os.ReadFile(filepath.Join(folder, "go.sum"))
	require.NoError(t, err)
	here := &user{t: t, dir: folder}
	here.run("go", "list", "-deps", "./...")
	shared := here.run("go", "env", "GOMODCACHE")
	ambient := here.run("go", "env", "GOPROXY")

	u := &user{t: t, dir: t.TempDir(), cache: t.TempDir()}
	for name, contents := range map[string]string{
		"main.go": program,
		"go.mod":  fmt.Sprintf("module example.com/index\n\ngo 1.26.0\n\nrequire %s %s\n", requires, version),
		"go.sum":  string(sums), // ours are not in it, and added
	} {
		require.NoError(t, os.WriteFile(filepath.Join(u.dir, name), []byte(contents), 0o600))
	}
	u.env = append(os.Environ(),
		"GOWORK=off", "GOPRIVATE=", "GONOPROXY=none", "GONOSUMDB="+root,
		"GOFLAGS=-mod=mod -modcacherw -trimpath", // cleaning up, and the build cache
		"GOMODCACHE="+u.cache,
		"GOPROXY="+fileURL(proxy)+","+fileURL(filepath.Join(strings.TrimSpace(shared), "cache", "download"))+","+strings.TrimSpace(ambient))
	return u
}

func fileURL(dir string) string {
	return "file:///" + strings.TrimPrefix(filepath.ToSlash(dir), "/")
}

// run returns what a program prints in the module.
func (u *user) run(name string, args ...string) string {
	u.t.Helper()
	cmd := exec.CommandContext(u.t.Context(), name, args...)
	cmd.Dir, cmd.Env = u.dir, u.env
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(u.t, err, stderr.String())
	return string(out)
}

// downloaded returns the paths of our modules whose archives are in the user's cache.
func (u *user) downloaded() []string {
	u.t.Helper()
	var paths []string
	downloads := filepath.Join(u.cache, "cache", "download")
	require.NoError(u.t, filepath.WalkDir(filepath.Join(downloads, filepath.FromSlash(root)), func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == version+".zip" {
			var escaped, path string
			if escaped, err = filepath.Rel(downloads, filepath.Dir(filepath.Dir(name))); err != nil {
				return err
			}
			path, err = module.UnescapePath(filepath.ToSlash(escaped))
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}
