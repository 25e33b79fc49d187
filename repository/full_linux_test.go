package repository_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/smalldisk"
	"github.com/bindery-tuf/bindery/internal/thorough"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
	"github.com/bindery-tuf/bindery/roles"
)

// A real file system that is full at every 192 kB of a generation of 4 MB: an attempt leaves
// nothing behind, signs each bin once at most, and the generation is published as soon as there
// is room for it.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	smalldisk.Run(t, 16<<20, testFullDisk)
}

func testFullDisk(t *testing.T, dir string) {
	const step = 192 << 10
	first, every := thorough.OneIn(9)
	filler := filepath.Join(dir, "filler")
	free := func() int64 {
		var s syscall.Statfs_t
		require.NoError(t, syscall.Statfs(dir, &s))
		return int64(s.Bavail) * int64(s.Bsize)
	}
	// leave makes a number of bytes free.
	leave := func(n int64) {
		require.NoError(t, os.RemoveAll(filler))
		require.NoError(t, os.WriteFile(filler, make([]byte, free()-n), 0o600))
		require.Equal(t, n, free())
	}
	synctest.Test(t, func(t *testing.T) {
		const bins = 16
		e := newEnv(t, bins, delegation.Succinct)
		place := filepath.Join(dir, "store")
		store, err := dirstore.Create(place)
		require.NoError(t, err)
		signer := &counting{Signer: e.ceremony.Bins}
		e.cfg.MaxCustomBytes = 64 << 10
		e.cfg.Bins, e.cfg.Store = signer, faulty.Store{Injector: e.inject, Inner: store}
		e.create()
		all := onePerBin(t, bins)
		large := func(n int) []roles.Target {
			var out []roles.Target
			for _, target := range all {
				for k := range 4 {
					target := changed(target, n)
					target.Path += fmt.Sprint("-", k) // of any bin
					target.Custom = json.RawMessage(`{"a":"` + strings.Repeat("x", 60_000) + `"}`)
					out = append(out, target)
				}
			}
			return out
		}
		used := map[string]bool{} // files of the generation that clients see
		// collect deletes what is superseded, as nobody does yet, and returns what the newest
		// generation takes.
		collect := func(gen int64) (size int64) {
			for info, err := range store.List(t.Context()) {
				require.NoError(t, err)
				version, role, _ := strings.Cut(info.Name, ".")
				if !strings.HasPrefix(role, "bins-") && role != "snapshot.json" {
					continue
				}
				if version == fmt.Sprint(gen) {
					size += (info.Size + 4095) / 4096 * 4096
					used[info.Name] = true
				} else if used[info.Name] || version == "1" {
					require.NoError(t, store.Delete(t.Context(), info.Name))
				} else {
					require.Fail(t, "left behind", info.Name)
				}
			}
			return size
		}
		e.run(func() { e.wait(e.add(large(0)...), repository.Published) })
		need := collect(2)
		require.Greater(t, need, int64(3<<20))
		gen := int64(2)
		for n := int64(first); n*step < need; n += int64(every) {
			leave(n * step)
			signer.calls.Store(0)
			e.inject.Plan(nil)
			receipt := e.add(large(int(n) + 1)...)
			e.run(func() {
				time.Sleep(time.Second)
				require.Equal(t, n*step, free(), "an attempt gives back what it took")
				counts := e.counted()
				attempts := counts["leader.Append intent"]
				require.LessOrEqual(t, attempts, 4)
				require.LessOrEqual(t, signer.calls.Load(), int64(bins*attempts))
				require.LessOrEqual(t, counts["store.Create"], (bins+1)*attempts)
				for room := n * step; ; room += step {
					o, err := e.repo.Outcome(t.Context(), receipt.ID())
					require.NoError(t, err)
					if o.State == repository.Published {
						gen = o.Generation
						return
					}
					require.Less(t, room, need+2*step, "there is room for a generation")
					room = max(room, need-need%step-step) // with less room others of these tests begin
					leave(room)
					time.Sleep(2 * time.Second)
				}
			})
			require.NoError(t, os.RemoveAll(filler))
			collect(gen)
		}
		e.close()
	})
}
