package ceremony

import (
	"crypto/sha256"
	"slices"
)

// statement is everything that a holder's screen is made from. The digest of a request is computed over
// it. The package comment specifies it.
type statement struct {
	Format    string            `json:"format"`
	Reason    string            `json:"reason"`
	Names     map[string]string `json:"names"`
	Declares  declarations      `json:"declares"`
	Destroyed []destroyedEntry  `json:"destroyed"`
	Current   []Mark            `json:"current"`
	Documents []statedDocument  `json:"documents"`
}

type statedDocument struct {
	Mark
	Signed []string `json:"signed"` // key IDs
}

// statement of a request that is judged; s is what was in force before it.
func (r *Request) statement(s state) statement {
	head := r.proposal.head()
	out := statement{
		Format: head.Format, Reason: head.Reason, Names: head.Names, Declares: head.Declares, Destroyed: head.Destroyed,
		Current: []Mark{}, Documents: []statedDocument{},
	}
	for _, role := range []string{roleRoot, roleTargets, roleBins} {
		if d := s.document(role); d != nil {
			out.Current = append(out.Current, Mark{role, d.Version(), Digest(d.Digest())})
		}
	}
	for _, p := range r.parts {
		signed := []string{}
		for _, sig := range p.doc.Signatures() {
			signed = append(signed, sig.KeyID)
		}
		slices.Sort(signed)
		out.Documents = append(out.Documents, statedDocument{p.Mark, signed})
	}
	return out
}

func (s statement) digest() (Digest, error) {
	message, err := canonical(s)
	return sha256.Sum256(message), err
}
