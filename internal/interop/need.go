package interop

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limit is how long one installation may take.
const limit = 5 * time.Minute

// NeedPython is Python for a test, which is skipped unless BINDERY_INTEROP is 1: other
// implementations' clients take minutes. With it, what is missing is installed or fails the test.
func NeedPython(t *testing.T, name string) string {
	t.Helper()
	skipUnlessRequired(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	python, err := Python(ctx, name)
	require.NoError(t, err)
	return python
}

// needJS is JS for a test, as NeedPython is Python.
func needJS(t *testing.T) (node, modules string) {
	t.Helper()
	skipUnlessRequired(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	node, modules, err := JS(ctx)
	require.NoError(t, err)
	return node, modules
}

// required reports whether outside programs are to be run.
func required() bool { return os.Getenv("BINDERY_INTEROP") == "1" }

func skipUnlessRequired(t *testing.T) {
	t.Helper()
	if !required() {
		t.Skip("it runs clients that are not written in Go: BINDERY_INTEROP=1 installs and runs them")
	}
}

// Script returns the path of a program's source, given with slashes. It looks at the
// file, so that go test's cache knows of it.
func Script(t *testing.T, name string) string {
	t.Helper()
	_, err := os.Stat(name)
	require.NoError(t, err)
	return filepath.FromSlash(name)
}
