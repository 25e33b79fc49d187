package main

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/bindery-tuf/bindery/keys"
)

// sshKey is a key for an agent.
type sshKey struct {
	private     ed25519.PrivateKey
	id          string
	fingerprint string
}

func newSSHKey(t *testing.T) sshKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	key, err := keys.NewPublicKey(public)
	require.NoError(t, err)
	sshPublic, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return sshKey{private, key.ID(), ssh.FingerprintSHA256(sshPublic)}
}

func (k sshKey) addTo(t *testing.T, a agent.Agent) {
	t.Helper()
	require.NoError(t, a.Add(agent.AddedKey{PrivateKey: k.private}))
}

// socketPath is short: a socket's may have some 100 bytes.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

// serveAgent serves a until the test ends.
func serveAgent(t *testing.T, a agent.Agent) (socket string) {
	t.Helper()
	socket = socketPath(t)
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer conn.Close()
				_ = agent.ServeAgent(a, conn) // until the client hangs up
			})
		}
	})
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		wg.Wait()
	})
	return socket
}

// steered is an agent whose signatures sign makes.
type steered struct {
	agent.Agent
	sign func(key ssh.PublicKey, data []byte) (*ssh.Signature, error)
}

func (s *steered) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return s.sign(key, data)
}

// cardFrom makes Ada's card from an agent, and nothing else.
func (s *stage) cardFrom(socket string, key sshKey) {
	s.t.Helper()
	before := s.files()
	screen, errs := s.run(done, "", "card", "-name", "Ada", "-key", "sshagent:"+socket+"?key="+key.fingerprint, s.card("Ada"))
	require.Empty(s.t, errs, "an agent needs no passphrase")
	require.Contains(s.t, screen, key.id[:8])
	h, err := readCard(s.card("Ada"))
	require.NoError(s.t, err)
	require.Equal(s.t, "Ada", h.Name)
	require.Equal(s.t, key.id, h.Key.ID())
	after := s.files()
	delete(after, s.card("Ada"))
	require.Equal(s.t, before, after)
}

// signAt are the arguments with which Ada signs the open request.
func (s *stage) signAt(uri string, more ...string) []string {
	s.t.Helper()
	args := []string{"sign", "-key", uri, "-card", s.card("Ada"), "-confirm", s.digest().Groups()[0], "-out", s.path("Ada.response.json")}
	return append(append(args, more...), s.request())
}

// mergeWith merges Ada's response with what another one signs, which completes it.
func (s *stage) mergeWith(name string) {
	s.t.Helper()
	s.run(incomplete, "", "merge", "-dir", s.path("repo"), s.path("Ada.response.json"))
	s.merge(name)
	require.NoError(s.t, os.Remove(s.path("Ada.response.json")))
}

// A ceremony in which one of the keys is in an agent, from the card on.
func TestAgent(t *testing.T) {
	s := newStage(t)
	s.keygen("Bob", "web", "bins")
	key, ring := newSSHKey(t), agent.NewKeyring()
	key.addTo(t, ring)
	a := &steered{ring, ring.Sign}
	socket := serveAgent(t, a)
	uri := "sshagent:" + socket
	s.cardFrom(socket, key)
	s.init("2", "Ada", "Bob")

	screen, _ := s.run(done, "", s.signAt(uri)...)
	require.Contains(t, screen, "SIGNED")
	notebook, err := readNotebook(s.path("Ada.key.notebook.json"))
	require.NoError(t, err)
	require.Len(t, notebook.Signed, 1)
	require.NoFileExists(t, s.path("Ada.key"))
	t.Setenv("SSH_AUTH_SOCK", socket)
	s.run(done, "", s.signAt("sshagent:")...) // the same again
	s.mergeWith("Bob")
	s.verify(1)

	// Two roots in one sitting, and the agent has the key for one of them only.
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "renewal", "-new-one-time", "2")
	signed := 0
	a.sign = func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) {
		sig, err := ring.Sign(k, data)
		if err == nil {
			signed++
		}
		return sig, errors.Join(err, ring.RemoveAll())
	}
	s.refuse("nothing was signed: root version 3: Ada ("+key.id[:8]+"): sign: ssh-agent "+socket, "", s.signAt(uri)...)
	require.Equal(t, 1, signed)
	a.sign = ring.Sign
	key.addTo(t, ring)
	s.run(done, "", s.signAt(uri)...)
	s.mergeWith("Bob")
	s.verify(3)
}

