package sshagent_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// socketPath is short: a socket's may have some 100 bytes.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

// listen calls serve for each connection to a new socket, until the test ends or
// stop is called, which both wait for the last one.
func listen(t *testing.T, socket string, serve func(net.Conn)) (stop func()) {
	t.Helper()
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
				serve(conn)
			})
		}
	})
	stop = sync.OnceFunc(func() {
		l.Close()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// serveAgent serves a to all who come to the socket that it returns.
func serveAgent(t *testing.T, a agent.Agent) string {
	t.Helper()
	socket := socketPath(t)
	listen(t, socket, func(conn net.Conn) { agent.ServeAgent(a, conn) })
	return socket
}

// newKey returns a key, in three forms.
func newKey(t *testing.T) (ed25519.PrivateKey, *keys.PublicKey, ssh.PublicKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	k, err := keys.NewPublicKey(public)
	require.NoError(t, err)
	s, err := ssh.NewPublicKey(public)
	require.NoError(t, err)
	return private, k, s
}

// keyring returns an agent of Go's with the keys.
func keyring(t *testing.T, private ...any) agent.Agent {
	t.Helper()
	a := agent.NewKeyring()
	for _, p := range private {
		require.NoError(t, a.Add(agent.AddedKey{PrivateKey: p}))
	}
	return a
}

// faulty is an agent whose signatures are made by sign.
type faulty struct {
	agent.Agent
	sign func(key ssh.PublicKey, data []byte) (*ssh.Signature, error)
}

func (f faulty) Sign(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
	return f.sign(key, data)
}

var errRefused = errors.New("not today")

// answer reads one request from conn and sends the bytes as they are.
func answer(conn net.Conn, bytes ...byte) {
	var length [4]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return
	}
	n := int64(length[0])<<24 | int64(length[1])<<16 | int64(length[2])<<8 | int64(length[3])
	if _, err := io.CopyN(io.Discard, conn, n); err != nil {
		return
	}
	conn.Write(bytes)
}
