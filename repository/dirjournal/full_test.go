package dirjournal_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/smalldisk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// TestFullDisk fills a real file system, again and again. Whatever doesn't fit is refused and
// nothing else, the journal can be read, closed and opened meanwhile, and goes on when there
// is room.
func TestFullDisk(t *testing.T) {
	smalldisk.Run(t, 512<<10, func(t *testing.T, disk string) {
		dir, filler := filepath.Join(disk, "journal"), filepath.Join(disk, "filler")
		j, err := dirjournal.Create(dir)
		require.NoError(t, err)
		var want []string
		refused := 0
		full := func(err error) {
			t.Helper()
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, "nothing was written; the call can be repeated")
			require.ErrorContains(t, err, disk)
			require.NotErrorIs(t, err, repository.ErrUnknown)
			require.NotErrorIs(t, err, repository.ErrClosed)
			refused++
		}
		agree := func() {
			t.Helper()
			b, err := j.Backlog(t.Context())
			require.NoError(t, err)
			require.Equal(t, len(want), b.Pending)
		}
		for n := range 12 {
			smalldisk.Fill(t, filler)
			for i, misses := 0, 0; misses < 3; i++ { // the last page has some room
				id := fmt.Sprintf("%02d-%03d", n, i)
				_, err := j.Enqueue(t.Context(), ledger.Entry{ID: id, Body: []byte(strings.Repeat("x", 300+137*n))})
				if err != nil {
					full(err)
					misses++
				} else {
					want = append(want, id)
				}
				agree()
			}
			_, _, err := j.Lead(t.Context())
			full(err)
			require.NoError(t, j.Close())
			// Nothing that is read needs a byte.
			j, err = dirjournal.Open(dir)
			require.NoError(t, err, "round %d", n)
			agree()
			r, err := dirjournal.OpenReader(dir)
			require.NoError(t, err)
			var got []string
			for s, err := range r.Read(t.Context(), ledger.FromBeginning) {
				require.NoError(t, err)
				got = append(got, s.Entry.ID)
			}
			require.Equal(t, want, got)

			require.NoError(t, os.Remove(filler))
			id := fmt.Sprintf("%02d-more", n)
			_, err = j.Enqueue(t.Context(), ledger.Entry{ID: id})
			require.NoError(t, err)
			want = append(want, id)
		}
		require.GreaterOrEqual(t, refused, 12*4)
		l, _, err := j.Lead(t.Context())
		require.NoError(t, err)
		var got []string
		for s, err := range l.Read(t.Context(), ledger.FromBeginning) {
			require.NoError(t, err)
			got = append(got, s.Entry.ID)
		}
		require.Equal(t, want, got)
		require.NoError(t, j.Close())
		tmp, err := filepath.Glob(filepath.Join(dir, "*.tmp"))
		require.NoError(t, err)
		require.Empty(t, tmp)
	})
}
