// Package sshagent signs TUF metadata with an Ed25519 key that an ssh-agent holds: that of
// OpenSSH, or one that reaches a token.
//
//	signers := keys.Resolver{
//		"sshagent": sshagent.Opener(sshagent.Config{Socket: os.Getenv("SSH_AUTH_SOCK")}),
//	}
//	signer, err := signers.Open(ctx, "sshagent:", public) // as the root lists the key
//
// Only keys of type ssh-ed25519 work. What an agent signs with RSA, ECDSA and FIDO keys
// (sk-ssh-ed25519) doesn't verify in TUF clients. The agent signs messages of at most
// MaxMessage bytes.
//
// Each signature uses a new connection, so that an agent that was restarted is found. It is
// verified with the public key before it is returned. An agent that asks its user to
// confirm (ssh-add -c) has as long as Config.Timeout allows.
//
// # URIs
//
// For a keys.Resolver, Opener understands
//
//	sshagent:                            the agent of Config.Socket
//	sshagent:/run/user/1000/agent.sock   the agent at this absolute path
//
// To find a key by the fingerprint that "ssh-add -l" prints, as when it is imported, add
// ?key=SHA256:…. With a public key given to Resolver.Open, no fingerprint is needed.
//
// # Errors
//
//	keys.ErrUnavailable   no agent at the socket, no answer in time, or an invalid answer
//	keys.ErrUnusable      the agent doesn't have the key, or is locked
//	keys.ErrDenied        the agent refuses to use the key, or another user owns the socket
//	keys.ErrSignature     the signature doesn't verify
//
// # Windows
//
// OpenSSH's agent on Windows has a named pipe, not a socket, and isn't supported: Open
// refuses a name that begins with \\.\pipe\, and the error wraps errors.ErrUnsupported. An
// agent with a Unix socket works.
package sshagent

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"golang.org/x/crypto/ssh"
)

// MaxMessage is the largest message, in bytes, that OpenSSH's agent signs with an Ed25519
// key. Its requests have at most 256 KiB, of which 64 bytes are not the message; after a
// larger one, it closes the connection. A busy bin fits. A snapshot of more than some 7,700
// bins doesn't.
const MaxMessage = 256<<10 - 64

const defaultTimeout = time.Minute

// Config says which key of which agent signs.
type Config struct {
	// Socket is the absolute path of the agent's socket, the usual one of which is
	// in the environment as SSH_AUTH_SOCK. It must be given.
	Socket string

	// Public is the key, as metadata lists it. nil means the one of Fingerprint.
	Public *keys.PublicKey

	// Fingerprint is the key's as "ssh-add -l" prints it, "SHA256:" and 43
	// characters. Empty means that of Public. If both are given, they must agree.
	Fingerprint string

	// Timeout ends a request that is not answered. 0 means a minute, which leaves
	// a person the time to confirm.
	Timeout time.Duration
}

// Open returns a signer for a key that the agent has now. It is an error if the agent
// can't be reached, is locked, or doesn't have the key. The signer needs no Close.
func Open(ctx context.Context, cfg Config) (keys.Signer, error) {
	s := &signer{socket: cfg.Socket, timeout: cfg.Timeout, public: cfg.Public}
	switch {
	case cfg.Socket == "":
		return nil, errors.New("ssh-agent: its socket is not given (ssh-agent prints it as SSH_AUTH_SOCK)")
	case strings.HasPrefix(strings.ReplaceAll(cfg.Socket, `\`, "/"), "//./pipe/"):
		return nil, fmt.Errorf("ssh-agent: the named pipe %s is not supported (OpenSSH's agent on Windows has one): use an agent that has a Unix socket, or a key file: %w", cfg.Socket, errors.ErrUnsupported)
	case !filepath.IsAbs(cfg.Socket):
		return nil, fmt.Errorf("ssh-agent: the path of its socket, %q, is not absolute", cfg.Socket)
	case cfg.Timeout < 0:
		return nil, fmt.Errorf("ssh-agent: Config.Timeout is below zero: %v", cfg.Timeout)
	case cfg.Public == nil && cfg.Fingerprint == "":
		return nil, errors.New("ssh-agent: neither the public key nor its fingerprint is given (ssh-add -l lists them)")
	}
	if s.timeout == 0 {
		s.timeout = defaultTimeout
	}
	if cfg.Public != nil {
		var err error
		if s.key, err = sshKey(cfg.Public); err != nil {
			return nil, err
		}
		s.fingerprint = ssh.FingerprintSHA256(s.key)
	}
	if cfg.Fingerprint != "" {
		if s.key != nil && cfg.Fingerprint != s.fingerprint {
			return nil, fmt.Errorf("ssh-agent: the fingerprint is given as %s, and that of the key %s is %s", cfg.Fingerprint, cfg.Public.ID(), s.fingerprint)
		}
		s.fingerprint = cfg.Fingerprint
	}
	found, err := s.find(ctx)
	if err != nil {
		return nil, err
	}
	if s.key == nil {
		if s.public, err = publicKey(found); err != nil {
			return nil, fmt.Errorf("ssh-agent: key %s: %w", s.fingerprint, err)
		}
		s.key = found
	}
	return s, nil
}

// sshKey is a key as the agent knows it.
func sshKey(k *keys.PublicKey) (ssh.PublicKey, error) {
	if k.Type() != "ed25519" {
		return nil, fmt.Errorf("ssh-agent: key %s: %w: %s, and an agent's signatures fit TUF with Ed25519 only", k.ID(), keys.ErrUnsupported, k.Scheme())
	}
	raw, err := hex.DecodeString(k.Value())
	if err != nil {
		return nil, fmt.Errorf("ssh-agent: key %s: %w", k.ID(), err)
	}
	key, err := ssh.NewPublicKey(ed25519.PublicKey(raw))
	if err != nil {
		return nil, fmt.Errorf("ssh-agent: key %s: %w", k.ID(), err)
	}
	return key, nil
}

// publicKey is an agent's key as metadata lists it.
func publicKey(key ssh.PublicKey) (*keys.PublicKey, error) {
	c, ok := key.(ssh.CryptoPublicKey)
	if !ok || key.Type() != ssh.KeyAlgoED25519 {
		return nil, fmt.Errorf("%w: %s, and an agent's signatures fit TUF with %s only", keys.ErrUnsupported, key.Type(), ssh.KeyAlgoED25519)
	}
	return keys.NewPublicKey(c.CryptoPublicKey())
}
