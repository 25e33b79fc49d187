package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMain lets this binary be what runs inside a namespace.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == insideArgument {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestAirgap(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), &out, "")
	if errors.Is(err, errNoNamespace) && os.Getenv("BINDERY_INTEROP") != "1" {
		t.Skip(err)
	}
	require.NoError(t, err, out.String())

	commands := strings.Count(out.String(), "$ ceremony ")
	online := strings.Count(out.String(), "\nindex$ ceremony ")
	require.Equal(t, 19, commands)
	require.Equal(t, 1, online, "the index makes its own key")
	require.Equal(t, commands-online, strings.Count(out.String(), "    network interfaces: 1; lo (loopback) is down and has no address"))
	// Once the index is served, machines without a network see that it can't be reached.
	require.Equal(t, 9, strings.Count(out.String(), "network is unreachable"))
	for _, want := range []string{
		"root     version 1  until",
		"PREPARE THE NEXT ONE",
		"you trust  root version 1, and this follows from it",
		"index: repository.Install of 2.root.json\n\nPublished.\nTwo clients verify everything, one that begins with root 1 and one that was here\nbefore; both come to root 2.",
		"index: repository.Install of 2.targets.json, 2.bins.json\n",
		"index: repository.Install of 3.root.json\n\nPublished.\nTwo clients verify everything, one that begins with root 1 and one that was here\nbefore; both come to root 3.",
		"As if nothing had happened.\n",
		"A client that is kept from root 2 says: expired metadata error: final root.json is expired\n",
	} {
		require.Contains(t, out.String(), want)
	}
	t.Log(out.String())
}

// Where there is a network, nothing is run.
func TestInsideRefusesANetwork(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	touched := filepath.Join(t.TempDir(), "touched")
	touch, err := exec.LookPath("touch")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), exe, insideArgument, "", touch, touched).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "airgap: there is a network here: interface ")
	require.NoFileExists(t, touched)
}
