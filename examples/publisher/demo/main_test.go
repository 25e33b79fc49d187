package main

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/internal/s3test"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }

func TestDemo(t *testing.T) {
	s3test.Need(t) // skips without the outside programs
	pgtest.Need(t)
	var out strings.Builder
	require.NoError(t, run(t.Context(), []string{"-uploads", "10"}, &out))
	require.Contains(t, out.String(), "found the 14 files\n  that were committed and none of the 6 that were rolled back.\n")
	for line := range strings.Lines(out.String()) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80, line)
	}
}
