// Package smalldisk gives a test a real file system that is soon full.
package smalldisk

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const variable = "BINDERY_TEST_SMALL_DISK"

// Run runs f with the directory of an empty tmpfs of so many bytes, in a child process that
// runs the test once more. The mount needs a user and a mount namespace of its own; where
// there are none the test is skipped, unless BINDERY_INTEROP is 1.
func Run(t *testing.T, size int, f func(t *testing.T, dir string)) {
	t.Helper()
	if dir := os.Getenv(variable); dir != "" {
		f(t, dir)
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	script := `mount -t tmpfs -o size=` + strconv.Itoa(size) + ` none "$` + variable + `" && echo mounted && exec "$0" "$@"`
	cmd := exec.Command("unshare", "-rm", "sh", "-c", script, self, "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-test.short=%t", testing.Short()))
	cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if err != nil && !strings.Contains(out.String(), "mounted\n") {
		if os.Getenv("BINDERY_INTEROP") == "1" {
			t.Fatalf("a mount namespace is needed: %v\n%s", err, out.String())
		}
		t.Skipf("no mount namespace here: %v\n%s", err, out.String())
	}
	require.NoError(t, err, "%s", out.String())
	require.Contains(t, out.String(), "--- PASS: "+t.Name())
}

// Fill writes a file until nothing more fits on the disk. Removing it makes room again.
func Fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
}
