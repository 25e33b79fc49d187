package sshagent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"

	"github.com/bindery-tuf/bindery/keys"
)

// fingerprintForm is that of a SHA-256 in base64 without padding.
var fingerprintForm = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)

// Opener opens keys of an agent for a keys.Resolver: see the package comment for
// the URIs. The socket of a URI goes before cfg.Socket; cfg.Fingerprint is that of the
// URI, and cfg.Public that of Resolver.Open.
func Opener(cfg Config) keys.Opener {
	return func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
		socket, fingerprint, err := parse(place)
		if err != nil {
			return nil, err
		}
		cfg := cfg
		cfg.Fingerprint, cfg.Public = fingerprint, public
		if socket != "" {
			cfg.Socket = socket
		}
		return Open(ctx, cfg)
	}
}

// parse returns what a URI has after "sshagent:"; both may be empty.
func parse(place string) (socket, fingerprint string, err error) {
	path, query, found := strings.Cut(place, "?")
	switch {
	case strings.HasPrefix(path, "//"):
		return "", "", errors.New(`the path begins with "//": write one "/"`)
	case path != "" && !strings.HasPrefix(path, "/"):
		return "", "", errors.New("the path of the socket must be absolute")
	}
	if socket, err = url.PathUnescape(path); err != nil {
		return "", "", fmt.Errorf("path: %w", err)
	}
	if strings.ContainsFunc(socket, unicode.IsControl) {
		return "", "", errors.New("a control character in the path")
	}
	if !found {
		return socket, "", nil
	}
	value, found := strings.CutPrefix(query, "key=")
	if !found {
		return "", "", fmt.Errorf(`byte %d: the "?" must be followed by "key=" and nothing else`, len(path)+1)
	}
	if fingerprint, err = url.PathUnescape(value); err != nil {
		return "", "", fmt.Errorf("key: %w", err)
	}
	if !fingerprintForm.MatchString(fingerprint) {
		return "", "", errors.New(`key: it must be "SHA256:" and 43 characters of base64, as "ssh-add -l" prints it`)
	}
	return socket, fingerprint, nil
}
