package roles_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/roles"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The benchmarks do one job with this package and, in the same run, with go-tuf:
// read the file, change it, sign it, and write it. They report how many times
// faster this package is, and what the signature alone takes of it.

func BenchmarkBin(b *testing.B) {
	for _, n := range []int{140, 610, 3000} {
		bin := fullBin(b, n)
		changed := target("packages/7f/new.whl", 1)
		edits := []roles.TargetEdit{put(changed)}
		b.Run(fmt.Sprintf("edit/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bin.Canonical())))
			for b.Loop() {
				if _, err := bin.Edit(2, binExpires, edits); err != nil {
					b.Fatal(err)
				}
			}
		})
		signer := binSigner(b)
		file, err := bin.Sign(b.Context(), signer)
		require.NoError(b, err)
		b.Run(fmt.Sprintf("open/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				if _, err := roles.OpenBin(file); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("open+edit+sign/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				opened, err := roles.OpenBin(file)
				require.NoError(b, err)
				next, err := opened.Edit(2, binExpires, edits)
				require.NoError(b, err)
				_, err = next.Sign(b.Context(), signer)
				require.NoError(b, err)
			}
			reportRatio(b, func() {
				theirs, err := metadata.Targets().FromBytes(file)
				require.NoError(b, err)
				file, err := metadata.TargetFile().FromBytes(changed.Path, []byte("x"))
				require.NoError(b, err)
				theirs.Signed.Targets[changed.Path] = file
				theirs.Signed.Version, theirs.Signed.Expires = 2, binExpires
				signWithTheirs(b, theirs)
			})
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	s := fullSnapshot(b, 16_384)
	var edits []roles.MetaEdit
	for i := range 1000 {
		edits = append(edits, roles.MetaEdit{Role: fmt.Sprintf("bins-%04x", i*16), Version: 20_000})
	}
	b.Run("edit", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(s.Canonical())))
		for b.Loop() {
			if _, err := s.Edit(2, binExpires, edits); err != nil {
				b.Fatal(err)
			}
		}
	})
	signer := binSigner(b)
	file, err := s.Sign(b.Context(), signer)
	require.NoError(b, err)
	b.Run("edit+sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			next, err := s.Edit(2, binExpires, edits)
			require.NoError(b, err)
			_, err = next.Sign(b.Context(), signer)
			require.NoError(b, err)
		}
		reportRatio(b, func() {
			theirs, err := metadata.Snapshot().FromBytes(file)
			require.NoError(b, err)
			for _, e := range edits {
				theirs.Signed.Meta[e.Role+".json"] = metadata.MetaFile(e.Version)
			}
			theirs.Signed.Version, theirs.Signed.Expires = 2, binExpires
			signWithTheirs(b, theirs)
		})
	})
}

// reportRatio runs go-tuf's version of what b has measured.
func reportRatio(b *testing.B, theirs func()) {
	b.Helper()
	ours := b.Elapsed() / time.Duration(b.N)
	best := time.Duration(1<<63 - 1)
	for range 3 {
		start := time.Now()
		theirs()
		best = min(best, time.Since(start))
	}
	b.ReportMetric(float64(best)/float64(ours), "×go-tuf")
}

func signWithTheirs[T roles.Type](b *testing.B, m *metadata.Metadata[T]) {
	b.Helper()
	_, private, err := ed25519.GenerateKey(bytes.NewReader(make([]byte, 32)))
	require.NoError(b, err)
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	require.NoError(b, err)
	m.ClearSignatures()
	_, err = m.Sign(signer)
	require.NoError(b, err)
	_, err = m.ToBytes(false)
	require.NoError(b, err)
}
