package dirstore_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

func TestStore(t *testing.T) {
	storetest.TestStore(t, func(t *testing.T) repository.Store {
		s, err := dirstore.Create(filepath.Join(t.TempDir(), "store"))
		require.NoError(t, err)
		return s
	})
}

// Each call of the store fails at each of its calls on the disk, before and
// after that did its work. Then only the old or the new is there, whole, and the
// same call again succeeds.
func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		before, after map[string]string // but for the format file
		call          func(s *dirstore.Store) error
		disk          int // calls
	}{
		"create": {
			map[string]string{}, map[string]string{"a": "new"},
			func(s *dirstore.Store) error { return s.Create(ctx, "a", []byte("new")) }, 7,
		},
		"create again": {
			map[string]string{"a": "new"}, map[string]string{"a": "new"},
			func(s *dirstore.Store) error { return s.Create(ctx, "a", []byte("new")) }, 9,
		},
		"swap from nothing": {
			map[string]string{}, map[string]string{"a": "new"},
			func(s *dirstore.Store) error { return s.Swap(ctx, "a", nil, []byte("new")) }, 8,
		},
		"swap": {
			map[string]string{"a": "old"}, map[string]string{"a": "new"},
			func(s *dirstore.Store) error { return s.Swap(ctx, "a", []byte("old"), []byte("new")) }, 8,
		},
		"delete": {
			map[string]string{"a": "old"}, map[string]string{},
			func(s *dirstore.Store) error { return s.Delete(ctx, "a") }, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.before[".bindery/format"], test.after[".bindery/format"] = format, format
			for _, worked := range []bool{false, true} {
				for at := 0; ; at++ {
					s, fsys, dir := newStore(t)
					if old, ok := test.before["a"]; ok {
						require.NoError(t, s.Create(ctx, "a", []byte(old)))
					}
					fsys.reset(func(n int, _ string) *fault {
						if n == at {
							return &fault{worked}
						}
						return nil
					})
					err := test.call(s)
					if at == len(fsys.took()) {
						require.NoError(t, err)
						require.Equal(t, test.disk, at)
						break
					}
					failed := fsys.took()[at]
					found := tree(t, dir)
					if failed == "remove tmp" || fsys.hits == 0 { // leaves a stray, no more
						require.NoError(t, err)
						require.Equal(t, test.after["a"], found["a"])
						continue
					}
					require.ErrorIs(t, err, errInjected, failed)
					require.NotErrorIs(t, err, repository.ErrConflict)
					require.ErrorContains(t, err, `"a" in `+dir)
					require.Contains(t, []map[string]string{test.before, test.after}, found, failed)

					fsys.reset(nil)
					require.NoError(t, test.call(s), failed)
					require.Equal(t, test.after, tree(t, dir), failed)
				}
			}
		})
	}
}
