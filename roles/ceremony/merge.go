package ceremony

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
)

// Progress is how far a request has come.
type Progress struct {
	Documents []DocumentProgress `json:"documents"`
}

// DocumentProgress is how far one document has come.
type DocumentProgress struct {
	Mark
	// Quorums must all be met. A root has two: the keys of the root before it, and its own.
	Quorums []Quorum `json:"quorums"`

	file []byte // complete, or nil
}

// Quorum is a set of keys, Threshold of which must sign.
type Quorum struct {
	Of        string `json:"of"` // whose keys, such as "root 2"
	Threshold int    `json:"threshold"`
	Signed    []Who  `json:"signed"`
	Missing   []Who  `json:"missing"` // those who could still sign
}

// Who is a key and its holder.
type Who struct {
	Name  string `json:"name,omitempty"` // "" if the request has no name for the key
	KeyID string `json:"keyid"`
}

// String is the name with the beginning of the key ID.
func (w Who) String() string {
	id := printable(w.KeyID[:min(groupLen, len(w.KeyID))])
	if w.Name == "" {
		return "key " + id
	}
	return w.Name + " (" + id + ")"
}

// orNone returns the name, or says that there is none.
func (w Who) orNone() string { return cmp.Or(w.Name, "(no name)") }

// byName is the order in which people are listed.
func byName(a, b Who) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.KeyID, b.KeyID)) }

// Needed is how many more must sign.
func (q Quorum) Needed() int { return max(0, q.Threshold-len(q.Signed)) }

// Complete reports whether the document has all signatures that it needs.
func (d DocumentProgress) Complete() bool { return d.file != nil }

// Merge verifies the responses, in any order and with repetitions, and returns the progress of the
// request. It refuses a response that signs another document, a key that the request does not ask, and
// a signature that does not verify. The error has the number of the response, from 1.
func (r *Request) Merge(responses ...*Response) (Progress, error) {
	signatures := make([][]roles.Signature, len(r.parts))
	for n, response := range responses {
		for _, s := range response.signatures {
			i, err := r.accept(s)
			if err != nil {
				return Progress{}, fmt.Errorf("response %d of %d: %w", n+1, len(responses), err)
			}
			signatures[i] = append(signatures[i], roles.Signature{KeyID: s.KeyID, Sig: s.Sig})
		}
	}
	var progress Progress
	for i, p := range r.parts {
		d, err := r.progress(p, signatures[i])
		if err != nil {
			return Progress{}, fmt.Errorf("%s version %d: %w", p.Role, p.Version, r.proposal.named(err))
		}
		progress.Documents = append(progress.Documents, d)
	}
	return progress, nil
}

// accept verifies a signature and returns the document that it is over.
func (r *Request) accept(s signature) (int, error) {
	i := slices.IndexFunc(r.parts, func(p part) bool { return p.Role == s.Role && p.Version == s.Version })
	if i < 0 {
		return 0, fmt.Errorf("it signs %s version %d, and the request asks for %s", s.Role, s.Version, r.asks())
	}
	p := r.parts[i]
	if s.Digest != p.Digest {
		return 0, fmt.Errorf("it signs another %s version %d, with the digest\n  %s; that of the request has\n  %s\nIts holder signed another request: have this one signed", s.Role, s.Version, s.Digest, p.Digest)
	}
	key := p.key(s.KeyID)
	if key == nil {
		return 0, r.noSay(s.KeyID)
	}
	if err := key.Verify(p.doc.Canonical(), s.Sig); err != nil {
		return 0, fmt.Errorf("%s version %d: %w: ask for a new response", s.Role, s.Version, r.proposal.named(err))
	}
	return i, nil
}

// asks lists the documents of the request.
func (r *Request) asks() string { return listOf(r.Marks()) }

// listOf is such as "root version 2, targets version 2".
func listOf(marks []Mark) string {
	var all []string
	for _, m := range marks {
		all = append(all, m.String())
	}
	return strings.Join(all, ", ")
}

// key returns the quorum's key with this ID, or nil.
func (p part) key(id string) *keys.PublicKey {
	for _, q := range p.quorums {
		for _, k := range q.Keys {
			if k.ID() == id {
				return k
			}
		}
	}
	return nil
}

func (r *Request) progress(p part, signatures []roles.Signature) (DocumentProgress, error) {
	d := DocumentProgress{Mark: p.Mark}
	complete, err := p.with(signatures)
	if err != nil {
		return d, err
	}
	all := true
	for _, q := range p.quorums {
		d.Quorums = append(d.Quorums, r.quorumProgress(q, complete))
		// Count as a client would.
		all = all && q.Verify(complete) == nil
	}
	if all {
		d.file = complete.Bytes()
	}
	return d, nil
}

func (r *Request) quorumProgress(q quorum, d document) Quorum {
	out := Quorum{Of: q.of, Threshold: q.Threshold, Signed: []Who{}, Missing: []Who{}}
	for _, k := range q.Keys {
		one := roles.Authority{Keys: []*keys.PublicKey{k}, Threshold: 1}
		if one.Verify(d) == nil {
			out.Signed = append(out.Signed, r.who(k.ID()))
		} else {
			out.Missing = append(out.Missing, r.who(k.ID()))
		}
	}
	slices.SortFunc(out.Signed, byName)
	slices.SortFunc(out.Missing, byName)
	return out
}

// with returns the document with the signatures.
func (p part) with(signatures []roles.Signature) (document, error) {
	switch d := p.doc.(type) {
	case rootDoc:
		return addAll(d, signatures)
	case targetsDoc:
		return addAll(d, signatures)
	default:
		return nil, fmt.Errorf("a document of type %T", d)
	}
}

func addAll[T roles.Type](d *roles.Document[T], signatures []roles.Signature) (*roles.Document[T], error) {
	var err error
	for _, s := range signatures {
		if d, err = d.AddSignature(s); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Complete reports whether all documents are complete.
func (p Progress) Complete() bool {
	return !slices.ContainsFunc(p.Documents, func(d DocumentProgress) bool { return !d.Complete() })
}

// Files returns the documents that can be published: those before the first incomplete one. They have
// the signatures of everyone who signed, which may be more than the threshold.
func (p Progress) Files() []Document {
	var files []Document
	for _, d := range p.Documents {
		if !d.Complete() {
			break
		}
		files = append(files, Document{d.Role, d.file})
	}
	return files
}
