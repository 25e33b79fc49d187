package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary the program itself, for what only a process shows.
const asProgram = "BINDERY_CEREMONY_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command is the program as a process, in the stage's folder.
func (s *stage) command(name string, args ...string) *exec.Cmd {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), name, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	cmd.Dir = s.dir
	return cmd
}

func binary(t *testing.T) string {
	t.Helper()
	name, err := os.Executable()
	require.NoError(t, err)
	return name
}

// An interrupt and a request to terminate end a process at a prompt: status 1, and
// nothing written. The passphrase comes in through a descriptor of its own.
func TestSignals(t *testing.T) {
	s := asked(t)
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := s.command(binary(t), "sign", "-now", "2030-01-31T12:00:00Z", "-key", "Ada.key", "repo/open/request.json")
		stdin, err := cmd.StdinPipe()
		require.NoError(t, err)
		stderr, err := cmd.StderrPipe()
		require.NoError(t, err)
		before := s.files()
		require.NoError(t, cmd.Start())
		prompt := make([]byte, 0, 256)
		for r := bufio.NewReader(stderr); !bytes.Contains(prompt, []byte("to sign:")); {
			b, err := r.ReadByte()
			require.NoError(t, err, string(prompt))
			prompt = append(prompt, b)
		}
		require.NoError(t, cmd.Process.Signal(signal))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, refused, exit.ExitCode())
		_ = stdin.Close() // by Wait already
		require.Equal(t, before, s.files())
	}

	passphrase, w, err := os.Pipe()
	require.NoError(t, err)
	_, err = w.WriteString("Ada\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	cmd := s.command(binary(t), "sign", "-now", "2030-01-31T12:00:00Z", "-key", "Ada.key", "-out", "ada.json",
		"-confirm", s.digest().Groups()[0], "-passphrase-fd", "3", "repo/open/request.json")
	cmd.ExtraFiles = []*os.File{passphrase}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.FileExists(t, s.path("ada.json"))
}

// A stick without room: the error names the file, nothing half written is left, and
// with room the same command works.
func TestFullStick(t *testing.T) {
	s := asked(t)
	ada, _ := s.sign("Ada")
	bob, _ := s.sign("Bob")
	require.NoError(t, os.Mkdir(s.path("stick"), 0o700))
	self := binary(t)
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	s.write("age.key", identity.String()+"\n")
	s.write("age.recipients", identity.Recipient().String()+"\n")
	s.run(done, "", "backup", "-dir", s.path("repo"), "-out", s.path("all.age"), "-recipients", s.path("age.recipients"))
	// In a mount namespace of its own; the program is refused in the end, so that
	// the script goes on and lists what is there.
	full := func(command string) string {
		t.Helper()
		script := "set -e; mount -t tmpfs -o size=64k none stick; cp -r repo stick/repo; cp Ada.key Ada.key.notebook.json stick/ || :\n" +
			"find stick -type f | sort > before\n" +
			"dd if=/dev/zero of=stick/filler bs=4k 2>/dev/null || :\n" +
			"set +e; \"$0\" " + command + "; echo status $?\n" +
			"rm stick/filler; find stick -type f | sort > after; cmp before after && echo nothing left\n" +
			"\"$0\" " + command + "; echo then $?"
		cmd := s.command("unshare", "-rm", "sh", "-c", script, self)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Run(); err != nil && !strings.Contains(out.String(), "status") {
			if os.Getenv("BINDERY_INTEROP") == "1" {
				t.Fatalf("a mount namespace is needed: %v\n%s", err, out.String())
			}
			t.Skipf("no mount namespace here: %v\n%s", err, out.String())
		}
		return out.String()
	}
	now := " -now 2030-01-31T12:00:00Z "
	for command, want := range map[string]string{
		"sign" + now + "-clock-is-right -key Ada.key -notebook note -out stick/a.json -confirm " + s.digest().Groups()[0] + " -passphrase-fd 0 repo/open/request.json <pass": "the response: write stick/a.json: nothing was written: ",
		"sheet" + now + "-dir repo -out stick/sheet.txt":                                            "write stick/sheet.txt: nothing was written: ",
		"backup -dir repo -out stick/new.age -recipients age.recipients":                            "write stick/new.age: nothing was written: ",
		"restore -dir stick/new -identity age.key all.age":                                          "all.age: nothing was restored: ",
		"keygen -name Zoe -passphrase-fd 0 stick/zoe.key <pass":                                     "no space left on device",
		"init" + now + "-dir stick/new -bins 4 -holder Ada.key.card.json -online web.key.card.json": "no space left on device",
	} {
		require.NoError(t, os.WriteFile(s.path("pass"), []byte("Ada\n"), 0o600))
		out := full(command)
		require.Contains(t, out, want)
		require.Contains(t, out, "no space left on device")
		require.Contains(t, out, "status 1\n", command)
		require.Contains(t, out, "nothing left\n", command)
		require.Contains(t, out, "then 0\n", command)
	}
	// The last response arrives while the folder's disk is full.
	out := full("merge -dir stick/repo " + filepath.Base(ada) + " " + filepath.Base(bob))
	require.Contains(t, out, "REFUSED: write stick/repo/open/responses/")
	require.Contains(t, out, "status 1\n")
	require.Contains(t, out, "nothing left\n")
	require.Contains(t, out, "then 0\n")
}
