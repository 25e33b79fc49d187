package interop

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// installPython is Python for a test, which it may skip.
func installPython(t *testing.T, name string) string {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	python, err := Python(ctx, name, required())
	requireInstalled(t, err)
	return python
}

func installJS(t *testing.T) (node, modules string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	node, modules, err := JS(ctx, required())
	requireInstalled(t, err)
	return node, modules
}

// required tells whether a missing program is a failure.
func required() bool { return os.Getenv("BINDERY_INTEROP") == "1" }

// requireInstalled skips a test whose program is missing, unless it is required.
func requireInstalled(t *testing.T, err error) {
	if errors.Is(err, ErrMissing) && !required() {
		t.Skip(err.Error() + "; BINDERY_INTEROP=1 installs what is missing")
	}
	require.NoError(t, err)
}
