package sshagent_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
	"github.com/bindery-tuf/bindery/keys/sshagent"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func open(t *testing.T, cfg sshagent.Config) keys.Signer {
	t.Helper()
	s, err := sshagent.Open(t.Context(), cfg)
	require.NoError(t, err)
	return s
}

func TestSigner(t *testing.T) {
	private, public, _ := newKey(t)
	other, _, _ := newKey(t)
	socket := serveAgent(t, keyring(t, other, private))
	keystest.TestSigner(t, func(t *testing.T) keys.Signer {
		return open(t, sshagent.Config{Socket: socket, Public: public})
	})
}

// At its import a key is known by its fingerprint alone.
func TestOpenByFingerprint(t *testing.T) {
	private, public, sshPublic := newKey(t)
	other, otherPublic, _ := newKey(t)
	socket := serveAgent(t, keyring(t, other, private))
	fingerprint := ssh.FingerprintSHA256(sshPublic)
	s := open(t, sshagent.Config{Socket: socket, Fingerprint: fingerprint})
	require.Equal(t, public.ID(), s.Public().ID())
	require.Equal(t, "key "+fingerprint+" of ssh-agent "+socket+" (ed25519, ID "+public.ID()+")", fmt.Sprintf("%+v", s))

	_, err := sshagent.Open(t.Context(), sshagent.Config{Socket: socket, Public: otherPublic, Fingerprint: fingerprint})
	require.ErrorContains(t, err, "the fingerprint is given as "+fingerprint)
	require.ErrorContains(t, err, otherPublic.ID())
}

func TestOpenRefuses(t *testing.T) {
	private, public, _ := newKey(t)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	p256Public, err := keys.NewPublicKey(&p256.PublicKey)
	require.NoError(t, err)
	p256SSH, err := ssh.NewPublicKey(&p256.PublicKey)
	require.NoError(t, err)
	socket := serveAgent(t, keyring(t, private, p256))
	for want, cfg := range map[string]sshagent.Config{
		"its socket is not given":                {Public: public},
		`its socket, "agent", is not absolute`:   {Public: public, Socket: "agent"},
		`pipe \\.\pipe\openssh-ssh-agent is not`: {Public: public, Socket: `\\.\pipe\openssh-ssh-agent`},
		"Timeout is below zero: -1ns":            {Public: public, Socket: socket, Timeout: -1},
		"neither the public key nor":             {Socket: socket},
		"ecdsa-sha2-nistp256, and an agent's":    {Public: p256Public, Socket: socket},
		"ecdsa-sha2-nistp256, and an agent":      {Fingerprint: ssh.FingerprintSHA256(p256SSH), Socket: socket},
	} {
		s, err := sshagent.Open(t.Context(), cfg)
		require.ErrorContains(t, err, want)
		require.Nil(t, s)
	}
	_, err = sshagent.Open(t.Context(), sshagent.Config{Public: p256Public, Socket: socket})
	require.ErrorIs(t, err, keys.ErrUnsupported)
}

// requireOpenAndSign requires that neither Open nor Sign of an opened signer works
// after change, and that the errors wrap want, name the key and the agent, and say text.
func requireOpenAndSign(t *testing.T, a agent.Agent, public *keys.PublicKey, change func(socket string), want error, text string) {
	t.Helper()
	socket := socketPath(t)
	stop := listen(t, socket, func(conn net.Conn) { agent.ServeAgent(a, conn) })
	cfg := sshagent.Config{Socket: socket, Public: public}
	s := open(t, cfg)
	if change == nil {
		stop()
	} else {
		change(socket)
	}
	_, signErr := s.Sign(t.Context(), []byte("message"))
	_, openErr := sshagent.Open(t.Context(), cfg)
	for _, err := range []error{signErr, openErr} {
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, text)
		require.ErrorContains(t, err, public.ID())
		require.ErrorContains(t, err, socket)
	}
}

func TestAgentWithoutTheKey(t *testing.T) {
	private, public, sshPublic := newKey(t)
	other, _, _ := newKey(t)
	a := keyring(t, private, other)
	requireOpenAndSign(t, a, public, func(string) { require.NoError(t, a.Remove(sshPublic)) },
		keys.ErrUnusable, "the agent has 1 other keys, not this one: add it with ssh-add FILE")

	a = keyring(t, private)
	requireOpenAndSign(t, a, public, func(string) { require.NoError(t, a.RemoveAll()) },
		keys.ErrUnusable, "the agent lists no keys")
}

