package ceremony

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// Check returns nil if a holder with this notebook can sign the request now. It refuses a
// document that has expired, a request that doesn't follow from the trusted root or is older
// (ErrUntrusted), and a version that the key signed with other contents (ErrSigned).
func (r *Request) Check(n Notebook, now time.Time) error {
	if err := r.checkTrust(n); err != nil {
		return err
	}
	for _, p := range r.parts {
		for _, m := range n.Signed {
			if m.Role == p.Role && m.Version == p.Version && m.Digest != p.Digest {
				return fmt.Errorf("%s version %d: %w: it had the digest\n  %s, and this one has\n  %s", p.Role, p.Version, ErrSigned, m.Digest, p.Digest)
			}
		}
		if !p.doc.Expires().After(now) {
			return fmt.Errorf("%s version %d expired at %s, and now it is %s",
				p.Role, p.Version, p.doc.Expires().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// roots returns those of Current and those of New, by version.
func (r *Request) roots() []Mark {
	var marks []Mark
	for _, root := range r.chain {
		marks = append(marks, Mark{roleRoot, root.Version(), Digest(root.Digest())})
	}
	for _, p := range r.parts {
		if p.Role == roleRoot {
			marks = append(marks, p.Mark)
		}
	}
	return marks
}

// SignedBefore returns the documents of the request that the key of a notebook has signed already, as
// they are here, and the newest ones of the same roles that it has signed since. If there are newer
// ones, the request is outdated: its documents are complete, and another request is open. A newer
// root counts only if the notebook trusts the one before it, because others may have been given up.
func (r *Request) SignedBefore(n Notebook) (same, newer []Mark) {
	signed := map[string]bool{} // by role
	for _, m := range r.Marks() {
		if slices.Contains(n.Signed, m) {
			same = append(same, m)
			signed[m.Role] = true
		}
	}
	for _, role := range []string{roleRoot, roleTargets, roleBins} {
		var newest *Mark
		for i, m := range n.Signed {
			if m.Role != role || !signed[role] || m.Version <= r.lastOf(role) {
				continue
			}
			if role == roleRoot && (n.Trusted == nil || m.Version > n.Trusted.Version+1) {
				continue
			}
			if newest == nil || m.Version > newest.Version {
				newest = &n.Signed[i]
			}
		}
		if newest != nil {
			newer = append(newer, *newest)
		}
	}
	return same, newer
}

// lastOf is the highest version of a role that the request asks for, or 0.
func (r *Request) lastOf(role string) int64 {
	var last int64
	for _, m := range r.Marks() {
		if m.Role == role {
			last = max(last, m.Version)
		}
	}
	return last
}

func (r *Request) checkTrust(n Notebook) error {
	roots, trusted := r.roots(), n.Trusted
	if trusted == nil {
		if len(r.chain) > 0 {
			return fmt.Errorf("%w: you trust none yet, and it goes on from root version %d: say which root you trust", ErrUntrusted, r.chain[len(r.chain)-1].Version())
		}
		return nil
	}
	first, last := roots[0], roots[len(roots)-1]
	switch {
	case trusted.Version > last.Version:
		if same, newer := r.SignedBefore(n); len(newer) > 0 {
			return fmt.Errorf("%w: your key has signed %s of it already, and %s since: the request is outdated. Ask for the one that is open", ErrUntrusted, listOf(same), listOf(newer))
		}
		return fmt.Errorf("%w: it ends at root version %d, and you trust version %d: it is an old request, or one of another repository", ErrUntrusted, last.Version, trusted.Version)
	case trusted.Version < first.Version:
		return fmt.Errorf("%w: it begins with root version %d, and you trust version %d: ask for a request that holds all roots from there", ErrUntrusted, first.Version, trusted.Version)
	}
	// The versions are consecutive, and each root is signed by the holders of the one
	// before it: equal at one place is enough.
	if same := roots[trusted.Version-first.Version]; same.Digest != trusted.Digest {
		return fmt.Errorf("%w: your root version %d has the digest\n  %s, and that of the request has\n  %s", ErrUntrusted, trusted.Version, trusted.Digest, same.Digest)
	}
	return nil
}

// Sign runs Check, and then has signer sign every unsigned document for which its key counts.
// The notebook that it returns records that. It trusts the last root of Current or, for a new
// repository, the first root. Make it durable before the response leaves the machine. A key
// that counts for no document is an error.
func (r *Request) Sign(ctx context.Context, signer keys.Signer, n Notebook, now time.Time) (*Response, Notebook, error) {
	if err := r.Check(n, now); err != nil {
		return nil, n, err
	}
	var signatures []signature
	var marks []Mark
	for _, p := range r.parts {
		ids := p.idsOf(signer.Public())
		if len(ids) == 0 || p.signed {
			continue
		}
		s, err := roles.Sign(ctx, signer, p.doc.Canonical())
		if err != nil {
			return nil, n, fmt.Errorf("%s version %d: %w", p.Role, p.Version, r.proposal.named(err))
		}
		for _, id := range ids {
			signatures = append(signatures, signature{p.Mark, id, s.Sig})
		}
		marks = append(marks, p.Mark)
	}
	if len(signatures) == 0 {
		return nil, n, r.noSay(signer.Public().ID())
	}
	return newResponse(signatures), n.with(r.trustedAfter(n), marks), nil
}

// trustedAfter returns the root that a holder trusts after signing the request.
func (r *Request) trustedAfter(n Notebook) Mark {
	roots := r.roots()
	next := roots[max(0, len(r.chain)-1)]
	if n.Trusted != nil && n.Trusted.Version > next.Version {
		return *n.Trusted
	}
	return next
}

// idsOf returns the IDs under which the key counts for this document. Two roots may list one key under
// different IDs.
func (p part) idsOf(key *keys.PublicKey) []string {
	var ids []string
	for _, q := range p.quorums {
		for _, k := range q.Keys {
			if k.Same(key) && !slices.Contains(ids, k.ID()) {
				ids = append(ids, k.ID())
			}
		}
	}
	return ids
}

// noSay is the error for a key whose signature counts for nothing.
func (r *Request) noSay(id string) error {
	var asked []string
	for _, p := range r.parts {
		for _, q := range p.quorums {
			for _, k := range q.Keys {
				if who := r.who(k.ID()).String(); !p.signed && !slices.Contains(asked, who) {
					asked = append(asked, who)
				}
			}
		}
	}
	slices.Sort(asked)
	return r.proposal.named(fmt.Errorf("key %s has nothing to sign: the request asks %s", printable(id), strings.Join(asked, ", ")))
}
