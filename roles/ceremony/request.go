package ceremony

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bindery-tuf/bindery/roles"
)

// ErrLocksOut is wrapped if clients would refuse what is published now after the change, and no
// compromise is declared.
var ErrLocksOut = errors.New("clients would refuse what is published now")

// Proposal says what holders are asked to sign, and why.
type Proposal struct {
	// Reason is shown to the holders: one line, not empty.
	Reason string

	// Names has a name for each key, by key ID. A key without a name is shown by its ID.
	Names map[string]string

	// Compromise declares that a key was stolen. What the key signed may then stop verifying.
	Compromise bool

	// Lowers lists the roles whose threshold goes down, by their names in the package comment. A
	// role in it whose threshold doesn't go down is an error.
	Lowers []string

	// Destroyed are the one-time keys that signed some of New.
	Destroyed []Destroyed

	// Current is what is published now; the zero value for a new repository.
	Current Documents

	// New are the documents in the order in which they are to be published.
	New []Document
}

// Document is one document of a request.
type Document struct {
	Role string // "root", "targets" or "bins"
	File []byte
}

// Request asks holders to sign documents. It never changes.
type Request struct {
	file     []byte
	proposal Proposal
	chain    []rootDoc // of Current
	parts    []part    // of New
	digest   Digest
}

// NewRequest returns the request for p. The package comment says what it refuses.
func NewRequest(p Proposal) (*Request, error) {
	r := &Request{proposal: p}
	if err := r.judge(); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	r.file = r.encode()
	// Holders will see what is read back, whatever the caller does to p.
	return ParseRequest(r.file)
}

// ParseRequest reads a request, and refuses what NewRequest refuses.
func ParseRequest(file []byte) (*Request, error) {
	var wire requestFile
	if err := requestKind.decode(file, &wire); err != nil {
		return nil, err
	}
	p, digests := wire.proposal()
	r := &Request{file: slices.Clone(file), proposal: p}
	if err := r.judge(); err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	for i, part := range r.parts {
		if part.Digest != digests[i] {
			return nil, fmt.Errorf("request: documents[%d]: %s version %d has the digest\n  %s, and the request says\n  %s",
				i, part.Role, part.Version, part.Digest, digests[i])
		}
	}
	return r, nil
}

// Bytes returns the file.
func (r *Request) Bytes() []byte { return r.file }

// Proposal returns what the request asks for, to be read and not written to.
func (r *Request) Proposal() Proposal { return r.proposal }

// Digest is the digest that holders compare with paper. It covers everything that Steps and Proposal
// return. The package comment defines it.
func (r *Request) Digest() Digest { return r.digest }

// Marks name the documents in their order.
func (r *Request) Marks() []Mark {
	var marks []Mark
	for _, part := range r.parts {
		marks = append(marks, part.Mark)
	}
	return marks
}

// who names a key as this request does.
func (r *Request) who(id string) Who { return Who{Name: r.proposal.Names[id], KeyID: id} }

// judge checks the proposal and fills in the rest.
func (r *Request) judge() error {
	p := r.proposal
	if err := checkText("the reason", p.Reason, reasonLimit); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(p.Names)) {
		if err := checkName("the name of key "+id, p.Names[id]); err != nil {
			return err
		}
	}
	s, chain, err := p.Current.parse()
	if err != nil {
		return fmt.Errorf("current: %w", p.named(err))
	}
	r.chain = chain
	if len(p.New) == 0 {
		return errors.New("no document to sign")
	}
	j := judge{state: s, proposal: p, lowered: map[string]bool{}}
	if j.published, err = entriesIn(s, chain); err != nil {
		return fmt.Errorf("current: %w", err)
	}
	if s.targets != nil {
		_, err := roles.DelegatedAuthority(s.targets, roleBins)
		j.firstBins = err != nil
	}
	for i, d := range p.New {
		next := ""
		if i+1 < len(p.New) {
			next = p.New[i+1].Role
		}
		part, err := j.next(d, next)
		if err != nil {
			return fmt.Errorf("documents[%d]: %w", i, p.named(err))
		}
		r.parts = append(r.parts, part)
	}
	for _, role := range p.Lowers {
		if !j.lowered[role] {
			return fmt.Errorf("it declares a lower threshold of %s, which doesn't drop: leave the declaration away", role)
		}
	}
	if err := checkDestroyed(p.Destroyed, r.parts); err != nil {
		return p.named(err)
	}
	r.digest, err = r.statement(s).digest()
	return err
}

// Based names the root that the request goes on from, or nil for a new repository.
func (r *Request) Based() *Mark {
	if len(r.chain) == 0 {
		return nil
	}
	last := r.chain[len(r.chain)-1]
	return &Mark{roleRoot, last.Version(), Digest(last.Digest())}
}
