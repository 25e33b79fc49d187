package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Resolver opens signers by URI. It maps each scheme that a program wants to the
// function that opens it. It knows no other scheme. FileOpener is in this package;
// sshagent, pkcs11, awskms and gcpkms each have an opener too.
//
//	signers := keys.Resolver{
//		"file":     keys.FileOpener(ask),
//		"sshagent": sshagent.Opener(sshagent.Config{Socket: socket}),
//	}
//
// A URI is ASCII, at most 2,048 bytes: a scheme in lower case, a colon, and the place,
// whose syntax is in the comment of the opener's package. Other characters are
// percent-encoded (RFC 3986, 2.1). There is no fragment. A URI with a password, a
// passphrase or a PIN is refused. URIs belong in a program's own configuration, never in
// TUF metadata, where they would change a key's ID.
type Resolver map[string]Opener

// Opener opens the signer at a place. The place is what a URI has after the scheme and
// its colon, still percent-encoded. Public is the key that the signer must have: with it,
// an opener need not ask a KMS for the key, and knows which of an agent's keys is meant.
// Public is nil where the key isn't known yet, as when it is imported. An opener that
// can't find the key then says what to add to the URI.
type Opener func(ctx context.Context, place string, public *PublicKey) (Signer, error)

// Open opens the signer that uri names. If public is not nil, it is the key as metadata
// lists it, and a signer with another key is an error. A signer that needs to be closed
// is an io.Closer. Errors show the URI only once it is known to hold no secret.
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
		err := fmt.Errorf("open key %s: this is key %s, not %s: correct the URI, or give the public key that belongs to it", uri, s.Public().ID(), public.ID())
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
