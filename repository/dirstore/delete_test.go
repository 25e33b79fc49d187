package dirstore_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

func removed(t roles.Target) ledger.RemovedTarget {
	return ledger.RemovedTarget{Path: t.Path, Hashes: t.Hashes}
}

// age makes all files look old.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	require.NoError(t, filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chtimes(name, old, old)
		}
		return err
	}))
}

// put keeps two targets, and returns the first one.
func put(t *testing.T, s *dirstore.Targets) ledger.RemovedTarget {
	t.Helper()
	target, err := s.Put(ctx, "a/b/file.whl", strings.NewReader(content), "sha512")
	require.NoError(t, err)
	_, err = s.Put(ctx, "a/b/other.whl", strings.NewReader(content))
	require.NoError(t, err)
	return removed(target)
}

func TestDelete(t *testing.T) {
	s, fsys, dir := newTargets(t)
	target := put(t, s)
	full := tree(t, dir)
	require.ErrorContains(t, s.Delete(ctx, target), "it was stored less than an hour ago")
	require.Equal(t, full, tree(t, dir))

	age(t, dir)
	_, err := s.Put(ctx, target.Path, strings.NewReader(content)) // again, under one of its names
	require.NoError(t, err)
	require.ErrorContains(t, s.Delete(ctx, target), "it was stored less than an hour ago")
	require.Equal(t, full, tree(t, dir))

	age(t, dir)
	fsys.reset(nil)
	require.NoError(t, s.Delete(ctx, target))
	require.Equal(t, map[string]string{".bindery/format": targetFormat, "a/b/" + sum256 + ".other.whl": content}, tree(t, dir))
	require.Equal(t, []string{
		"rename tmp", "remove tmp", "rename tmp", "remove tmp", "syncdir b",
	}, fsys.took())
	require.NoError(t, s.Delete(ctx, target), "it can be repeated")
	target.Path = "never/stored.whl"
	require.NoError(t, s.Delete(ctx, target))
}

// Another process puts the file again just before it is removed.
func TestDeleteMeetsPut(t *testing.T) {
	s, fsys, dir := newTargets(t)
	target := put(t, s)
	age(t, dir)
	full := tree(t, dir)
	other, err := dirstore.OpenTargets(dir)
	require.NoError(t, err)
	once := false
	fsys.gate = func(call string) {
		if call == "rename tmp" && !once {
			once = true
			_, err := other.Put(ctx, target.Path, strings.NewReader(content), "sha512")
			require.NoError(t, err)
		}
	}
	require.ErrorContains(t, s.Delete(ctx, target), "it was stored less than an hour ago")
	require.True(t, once)
	require.Equal(t, full, tree(t, dir))
}

// Whatever call on the disk fails, only files of the target are gone, and the next Delete completes it.
func TestDeleteUnderFaults(t *testing.T) {
	for _, worked := range []bool{false, true} {
		for at := 0; ; at++ {
			s, fsys, dir := newTargets(t)
			target := put(t, s)
			age(t, dir)
			fsys.reset(func(n int, _ string) *fault {
				if n == at {
					return &fault{worked}
				}
				return nil
			})
			err := s.Delete(ctx, target)
			if at == len(fsys.took()) {
				require.NoError(t, err)
				require.Equal(t, 5, at)
				break
			}
			require.ErrorIs(t, err, errInjected)
			fsys.reset(nil)
			require.NoError(t, s.Delete(ctx, target))
			left := tree(t, dir)
			require.Equal(t, content, left["a/b/"+sum256+".other.whl"])
			for name := range left {
				require.NotContains(t, name, "file.whl")
			}
		}
	}
}

func TestDeleteRefuses(t *testing.T) {
	s, fsys, _ := newTargets(t)
	for want, target := range map[string]ledger.RemovedTarget{
		"leads out":          {Path: "../outside", Hashes: map[string]string{"sha256": sum256}},
		"belongs to":         {Path: ".bindery/format", Hashes: map[string]string{"sha256": sum256}},
		"unknown hash":       {Path: "a", Hashes: map[string]string{"md5": sum256}},
		"no hash in lower":   {Path: "a", Hashes: map[string]string{"sha256": "../../" + sum256[6:]}},
		"is no hash":         {Path: "a", Hashes: map[string]string{"sha256": strings.ToUpper(sum256)}},
		"no hash":            {Path: "a"},
		"could be kept unde": {Path: sum256 + ".x/a", Hashes: map[string]string{"sha256": sum256}},
	} {
		err := s.Delete(ctx, target)
		require.ErrorIs(t, err, repository.ErrInvalid, want)
		if want != "leads out" {
			require.ErrorContains(t, err, want)
		}
	}
	require.Empty(t, fsys.took())
}
