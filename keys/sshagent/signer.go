package sshagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// errTimeout is the cause of a request's end where it isn't the caller's context.
var errTimeout = errors.New("timeout")

type signer struct {
	socket      string
	timeout     time.Duration
	public      *keys.PublicKey
	key         ssh.PublicKey
	fingerprint string
}

// Public implements keys.Signer.
func (s *signer) Public() *keys.PublicKey { return s.public }

// MaxMessage implements keys.Signer.
func (s *signer) MaxMessage() int { return MaxMessage }

// Sign implements keys.Signer.
func (s *signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if len(message) > MaxMessage {
		return nil, s.fail("sign", fmt.Errorf("%w: %d bytes, and an agent takes at most %d", keys.ErrTooLarge, len(message), MaxMessage))
	}
	var signature *ssh.Signature
	err := s.request(ctx, func(a agent.Agent) error {
		var err error
		signature, err = a.Sign(s.key, message)
		return err
	})
	switch {
	case refused(err):
		return nil, s.fail("sign", s.explain(ctx, len(message)))
	case err != nil:
		return nil, s.fail("sign", err)
	case signature.Format != ssh.KeyAlgoED25519:
		return nil, s.fail("sign", fmt.Errorf("%w: the agent answered with one of type %q: is it the agent that has this key?", keys.ErrSignature, signature.Format))
	}
	if err := s.public.Verify(message, signature.Blob); err != nil {
		return nil, s.fail("sign", fmt.Errorf("the agent's signature does not verify: %w", err))
	}
	return signature.Blob, nil
}

// explain finds out why the agent refused to sign: the protocol has one answer
// for all reasons.
func (s *signer) explain(ctx context.Context, size int) error {
	if _, err := s.list(ctx); err != nil {
		return err
	}
	return fmt.Errorf("%w: the agent has the key and refused to sign (was its question declined? "+
		"An agent in front of a token may also find %d bytes too many)", keys.ErrDenied, size)
}

// find returns the signer's key if the agent has it now.
func (s *signer) find(ctx context.Context) (ssh.PublicKey, error) {
	key, err := s.list(ctx)
	if err != nil {
		return nil, s.fail("open", err)
	}
	return key, nil
}

func (s *signer) list(ctx context.Context) (ssh.PublicKey, error) {
	var known []*agent.Key
	err := s.request(ctx, func(a agent.Agent) error {
		var err error
		known, err = a.List()
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, k := range known {
		// What this package can't parse is not the key that is looked for.
		if key, err := ssh.ParsePublicKey(k.Blob); err == nil && ssh.FingerprintSHA256(key) == s.fingerprint {
			return key, nil
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("%w: the agent lists no keys: unlock it with ssh-add -X if it is locked, or add the key with ssh-add FILE", keys.ErrUnusable)
	}
	return nil, fmt.Errorf("%w: the agent has %d other keys, not this one: add it with ssh-add FILE", keys.ErrUnusable, len(known))
}

// request makes one request over a connection of its own, which is closed when
// ctx ends.
func (s *signer) request(ctx context.Context, do func(agent.Agent) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(limited, "unix", s.socket)
	switch {
	case err == nil:
	case limited.Err() != nil:
		return s.ended(limited)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: another user owns the socket: %w", keys.ErrDenied, err)
	default:
		return fmt.Errorf("%w: no agent answers: is it running, and does SSH_AUTH_SOCK name this socket? %w", keys.ErrUnavailable, err)
	}
	stop := context.AfterFunc(limited, func() { conn.Close() })
	// Without its Close, for which the client would start a goroutine that an agent
	// that answers too much can keep alive.
	err = do(agent.NewClient(struct{ io.ReadWriter }{conn}))
	if !stop() {
		return s.ended(limited)
	}
	if closing := conn.Close(); err == nil && closing != nil {
		return closing
	}
	if err != nil && !refused(err) {
		return fmt.Errorf("%w: the agent closed the connection or sent an invalid answer: %w", keys.ErrUnavailable, err)
	}
	return err
}

// ended is the error of a request whose context ended.
func (s *signer) ended(ctx context.Context) error {
	if context.Cause(ctx) == errTimeout {
		return fmt.Errorf("%w: the agent did not answer within %v: does it wait for a question of its own to be answered?", keys.ErrUnavailable, s.timeout)
	}
	return ctx.Err()
}

// refused reports whether err is the agent's answer "failure" to a request to sign.
// The client has no type for it.
func refused(err error) bool { return err != nil && err.Error() == "agent: failed to sign challenge" }

func (s *signer) fail(what string, err error) error {
	id := ""
	if s.public != nil {
		id = ", ID " + s.public.ID()
	}
	return fmt.Errorf("ssh-agent %s: %s with key %s%s: %w", s.socket, what, s.fingerprint, id, err)
}

// Format prints the agent and the key, under every verb.
func (s *signer) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "key %s of ssh-agent %s (ed25519, ID %s)", s.fingerprint, s.socket, s.public.ID())
}
