package mutation

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// RequireTestsFail runs those tests of a package that match run, as `go test -run` does, with each
// mutation, by name. They must fail. Where the mutations are not asked for, it only makes sure that the
// text of each edit is found.
func RequireTestsFail(t *testing.T, mutations map[string][]Edit, pkg, run string) {
	t.Helper()
	root := repository(t)
	for name, edits := range mutations {
		file := overlay(t, root, edits)
		if os.Getenv(Variable) == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			test := exec.CommandContext(ctx, "go", "test", "-overlay", file, "-count=1", "-vet=off", "-failfast", "-run", run, pkg)
			test.Dir = root
			test.WaitDelay = time.Minute // as in RequireNoticed
			out, err := test.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "nobody noticed: %s", out)
			require.Contains(t, string(out), "--- FAIL", "it doesn't compile")
			t.Logf("%.600s", out)
		})
	}
}
