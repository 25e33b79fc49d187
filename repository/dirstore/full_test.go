package dirstore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/smalldisk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// TestFullDisk fills a real file system: what doesn't fit is refused by name and leaves
// nothing behind, what is there stays and can be read, and the store goes on when there is
// room.
func TestFullDisk(t *testing.T) {
	smalldisk.Run(t, 512<<10, func(t *testing.T, disk string) {
		dir, filler := filepath.Join(disk, "metadata"), filepath.Join(disk, "filler")
		_, err := dirstore.Create(dir)
		require.NoError(t, err)
		targets, err := dirstore.CreateTargets(filepath.Join(disk, "targets"))
		require.NoError(t, err)
		content := bytes.Repeat([]byte("x"), 10_000)
		for n := range 5 {
			s, err := dirstore.Open(dir)
			require.NoError(t, err)
			stamp := func(n int) []byte { return bytes.Repeat([]byte{byte('0' + n)}, 5000) }
			var before []byte
			if n > 0 {
				before = stamp(n - 1)
			}
			name := fmt.Sprintf("%d.bins-0.json", n)
			smalldisk.Fill(t, filler)
			for range 3 {
				for call, err := range map[string]error{
					"create": s.Create(ctx, name, content),
					"swap":   s.Swap(ctx, "timestamp.json", before, stamp(n)),
				} {
					require.ErrorIs(t, err, syscall.ENOSPC)
					require.ErrorContains(t, err, call+" ")
					require.ErrorContains(t, err, dir)
				}
				_, err := targets.Put(ctx, fmt.Sprintf("a%d/b.whl", n), bytes.NewReader(content))
				require.ErrorIs(t, err, syscall.ENOSPC)
			}
			_, err = s.Get(ctx, name)
			require.ErrorIs(t, err, repository.ErrNotExist)
			if n > 0 {
				data, err := s.Get(ctx, "timestamp.json")
				require.NoError(t, err)
				require.Equal(t, before, data)
			}
			for _, store := range []string{dir, filepath.Join(disk, "targets")} {
				own, err := os.ReadDir(filepath.Join(store, ".bindery"))
				require.NoError(t, err)
				require.Len(t, own, 1, "nothing but the format file")
			}

			require.NoError(t, os.Remove(filler))
			require.NoError(t, s.Create(ctx, name, content))
			require.NoError(t, s.Swap(ctx, "timestamp.json", before, stamp(n)))
			_, err = targets.Put(ctx, fmt.Sprintf("a%d/b.whl", n), bytes.NewReader(content))
			require.NoError(t, err)
		}
	})
}
