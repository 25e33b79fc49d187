//go:build !race

package roles_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles"
)

// The allocations of the hot paths don't depend on what a document holds, only on
// the edits. The counts are pinned: whoever lowers them may lower them here.
func TestAllocations(t *testing.T) {
	signer := binSigner(t)
	edits := []roles.TargetEdit{put(target("packages/new", 1))}
	for _, n := range []int{1, 140, 3000} {
		bin := fullBin(t, n)
		file, err := bin.Sign(t.Context(), signer)
		require.NoError(t, err)
		count := func(want float64, what string, f func() error) {
			got := testing.AllocsPerRun(20, func() { require.NoError(t, f()) })
			require.Equal(t, want, got, "%s a bin of %d targets", what, n)
		}
		count(18, "open", func() error {
			_, err := roles.OpenBin(file)
			return err
		})
		count(9, "edit", func() error {
			_, err := bin.Edit(9, binExpires, edits)
			return err
		})
		count(12, "sign", func() error {
			_, _, err := bin.SignSum(t.Context(), signer)
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
		require.EqualValues(t, 10, got, "edit half of %d bins of a snapshot", n)
	}
}
