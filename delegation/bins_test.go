package delegation_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/bits"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
)

// powers yields every number of bins there is.
func powers(yield func(int) bool) {
	for n := 2; n <= 1<<16; n *= 2 {
		if !yield(n) {
			return
		}
	}
}

func newBins(t testing.TB, n int, form delegation.Form) delegation.Bins {
	t.Helper()
	b, err := delegation.New("bins", n, form)
	require.NoError(t, err)
	return b
}

func TestBinsAreThoseOfGoTUF(t *testing.T) {
	for n := range powers {
		reference := metadata.SuccinctRoles{BitLength: bits.Len(uint(n - 1)), NamePrefix: "bins"}
		b := newBins(t, n, delegation.Succinct)
		require.Equal(t, n, b.Len())
		for i, name := range reference.GetRoles() {
			if b.Name(i) != name {
				require.Equal(t, name, b.Name(i), "bin %d of %d", i, n)
			}
			if j, ok := b.Index(name); !ok || j != i {
				require.Equal(t, i, j, "index of %s", name)
			}
		}
		for i := range 2000 {
			path := fmt.Sprintf("packages/ü/%d/file-%d.whl", i%7, i)
			want := reference.GetRolesForTarget(path)
			got := []metadata.RoleResult{{Name: b.Name(b.Find(path)), Terminating: true}}
			require.Equal(t, want, got, "%d bins, %s", n, path)
		}
	}
}

func TestNames(t *testing.T) {
	require.Equal(t, "bins-1", newBins(t, 2, delegation.Succinct).Name(1))
	require.Equal(t, "bins-f", newBins(t, 16, delegation.Succinct).Name(15))
	require.Equal(t, "bins-00", newBins(t, 32, delegation.Explicit).Name(0))
	require.Equal(t, "bins-0a3f", newBins(t, 16384, delegation.Explicit).Name(0xa3f))
	require.Equal(t, "bins-ffff", newBins(t, 65536, delegation.Succinct).Name(65535))
}

func TestIndexTakesOneSpelling(t *testing.T) {
	b := newBins(t, 512, delegation.Succinct)
	i, ok := b.Index("bins-1ff")
	require.Equal(t, 511, i)
	require.True(t, ok)
	for _, name := range []string{"", "bins", "bins-", "bins-200", "bins-0", "bins-0000", "bins-1FF", "bins-+01", "bins--01",
		"bins-0x1", "bins-1_0", "bin-001", "001", "bins-001 ", "bins-bins-001"} {
		i, ok := b.Index(name)
		require.False(t, ok, "%q", name)
		require.Zero(t, i)
	}
	_, ok = delegation.Bins{}.Index("-0")
	require.False(t, ok)
}

func TestFind(t *testing.T) {
	// SHA-256("a") is ca978112…
	require.Equal(t, "ca97", hash("a")[:4])
	require.Equal(t, 1, newBins(t, 2, delegation.Succinct).Find("a"))
	require.Equal(t, 0xc, newBins(t, 16, delegation.Succinct).Find("a"))
	require.Equal(t, 0xca97>>2, newBins(t, 16384, delegation.Explicit).Find("a"))
	require.Equal(t, 0xca97, newBins(t, 65536, delegation.Explicit).Find("a"))
}

func TestNewRefuses(t *testing.T) {
	for _, n := range []int{-2, 0, 1, 3, 16383, 1 << 17} {
		_, err := delegation.New("bins", n, delegation.Succinct)
		require.EqualError(t, err, fmt.Sprintf("%d bins: not a power of two from 2 to 65536", n))
	}
	_, err := delegation.New("bins", 16, delegation.Form(2))
	require.EqualError(t, err, "unknown form of delegation: Form(2)")

	for prefix, want := range map[string]string{
		"":                       "an empty prefix",
		".bins":                  "it begins with a dot",
		"a/b":                    `a character other than letters, digits, "_", "." and "-"`,
		"bins ":                  `a character other than letters, digits, "_", "." and "-"`,
		"ö":                      `a character other than letters, digits, "_", "." and "-"`,
		strings.Repeat("x", 196): "names of 201 bytes, at most 200",
	} {
		_, err := delegation.New(prefix, 65536, delegation.Succinct)
		require.EqualError(t, err, fmt.Sprintf("bins named %q: %s", prefix, want))
	}
	for _, prefix := range []string{"bins", "A-b_c.9", strings.Repeat("x", 195)} {
		_, err := delegation.New(prefix, 65536, delegation.Succinct)
		require.NoError(t, err)
	}
}

func TestComparable(t *testing.T) {
	a, b := newBins(t, 16, delegation.Succinct), newBins(t, 16, delegation.Succinct)
	require.True(t, a == b)
	require.False(t, newBins(t, 16, delegation.Succinct) == newBins(t, 16, delegation.Explicit))
}

func hash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])
}