func TestAgentLocked(t *testing.T) {
	private, public, _ := newKey(t)
	a := keyring(t, private)
	requireOpenAndSign(t, a, public, func(string) { require.NoError(t, a.Lock([]byte("secret"))) },
		keys.ErrUnusable, "unlock it with ssh-add -X")
}

func TestAgentGone(t *testing.T) {
	private, public, _ := newKey(t)
	requireOpenAndSign(t, keyring(t, private), public, nil, keys.ErrUnavailable, "no agent answers")
}

func TestSocketOfSomeoneElse(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may open every socket")
	}
	private, public, _ := newKey(t)
	requireOpenAndSign(t, keyring(t, private), public, func(socket string) { require.NoError(t, os.Chmod(socket, 0)) },
		keys.ErrDenied, "belongs to someone else")
}

// An agent that was started again is found.
func TestAgentRestarted(t *testing.T) {
	private, public, _ := newKey(t)
	socket := socketPath(t)
	serve := func(conn net.Conn) { agent.ServeAgent(keyring(t, private), conn) }
	stop := listen(t, socket, serve)
	s := open(t, sshagent.Config{Socket: socket, Public: public})
	stop()
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	listen(t, socket, serve)
	sig, err := s.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	require.NoError(t, public.Verify([]byte("message"), sig))
}

func TestBadSignatures(t *testing.T) {
	private, public, sshPublic := newKey(t)
	other, _, otherSSH := newKey(t)
	good, bad := keyring(t, private), keyring(t, other)
	for name, c := range map[string]struct {
		sign func(ssh.PublicKey, []byte) (*ssh.Signature, error)
		want error
		text string
	}{
		"of another key": {func(_ ssh.PublicKey, data []byte) (*ssh.Signature, error) { return bad.Sign(otherSSH, data) },
			keys.ErrSignature, "the agent's signature does not verify"},
		"over another message": {func(_ ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			return good.Sign(sshPublic, append([]byte("x"), data...))
		}, keys.ErrSignature, "the agent's signature does not verify"},
		"one bit wrong": {func(_ ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			sig, err := good.Sign(sshPublic, data)
			sig.Blob[10] ^= 1
			return sig, err
		}, keys.ErrSignature, "the agent's signature does not verify"},
		"empty": {func(ssh.PublicKey, []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519}, nil
		}, keys.ErrSignature, "the agent's signature does not verify"},
		"of another type": {func(_ ssh.PublicKey, data []byte) (*ssh.Signature, error) {
			sig, err := good.Sign(sshPublic, data)
			sig.Format = "ssh-rsa"
			return sig, err
		}, keys.ErrSignature, `the agent answered with one of type "ssh-rsa"`},
		"refused": {func(ssh.PublicKey, []byte) (*ssh.Signature, error) { return nil, errRefused },
			keys.ErrDenied, "the agent has the key and refused to sign (was its question declined?"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, sshagent.Config{Socket: serveAgent(t, faulty{good, c.sign}), Public: public})
			sig, err := s.Sign(t.Context(), []byte("message"))
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
			require.ErrorContains(t, err, public.ID())
			require.Empty(t, sig)
		})
	}
}

// What a broken or hostile agent answers ends as an error, at Sign and at Open.
func TestNonsense(t *testing.T) {
	private, public, sshPublic := newKey(t)
	good := keyring(t, private)
	for name, bytes := range map[string][]byte{
		"nothing":                      nil,
		"half a length":                {0, 0},
		"a length alone":               {0, 0, 0, 1},
		"an empty answer":              {0, 0, 0, 0},
		"4 GiB":                        {255, 255, 255, 255, 14},
		"an unknown type":              {0, 0, 0, 1, 200},
		"success":                      {0, 0, 0, 1, 6},
		"a signature that isn't there": {0, 0, 0, 1, 14},
		"a signature too short":        {0, 0, 0, 5, 14, 0, 0, 0, 80},
		"a broken signature":           {0, 0, 0, 6, 14, 0, 0, 0, 1, 7},
		"more keys than bytes":         {0, 0, 0, 5, 12, 255, 255, 255, 255},
		"a broken key":                 {0, 0, 0, 9, 12, 0, 0, 0, 1, 0, 0, 0, 9},
	} {
		t.Run(name, func(t *testing.T) {
			socket := socketPath(t)
			stop := listen(t, socket, func(conn net.Conn) { agent.ServeAgent(good, conn) })
			s := open(t, sshagent.Config{Socket: socket, Public: public})
			stop()
			listen(t, socket, func(conn net.Conn) { answer(conn, bytes...) })
			_, err := s.Sign(t.Context(), []byte("message"))
			require.ErrorIs(t, err, keys.ErrUnavailable)
			require.ErrorContains(t, err, "the agent closed the connection or sent an invalid answer")
			require.ErrorContains(t, err, ssh.FingerprintSHA256(sshPublic))
			_, err = sshagent.Open(t.Context(), sshagent.Config{Socket: socket, Public: public})
			require.ErrorIs(t, err, keys.ErrUnavailable)
		})
	}
}

