// Package mutation shows that a program which looks for mistakes can find some: it
// compiles the program with a mistake in the code that it exercises, and runs it.
// The changed files are handed to the compiler as an overlay; the tree isn't touched.
package mutation

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Edit is a file (a path from the top of the repository, with slashes), a text that is
// in it once, and what takes its place.
type Edit [3]string

// Variable asks for the tests that compile mutated programs, if it isn't empty.
const Variable = "BINDERY_MUTATIONS"

// limit is how long one program may run: far longer than what it is told, and than it waits at its end.
const limit = 10 * time.Minute

// RequireNoticed compiles the command in the test's directory with each mutation, by
// name, and runs it with these arguments. It must end with status 1. Where the
// mutations are not asked for, it only makes sure that the text of each edit is found.
func RequireNoticed(t *testing.T, mutations map[string][]Edit, args ...string) {
	t.Helper()
	root := repository(t)
	if os.Getenv(Variable) == "" {
		for _, edits := range mutations {
			overlay(t, root, edits)
		}
		return
	}
	for name, edits := range mutations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program := filepath.Join(t.TempDir(), "program")
			build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-overlay", overlay(t, root, edits), "-o", program, ".")
			out, err := build.CombinedOutput()
			require.NoError(t, err, string(out))
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			run := exec.CommandContext(ctx, program, args...)
			run.WaitDelay = time.Minute                           // its processes may outlive it
			run.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // what it keeps of a failure
			out, err = run.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "nobody noticed: %s", out)
			require.Equal(t, 1, exit.ExitCode(), string(out))
			t.Logf("%.600s", out)
		})
	}
}

// repository returns the top of the repository, which is the folder of its root module.
// The test's own module may be another one, in a folder below, that replaces the root
// module by that folder.
func repository(t *testing.T) string {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bindery-tuf/bindery").Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}

// overlay writes the changed files and what go build wants to know of them.
func overlay(t *testing.T, root string, edits []Edit) string {
	dir := t.TempDir()
	changed := map[string]string{}
	for _, e := range edits {
		file, old, mutated := e[0], e[1], e[2]
		name := filepath.Join(root, filepath.FromSlash(file))
		source, ok := changed[name]
		if !ok {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			source = string(data)
		}
		require.Equal(t, 1, strings.Count(source, old), "%s: %s", file, old)
		changed[name] = strings.Replace(source, old, mutated, 1)
	}
	replace := map[string]string{}
	for name, source := range changed {
		to := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		require.NoError(t, os.WriteFile(to, []byte(source), 0o600))
		replace[name] = to
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	require.NoError(t, err)
	file := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}
