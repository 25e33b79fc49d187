package main

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/interop"
)

// An index in another language uses the publisher as README.md says.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if os.Getenv("BINDERY_INTEROP") == "1" {
		require.NoError(t, err)
	} else if err != nil {
		t.Skip("there is no python3")
	}
	require.Contains(t, newSite(t).python(python), "all as documented")
}

// The same, and python-tuf judges what is published.
func TestPythonTUF(t *testing.T) {
	s := newSite(t)
	require.Contains(t, s.python(interop.NeedPython(t, "python"), "TUF_ROOT="+s.path("documents/1.root.json")), "python-tuf verified 45 paths")
}

func (s *site) python(python string, env ...string) string {
	s.t.Helper()
	self, err := os.Executable()
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-I", interop.Script(s.t, "testdata/warehouse.py"), s.configFile(), self)
	cmd.Env = append(append(os.Environ(), asProgram+"=1", "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"), env...)
	cmd.WaitDelay = 5 * time.Second // the publisher may have outlived the script
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, string(out))
	return string(out)
}
