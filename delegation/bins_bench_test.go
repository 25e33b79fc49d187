package delegation_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
)

// BenchmarkFind finds the bin of a path. Its peer in the same run is the path's
// SHA-256 alone.
func BenchmarkFind(b *testing.B) {
	layout, err := delegation.New("bins", 16_384, delegation.Succinct)
	require.NoError(b, err)
	const path = "packages/3f/7a/1c9d5e0b8a2f4c6d/project_a1b2-1.2.3-py3-none-any.whl"
	b.ReportAllocs()
	found := 0
	for b.Loop() {
		found += layout.Find(path)
	}
	ours := b.Elapsed()
	start := time.Now()
	for range b.N {
		sum := sha256.Sum256([]byte(path))
		found += int(sum[0])
	}
	b.ReportMetric(float64(time.Since(start))/float64(ours), "×digest")
	require.NotZero(b, found)
}

// BenchmarkOwner finds the owner of a path among 16,384 bins below "bins" below
// targets. Its peer is the path's SHA-256 alone, as above.
func BenchmarkOwner(b *testing.B) {
	tree := pep458(b)
	const path = "packages/3f/7a/1c9d5e0b8a2f4c6d/project_a1b2-1.2.3-py3-none-any.whl"
	b.ReportAllocs()
	found := 0
	for b.Loop() {
		role, _ := tree.Owner(path)
		found += role.Bin
	}
	ours := b.Elapsed()
	start := time.Now()
	for range b.N {
		sum := sha256.Sum256([]byte(path))
		found += int(sum[0])
	}
	b.ReportMetric(float64(time.Since(start))/float64(ours), "×digest")
	require.NotZero(b, found)
}

func TestOwnerAllocatesNothing(t *testing.T) {
	tree, n := pep458(t), 0
	require.Zero(t, testing.AllocsPerRun(100, func() {
		role, _ := tree.Owner("packages/3f/7a/1c9d5e0b8a2f4c6d/project_a1b2-1.2.3-py3-none-any.whl")
		n += len(role.Name)
	}))
	require.NotZero(t, n)
}

func pep458(t testing.TB) *delegation.Tree {
	s := newStaff(t)
	tree, err := delegation.NewTree(s.root(), documents{
		"targets": s.role("targets", s.toAll("bins")),
		"bins":    s.bins("bins", bins(t, "bins", 16_384, delegation.Succinct)),
	})
	require.NoError(t, err)
	return tree
}
