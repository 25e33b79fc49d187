package interop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// limit is how long one installation may take.
const limit = 5 * time.Minute

// NeedPython is Python for a test. The test is skipped if the interpreter is not
// there and BINDERY_INTEROP is not 1; otherwise it fails. It is also skipped by -short without
// BINDERY_INTEROP: other clients' work takes long under the race detector, which sees none of it.
func NeedPython(t *testing.T, name string) string {
	t.Helper()
	skipShort(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	python, err := Python(ctx, name, required())
	need(t, err)
	return python
}

// needJS is JS for a test, as NeedPython is Python.
func needJS(t *testing.T) (node, modules string) {
	t.Helper()
	skipShort(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	node, modules, err := JS(ctx, required())
	need(t, err)
	return node, modules
}

// required reports whether a missing program is a failure.
func required() bool { return os.Getenv("BINDERY_INTEROP") == "1" }

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() && !required() {
		t.Skip("it runs other clients: not with -short, unless BINDERY_INTEROP=1")
	}
}

// need skips a test whose program is missing, unless it is required.
func need(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrMissing) && !required() {
		t.Skip(err.Error() + "; BINDERY_INTEROP=1 installs what is missing")
	}
	require.NoError(t, err)
}

// Script returns the path of a program's source, given with slashes. It looks at the
// file, so that go test's cache knows of it.
func Script(t *testing.T, name string) string {
	t.Helper()
	_, err := os.Stat(name)
	require.NoError(t, err)
	return filepath.FromSlash(name)
}
