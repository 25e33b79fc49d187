//go:build !race

package roles_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles"
)

// The allocations of the hot paths don't depend on what a document holds, only on
// the edits. The bounds leave some room: they catch an allocation for each target.
func TestAllocations(t *testing.T) {
	signer := binSigner(t)
	edits := []roles.TargetEdit{put(target("packages/new", 1))}
	for _, n := range []int{1, 140, 3000} {
		bin := fullBin(t, n)
		file, err := bin.Sign(t.Context(), signer)
		require.NoError(t, err)
		count := func(want float64, what string, f func() error) {
			got := testing.AllocsPerRun(20, func() { require.NoError(t, f()) })
			require.LessOrEqual(t, got, want, "%s a bin of %d targets", what, n)
		}
		count(30, "open", func() error {
			_, err := roles.OpenBin(file)
			return err
		})
		count(30, "edit", func() error {
			_, err := bin.Edit(9, binExpires, edits)
			return err
		})
		count(20, "sign", func() error {
			_, err := bin.Sign(t.Context(), signer)
			return err
		})
	}
	for _, n := range []int{2, 16_384} {
		s := fullSnapshot(t, n)
		var edits []roles.MetaEdit
		for i := range n / 2 {
			edits = append(edits, roles.MetaEdit{Role: fmt.Sprintf("bins-%04x", 2*i), Version: 20_000})
		}
		got := testing.AllocsPerRun(5, func() {
			_, err := s.Edit(2, binExpires, edits)
			require.NoError(t, err)
		})
		require.LessOrEqual(t, got, float64(30+4*len(edits)), "edit half of %d bins of a snapshot", n)
		s, err := s.Edit(2, binExpires, edits)
		require.NoError(t, err)
		got = testing.AllocsPerRun(5, func() {
			_, err := s.Sign(t.Context(), signer)
			require.NoError(t, err)
		})
		require.LessOrEqual(t, got, 20.0, "sign a snapshot of %d bins", n)
	}
}

// Who keeps a signed file, as a cache does, keeps little more than its bytes: whatever
// the bin held before, and whatever was replaced.
func TestMemoryOfSignedFiles(t *testing.T) {
	const bins = 200
	signer := binSigner(t)
	full := fullBin(t, 140)
	var remove, replace []roles.TargetEdit
	for target, err := range full.Targets() {
		require.NoError(t, err)
		remove = append(remove, roles.TargetEdit{Path: target.Path})
		target.Length++
		replace = append(replace, put(target))
	}
	for what, edits := range map[string][]roles.TargetEdit{"renewed": nil, "emptied": remove, "replaced": replace} {
		files := make([][]byte, bins)
		before, bytes := heap(), 0
		for i := range files {
			bin, err := full.Edit(9, binExpires, edits)
			require.NoError(t, err)
			files[i], err = bin.Sign(t.Context(), signer)
			require.NoError(t, err)
			bytes += len(files[i])
		}
		require.Less(t, heap()-before, bytes+bytes/4+bins*256, what)
		runtime.KeepAlive(files)
	}
}

// heap is how many bytes are in use.
func heap() int {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
