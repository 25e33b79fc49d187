package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/bindery-tuf/bindery/internal/disk"
)

// token is the digest of a secret that requests bring; nil demands none.
type token *[sha256.Size]byte

type tokens struct{ publisher, holders token }

func readTokens(c config) (t tokens, err error) {
	if t.publisher, err = readToken(c.TokenFile); err != nil {
		return t, fmt.Errorf("token_file: %w", err)
	}
	if c.Ceremony == nil {
		return t, nil
	}
	if t.holders, err = readToken(c.Ceremony.TokenFile); err != nil {
		return t, fmt.Errorf("ceremony.token_file: %w", err)
	}
	return t, nil
}

// minToken is a bound below which a token could be guessed.
const minToken = 16

// readToken reads the one line of a file that not everybody may read. No error shows it.
func readToken(name string) (token, error) {
	if name == "" {
		return nil, nil
	}
	f, err := disk.OpenPrivate(name, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return nil, err
	}
	line := bytes.TrimRight(data, "\r\n")
	switch {
	case len(line) < minToken:
		return nil, fmt.Errorf("%s: the token has %d bytes, and must have at least %d: make one with: openssl rand -hex 32", name, len(line), minToken)
	case bytes.ContainsFunc(line, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fmt.Errorf("%s: the token must be one line of printable ASCII without spaces", name)
	}
	sum := sha256.Sum256(line)
	return &sum, nil
}

// guard lets requests through to next that bring the token. Without a token, a request must name the
// loopback interface: a page in a browser on this machine could otherwise reach the publisher under a
// name of its own.
func guard(want token, next http.Handler) http.Handler {
	// A page of another site must not act through the browser of somebody on this machine.
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "cross_origin", errors.New("a browser sent this for another site"))
	}))
	return protection.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(given))
		switch {
		case want == nil && !isLoopback(hostOf(r)):
			refuse(w, http.StatusMisdirectedRequest, "host", errHost)
		case want == nil, found && subtle.ConstantTimeCompare(sum[:], want[:]) == 1:
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "token", errToken)
		}
	}))
}

var (
	errToken = errors.New("this needs the header Authorization: Bearer TOKEN, with the token in the publisher's token file")
	errHost  = errors.New("without a token_file, the publisher answers only requests for localhost, 127.0.0.1 or [::1], and the header Host names something else")
)

func hostOf(r *http.Request) string {
	if host, _, err := net.SplitHostPort(r.Host); err == nil {
		return host
	}
	return r.Host
}
