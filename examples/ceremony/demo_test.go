package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The script ends at the first status that it doesn't expect. What it shows, TestWalk and
// the tests of backups show too; as processes that encrypt it takes long.
func TestDemo(t *testing.T) {
	if os.Getenv("BINDERY_INTEROP") != "1" || testing.Short() {
		t.Skip("it takes long: BINDERY_INTEROP=1 without -short runs it")
	}
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	s := newStage(t)
	here, err := os.Getwd()
	require.NoError(t, err)
	cmd := s.command(sh, here+"/demo.sh", "years")
	cmd.Env = append(cmd.Env, "CEREMONY="+binary(t))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	for want, n := range map[string]int{
		"\n$ ceremony ":                        57,
		"A client that trusts any of the ":     3,
		"any of the 5 roots":                   1,
		"A COMPROMISE IS DECLARED":             4, // the preparer's screen, and three holders'
		"nothing is ever restored over":        1,
		"the passphrase is wrong":              1,
		"not a group of this request's digest": 1,
		"REFUSED: ":                            1,
	} {
		require.Equal(t, n, strings.Count(string(out), want), want)
	}
	require.Contains(t, string(out), "\n======== All is as it should be\n")
	// What the words of the runbook promise of the result.
	s.run(done, "", "verify", "-dir", s.path("years/repo"))
}
