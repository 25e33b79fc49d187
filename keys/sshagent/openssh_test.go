package sshagent_test

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
	"github.com/bindery-tuf/bindery/keys/sshagent"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// openSSH is an agent of OpenSSH, steered as its users do.
type openSSH struct {
	socket string
	cmd    *exec.Cmd
}

// startOpenSSH starts one that ends with the test. Without OpenSSH the test is
// skipped, unless BINDERY_INTEROP is 1.
func startOpenSSH(t *testing.T) *openSSH {
	t.Helper()
	for _, program := range []string{"ssh-agent", "ssh-add"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("BINDERY_INTEROP") == "1" {
				require.NoError(t, err)
			}
			t.Skip("OpenSSH is not installed: ", err)
		}
	}
	a := &openSSH{socket: socketPath(t)}
	a.start(t)
	return a
}

func (a *openSSH) start(t *testing.T) {
	t.Helper()
	a.cmd = exec.CommandContext(t.Context(), "ssh-agent", "-D", "-a", a.socket)
	a.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "SSH_ASKPASS=/bin/false"} // nobody confirms
	out, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, a.cmd.Start())
	t.Cleanup(func() { a.kill() })
	line, err := bufio.NewReader(out).ReadString('\n') // once it listens
	require.NoError(t, err)
	require.Contains(t, line, a.socket)
}

func (a *openSSH) kill() {
	a.cmd.Process.Kill()
	a.cmd.Wait()
}

// add runs ssh-add, which asks for every passphrase by a program that prints one.
func (a *openSSH) add(t *testing.T, args ...string) {
	t.Helper()
	ask := filepath.Join(t.TempDir(), "ask")
	require.NoError(t, os.WriteFile(ask, []byte("#!/bin/sh\necho secret\n"), 0o700))
	cmd := exec.CommandContext(t.Context(), "ssh-add", args...)
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+a.socket, "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force", "DISPLAY=:0")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	require.NoError(t, cmd.Run(), "%v: %s", args, &output)
}

// newKeyFile returns a new key and its file, as ssh-keygen writes it.
func newKeyFile(t *testing.T) (*keys.PublicKey, ssh.PublicKey, string) {
	t.Helper()
	private, public, sshPublic := newKey(t)
	block, err := ssh.MarshalPrivateKey(private, "bindery")
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "id_ed25519")
	require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
	require.NoError(t, os.WriteFile(name+".pub", ssh.MarshalAuthorizedKey(sshPublic), 0o600))
	return public, sshPublic, name
}

func TestOpenSSHSigner(t *testing.T) {
	a := startOpenSSH(t)
	public, _, name := newKeyFile(t)
	a.add(t, name)
	keystest.TestSigner(t, func(t *testing.T) keys.Signer {
		return open(t, sshagent.Config{Socket: a.socket, Public: public})
	})
}

// The limit is OpenSSH's, to the byte.
func TestOpenSSHLimit(t *testing.T) {
	a := startOpenSSH(t)
	_, sshPublic, name := newKeyFile(t)
	a.add(t, name)
	for size, good := range map[int]bool{sshagent.MaxMessage: true, sshagent.MaxMessage + 1: false} {
		conn, err := net.Dial("unix", a.socket)
		require.NoError(t, err)
		_, err = agent.NewClient(conn).Sign(sshPublic, make([]byte, size))
		require.Equal(t, good, err == nil, "%d bytes: %v", size, err)
		conn.Close()
	}
}

func TestOpenSSHFingerprint(t *testing.T) {
	a := startOpenSSH(t)
	public, sshPublic, name := newKeyFile(t)
	a.add(t, name)
	cmd := exec.CommandContext(t.Context(), "ssh-add", "-l")
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+a.socket)
	out, err := cmd.Output()
	require.NoError(t, err)
	fingerprint := strings.Fields(string(out))[1]
	require.Equal(t, ssh.FingerprintSHA256(sshPublic), fingerprint)
	s, err := keys.Resolver{"sshagent": sshagent.Opener(sshagent.Config{})}.Open(t.Context(), "sshagent:"+a.socket+"?key="+fingerprint, nil)
	require.NoError(t, err)
	require.Equal(t, public.ID(), s.Public().ID())
}

func TestOpenSSHFaults(t *testing.T) {
	a := startOpenSSH(t)
	public, _, name := newKeyFile(t)
	a.add(t, name)
	s := open(t, sshagent.Config{Socket: a.socket, Public: public})
	sign := func() error {
		sig, err := s.Sign(t.Context(), []byte("message"))
		if err == nil {
			require.NoError(t, public.Verify([]byte("message"), sig))
		}
		return err
	}
	require.NoError(t, sign())

	a.add(t, "-x")
	err := sign()
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "unlock it with ssh-add -X")
	_, err = sshagent.Open(t.Context(), sshagent.Config{Socket: a.socket, Public: public})
	require.ErrorIs(t, err, keys.ErrUnusable)
	a.add(t, "-X")
	require.NoError(t, sign())

	_, _, other := newKeyFile(t)
	a.add(t, other)
	a.add(t, "-d", name)
	err = sign()
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "has 1 other keys, not this one")

	a.kill()
	require.ErrorIs(t, sign(), keys.ErrUnavailable)
	os.Remove(a.socket)
	a.start(t)
	require.ErrorIs(t, sign(), keys.ErrUnusable)
	a.add(t, name)
	require.NoError(t, sign())
}

// A key that needs confirmation, which nobody gives.
func TestOpenSSHConfirmationDeclined(t *testing.T) {
	a := startOpenSSH(t)
	public, _, name := newKeyFile(t)
	a.add(t, "-c", name)
	s := open(t, sshagent.Config{Socket: a.socket, Public: public})
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, "was its question declined?")
}
