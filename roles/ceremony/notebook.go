package ceremony

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bindery-tuf/bindery/internal/schema"
)

// ErrUntrusted is wrapped by Request.Check for a request that is not based on the root
// that the holder trusts.
var ErrUntrusted = errors.New("not based on the root that you trust")

// ErrSigned is wrapped by Request.Check for a version that the holder's key has
// signed with other contents.
var ErrSigned = errors.New("your key has signed this version with other contents")

// Mark names one document. That of each root is on the record sheets.
type Mark struct {
	Role    string `json:"role"`
	Version int64  `json:"version"`
	Digest  Digest `json:"digest"`
}

// Notebook is what a holder remembers from one ceremony to the next. The zero value
// is that of a holder who trusts no root yet, and can sign the first one only.
type Notebook struct {
	Trusted *Mark  `json:"trusted,omitempty"` // a root, or nil
	Signed  []Mark `json:"signed"`            // by the key
}

type notebookFile struct {
	Format string `json:"format"`
	Notebook
}

var notebookMembers = schema.Members{
	"trusted": schema.Closed(schema.Members{
		"role":    schema.OneOf(roleRoot),
		"version": markMembers["version"],
		"digest":  markMembers["digest"],
	}, nil),
	"signed": schema.List(schema.Closed(markMembers, nil)),
}

// ParseNotebook reads what Bytes wrote.
func ParseNotebook(file []byte) (Notebook, error) {
	var wire notebookFile
	if err := notebookKind.decode(file, &wire); err != nil {
		return Notebook{}, err
	}
	return wire.Notebook, nil
}

// Bytes returns the notebook as a file.
func (n Notebook) Bytes() []byte {
	wire := notebookFile{notebookKind.format(), n}
	if wire.Signed == nil {
		wire.Signed = []Mark{}
	}
	return append(encode(wire), '\n')
}

// with returns the notebook with these marks added, once each.
func (n Notebook) with(trusted Mark, signed []Mark) Notebook {
	out := Notebook{&trusted, slices.Clone(n.Signed)}
	for _, m := range signed {
		if !slices.Contains(out.Signed, m) {
			out.Signed = append(out.Signed, m)
		}
	}
	return out
}

// String is such as "root version 2".
func (m Mark) String() string { return fmt.Sprintf("%s version %d", m.Role, m.Version) }