func TestAgentRefuses(t *testing.T) {
	s := newStage(t)
	s.keygen("Bob", "web", "bins")
	key, ring := newSSHKey(t), agent.NewKeyring()
	key.addTo(t, ring)
	a := &steered{ring, ring.Sign}
	socket := serveAgent(t, a)
	uri := "sshagent:" + socket
	s.cardFrom(socket, key)
	s.init("2", "Ada", "Bob")
	card := func(uri string) []string {
		return []string{"card", "-name", "Eve", "-key", uri, s.path("eve.card.json")}
	}

	s.refuse("a key that is in no file is found by its card: name that with -card", "",
		"sign", "-key", uri, "-confirm", s.digest().Groups()[0], s.request())
	s.refuse("no such file", "", s.signAt(uri, "-card", s.path("nothing"))...)
	s.refuse("the agent has 1 other keys, not this one", "", s.signAt(uri, "-card", s.card("Bob"))...)
	s.refuse("no agent answers", "", s.signAt("sshagent:/nowhere")...)
	s.refuse("no card was made: open key "+uri+": ssh-agent: neither the public key nor its fingerprint is given (ssh-add -l lists them)", "", card(uri)...)
	s.refuse("the agent has 1 other keys, not this one", "", card(uri+"?key="+newSSHKey(t).fingerprint)...)
	t.Setenv("SSH_AUTH_SOCK", "")
	s.refuse("its socket is not given (ssh-agent prints it as SSH_AUTH_SOCK)", "", s.signAt("sshagent:")...)

	a.sign = func(ssh.PublicKey, []byte) (*ssh.Signature, error) { return nil, errors.New("declined") }
	s.refuse("the agent has the key and refused to sign", "", s.signAt(uri)...)
	s.refuse("the agent has the key and refused to sign", "", card(uri+"?key="+key.fingerprint)...)
	a.sign = func(k ssh.PublicKey, data []byte) (*ssh.Signature, error) { return ring.Sign(k, data[1:]) }
	s.refuse("the agent's signature does not verify", "", s.signAt(uri)...)
	a.sign = ring.Sign

	require.NoError(t, ring.Lock([]byte("secret")))
	s.refuse("unlock it with ssh-add -X", "", s.signAt(uri)...)
	require.NoError(t, ring.Unlock([]byte("secret")))
	s.run(done, "", s.signAt(uri)...)
	require.NoError(t, ring.RemoveAll())
	s.refuse("the agent lists no keys", "", s.signAt(uri)...)

	// A key that is nobody's of this ceremony.
	eve := newSSHKey(t)
	eve.addTo(t, ring)
	s.run(done, "", card(uri+"?key="+eve.fingerprint)...)
	s.refuse("has nothing to sign: the request asks Ada (", "", s.signAt(uri, "-card", s.path("eve.card.json"))...)
}

// The agent that everybody has.
func TestOpenSSHAgent(t *testing.T) {
	for _, program := range []string{"ssh-agent", "ssh-add"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("BINDERY_INTEROP") == "1" {
				require.NoError(t, err)
			}
			t.Skip("OpenSSH is not installed: ", err)
		}
	}
	socket := socketPath(t)
	server := exec.CommandContext(t.Context(), "ssh-agent", "-D", "-a", socket)
	out, err := server.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n') // once it listens
	require.NoError(t, err)
	require.Contains(t, line, socket)
	t.Setenv("SSH_AUTH_SOCK", socket)
	sshAdd := func(args ...string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "ssh-add", args...).CombinedOutput()
		require.NoError(t, err, string(out))
	}

	s := newStage(t)
	s.keygen("Bob", "web", "bins")
	key := newSSHKey(t)
	block, err := ssh.MarshalPrivateKey(key.private, "Ada")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "id_ed25519")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	sshAdd(file)
	s.cardFrom(socket, key)
	s.init("2", "Ada", "Bob")
	s.run(done, "", s.signAt("sshagent:")...)
	s.mergeWith("Bob")
	s.verify(1)
	s.run(done, "", "request", "-dir", s.path("repo"), "-reason", "renewal")
	sshAdd("-D")
	s.refuse("the agent lists no keys", "", s.signAt("sshagent:")...)
}
