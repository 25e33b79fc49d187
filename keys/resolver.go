package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Resolver opens signers by URI. It maps each scheme that a program wants to what
// opens it, and knows no other: this package has FileOpener, and each package
// below it that reaches a place where keys live has an opener of its own.
//
//	signers := keys.Resolver{
//		"file":     keys.FileOpener(ask),
//		"sshagent": sshagent.Opener(sshagent.Config{Socket: socket}),
//	}
//
// A URI is ASCII, of at most 2,048 bytes: a scheme in lower case, a colon, and
// the place, whose syntax the opener's package writes down. What a URI could not hold
// itself is percent-encoded (RFC 3986, 2.1); there is no fragment, and no secret:
// a URI with a password, a passphrase or a PIN is refused. URIs belong into a
// program's own configuration and never into TUF metadata, where they would change
// a key's ID.
type Resolver map[string]Opener

// Opener opens the signer at a place: what a URI has behind the scheme and its
// colon, percent-encoded as it came. public is the key that the signer must be. It
// spares asking a KMS for it and tells which of an agent's keys is meant. It is
// nil where the key is not known yet, as at its import; an opener that can't find
// it out then says what to add.
type Opener func(ctx context.Context, place string, public *PublicKey) (Signer, error)

// Open opens the signer that uri names. If public is not nil, then that is the
// key, under the ID by which metadata lists it, and it is an error if the signer has
// another one. Unless the signer is an io.Closer, it holds nothing that needs to be
// closed. Errors show the URI only once it is known to hold no secret.
func (r Resolver) Open(ctx context.Context, uri string, public *PublicKey) (Signer, error) {
	scheme, place, err := splitURI(uri)
	if err != nil {
		return nil, fmt.Errorf("key URI: %w", err)
	}
	open := r[scheme]
	if open == nil {
		return nil, fmt.Errorf("key URI: scheme %q: this program opens %s", scheme, r.schemes())
	}
	s, err := open(ctx, place, public)
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", uri, err)
	}
	if public == nil {
		return s, nil
	}
	if !s.Public().Same(public) {
		err := fmt.Errorf("open key %s: this is key %s, not %s", uri, s.Public().ID(), public.ID())
		return nil, errors.Join(err, closeSigner(s))
	}
	return WithID(s, public), nil
}

func (r Resolver) schemes() string {
	var known []string
	for scheme, open := range r {
		if open != nil {
			known = append(known, scheme+":")
		}
	}
	if len(known) == 0 {
		return "none"
	}
	slices.Sort(known)
	return strings.Join(known, ", ")
}

func closeSigner(s Signer) error {
	if c, ok := s.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