// A key that can't be parsed is someone else's concern.
func TestUnknownKeyNextToTheRightOne(t *testing.T) {
	private, public, _ := newKey(t)
	socket := serveAgent(t, odd{keyring(t, private)})
	open(t, sshagent.Config{Socket: socket, Public: public})
}

type odd struct{ agent.Agent }

func (o odd) List() ([]*agent.Key, error) {
	known, err := o.Agent.List()
	return append([]*agent.Key{{Format: "ssh-new", Blob: []byte("\x00\x00\x00\x07ssh-new")}}, known...), err
}

// hanging opens a signer of an agent that doesn't answer any more. asked gets a
// value for each request.
func hanging(t *testing.T, timeout time.Duration) (s keys.Signer, asked chan struct{}) {
	t.Helper()
	private, public, _ := newKey(t)
	asked = make(chan struct{}, 10)
	never := make(chan struct{})
	a := faulty{keyring(t, private), func(ssh.PublicKey, []byte) (*ssh.Signature, error) {
		asked <- struct{}{}
		<-never
		return nil, errRefused
	}}
	socket := serveAgent(t, a)
	t.Cleanup(func() { close(never) })
	return open(t, sshagent.Config{Socket: socket, Public: public, Timeout: timeout}), asked
}

func TestAgentHangsAndTheCallerGivesUp(t *testing.T) {
	s, asked := hanging(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	_, err := s.Sign(ctx, []byte("message"))
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorContains(t, err, s.Public().ID())
}

func TestAgentHangsUntilTheTimeout(t *testing.T) {
	s, _ := hanging(t, time.Second)
	_, err := s.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "the agent did not answer within 1s")
}

// A slow agent is waited for.
func TestAgentSlow(t *testing.T) {
	private, public, _ := newKey(t)
	good := keyring(t, private)
	started, finish := make(chan struct{}), make(chan struct{})
	a := faulty{good, func(key ssh.PublicKey, data []byte) (*ssh.Signature, error) {
		close(started)
		<-finish
		return good.Sign(key, data)
	}}
	s := open(t, sshagent.Config{Socket: serveAgent(t, a), Public: public})
	go func() {
		<-started
		close(finish)
	}()
	_, err := s.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
}

// Nothing reaches the agent if the message is too large or the context at its end.
func TestRefusedBeforeTheAgent(t *testing.T) {
	private, public, _ := newKey(t)
	socket := socketPath(t)
	stop := listen(t, socket, func(conn net.Conn) { agent.ServeAgent(keyring(t, private), conn) })
	s := open(t, sshagent.Config{Socket: socket, Public: public})
	stop()
	listen(t, socket, func(conn net.Conn) {
		t.Error("a connection")
		io.Copy(io.Discard, conn)
	})
	_, err := s.Sign(t.Context(), make([]byte, sshagent.MaxMessage+1))
	require.ErrorIs(t, err, keys.ErrTooLarge)
	require.ErrorContains(t, err, "262081 bytes, and an agent takes at most 262080")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Sign(canceled, []byte("message"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestSocketThatIsNone(t *testing.T) {
	_, public, _ := newKey(t)
	for _, socket := range []string{filepath.Join(t.TempDir(), "s"), t.TempDir(), "/" + strings.Repeat("x", 200)} {
		_, err := sshagent.Open(t.Context(), sshagent.Config{Socket: socket, Public: public})
		require.ErrorIs(t, err, keys.ErrUnavailable)
		require.ErrorContains(t, err, socket)
	}
}
