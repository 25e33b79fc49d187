// Package sshagent signs TUF metadata with an Ed25519 key that an ssh-agent holds:
// OpenSSH's, or one that reaches a token.
//
// Only keys of type ssh-ed25519 can be used: what an agent makes with RSA and
// ECDSA keys, and with those of FIDO tokens (sk-ssh-ed25519), are no signatures that
// TUF clients verify. The agent signs messages of at most MaxMessage bytes.
//
// Each signature is a connection of its own, so that an agent that was started again is
// found, and is verified with the public key before it is returned. An agent that
// asks its user to confirm (ssh-add -c) has as long as Config.Timeout allows.
//
// # URIs
//
// For a keys.Resolver, Opener understands
//
//	sshagent:                            the agent of Config.Socket
//	sshagent:/run/user/1000/agent.sock   the agent at this absolute path
//
// followed by ?key=SHA256:… if the key is to be found by the fingerprint that
// "ssh-add -l" prints, as when it is imported. If the public key is given to
// Resolver.Open, no fingerprint is needed.
//
// # Errors
//
//	keys.ErrUnavailable   no agent at the socket, no answer in time, or nonsense as the answer
//	keys.ErrUnusable      the agent does not have the key, or is locked
//	keys.ErrDenied        the agent has the key and refuses, or the socket is someone else's
//	keys.ErrSignature     the signature is not the key's over the message
//
// # Windows
//
// The agent of OpenSSH for Windows has a named pipe and no socket. It isn't supported:
// Open refuses a name that begins with \\.\pipe\, and the error wraps
// errors.ErrUnsupported. An agent with a Unix socket works.
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

// MaxMessage is the largest message in bytes that OpenSSH's agent signs with an
// Ed25519 key: it takes requests of at most 256 KiB, of which 64 bytes are not the
// message. It breaks the connection at one byte more. That is enough for a busy
// bin, and not for a snapshot of more than some 7,700 bins.
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

// Open returns a signer for a key that the agent has at this moment: an agent that
// can't be reached, is locked or hasn't the key is an error. The signer holds
// nothing that needs to be closed.
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
