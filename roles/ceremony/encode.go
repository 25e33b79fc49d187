package ceremony

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/internal/schema"
)

// requestFile is the file of a request.
type requestFile struct {
	Format    string            `json:"format"`
	Reason    string            `json:"reason"`
	Names     map[string]string `json:"names"`
	Declares  declarations      `json:"declares"`
	Destroyed []destroyedEntry  `json:"destroyed"`
	Current   struct {
		Roots   []json.RawMessage `json:"roots"`
		Targets json.RawMessage   `json:"targets"`
		Bins    json.RawMessage   `json:"bins"`
	} `json:"current"`
	Documents []struct {
		Role   string          `json:"role"`
		Digest Digest          `json:"digest"`
		File   json.RawMessage `json:"file"`
	} `json:"documents"`
}

type declarations struct {
	Compromise bool     `json:"compromise"`
	Lowers     []string `json:"lowers"`
}

type destroyedEntry struct {
	Role   string    `json:"role"`
	KeyIDs []string  `json:"keyids"`
	At     time.Time `json:"at"`
}

var (
	documentRole = schema.OneOf(roleRoot, roleTargets, roleBins)
	anyObject    = schema.Dictionary(func(any) error { return nil })
	distinctText = schema.All(schema.List(schema.Text), schema.Distinct(""))

	requestMembers = schema.Members{
		"reason": schema.Text,
		"names":  schema.Dictionary(nameRule),
		"declares": schema.Closed(schema.Members{
			"compromise": schema.Boolean,
			"lowers":     distinctText,
		}, nil),
		"destroyed": schema.List(schema.Closed(schema.Members{
			"role":   schema.OneOf(roleTargets, roleBins),
			"keyids": distinctText,
			"at":     schema.Instant,
		}, nil)),
		"current": schema.Closed(nil, schema.Members{
			"roots": schema.List(anyObject), "targets": anyObject, "bins": anyObject,
		}),
		"documents": schema.List(schema.Closed(schema.Members{
			"role": documentRole, "digest": sha256Rule, "file": anyObject,
		}, nil)),
	}
)

// proposal returns the proposal in a file, and the digests that the file names.
func (w requestFile) proposal() (Proposal, []Digest) {
	p := Proposal{
		Reason:     w.Reason,
		Names:      w.Names,
		Compromise: w.Declares.Compromise,
		Lowers:     w.Declares.Lowers,
		Current:    Documents{Targets: w.Current.Targets, Bins: w.Current.Bins},
	}
	for _, d := range w.Destroyed {
		p.Destroyed = append(p.Destroyed, Destroyed(d))
	}
	for _, root := range w.Current.Roots {
		p.Current.Roots = append(p.Current.Roots, root)
	}
	var digests []Digest
	for _, d := range w.Documents {
		p.New = append(p.New, Document{d.Role, d.File})
		digests = append(digests, d.Digest)
	}
	return p, digests
}

// head is the beginning of the file, without documents. Empty lists and objects are written as such.
func (p Proposal) head() requestFile {
	head := requestFile{
		Format:    requestKind.format(),
		Reason:    p.Reason,
		Names:     p.Names,
		Declares:  declarations{p.Compromise, p.Lowers},
		Destroyed: []destroyedEntry{},
	}
	if head.Names == nil {
		head.Names = map[string]string{}
	}
	if head.Declares.Lowers == nil {
		head.Declares.Lowers = []string{}
	}
	for _, d := range p.Destroyed {
		entry := destroyedEntry(d)
		if entry.KeyIDs == nil {
			entry.KeyIDs = []string{}
		}
		head.Destroyed = append(head.Destroyed, entry)
	}
	return head
}

// encode writes the request. It splices documents in byte for byte; package json would encode them
// anew.
func (r *Request) encode() []byte {
	p, head := r.proposal, r.proposal.head()
	var b bytes.Buffer
	fmt.Fprintf(&b, "{\"format\":%s,\n\"reason\":%s,\n\"names\":%s,\n\"declares\":%s,\n\"destroyed\":%s,\n\"current\":{",
		encode(head.Format), encode(head.Reason), encode(head.Names), encode(head.Declares), encode(head.Destroyed))
	if roots := p.Current.Roots; len(roots) > 0 {
		b.WriteString("\"roots\":[\n")
		for i, root := range roots {
			if i > 0 {
				b.WriteString(",\n")
			}
			b.Write(bytes.TrimSpace(root))
		}
		b.WriteString("]")
		if p.Current.Targets != nil {
			fmt.Fprintf(&b, ",\n\"targets\":%s", bytes.TrimSpace(p.Current.Targets))
		}
		if p.Current.Bins != nil {
			fmt.Fprintf(&b, ",\n\"bins\":%s", bytes.TrimSpace(p.Current.Bins))
		}
	}
	b.WriteString("},\n\"documents\":[")
	for i, part := range r.parts {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n{\"role\":%s,\"digest\":%s,\"file\":%s}", encode(part.Role), encode(part.Digest), bytes.TrimSpace(p.New[i].File))
	}
	b.WriteString("]}\n")
	return b.Bytes()
}
