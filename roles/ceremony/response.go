package ceremony

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/bindery-tuf/bindery/internal/schema"
)

// Response holds the signatures of one holder's key over documents of a request. It never changes.
type Response struct {
	file       []byte
	signatures []signature
}

// signature is over one document.
type signature struct {
	Mark
	KeyID string   `json:"keyid"`
	Sig   hexBytes `json:"sig"`
}

type responseFile struct {
	Format     string      `json:"format"`
	Signatures []signature `json:"signatures"`
}

// markMembers are those of a Mark.
var markMembers = schema.Members{
	"role":    documentRole,
	"version": schema.Integer(1, schema.MaxInteger),
	"digest":  sha256Rule,
}

var responseMembers = schema.Members{
	"signatures": schema.All(schema.List(schema.Closed(schema.Members{
		"role":    markMembers["role"],
		"version": markMembers["version"],
		"digest":  markMembers["digest"],
		"keyid":   schema.Text,
		"sig":     schema.Hex,
	}, nil)), func(v any) error {
		if len(v.([]any)) == 0 {
			return errors.New("there is none: ask for a new response")
		}
		return nil
	}),
}

// ParseResponse reads a response. It verifies nothing: Request.Merge does.
func ParseResponse(file []byte) (*Response, error) {
	var wire responseFile
	if err := responseKind.decode(file, &wire); err != nil {
		return nil, err
	}
	return &Response{slices.Clone(file), wire.Signatures}, nil
}

// Bytes returns the file.
func (r *Response) Bytes() []byte { return r.file }

// KeyIDs are the keys that signed, as the response says.
func (r *Response) KeyIDs() []string {
	var ids []string
	for _, s := range r.signatures {
		if !slices.Contains(ids, s.KeyID) {
			ids = append(ids, s.KeyID)
		}
	}
	return ids
}

func newResponse(signatures []signature) *Response {
	file := append(encode(responseFile{responseKind.format(), signatures}), '\n')
	return &Response{file, signatures}
}

// hexBytes are hexadecimal in JSON.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	if *b, err = hex.DecodeString(string(text)); err != nil {
		return fmt.Errorf("sig: %w", err)
	}
	return nil
}

// Marks name the documents that are signed, as the response says.
func (r *Response) Marks() []Mark {
	var marks []Mark
	for _, s := range r.signatures {
		if !slices.Contains(marks, s.Mark) {
			marks = append(marks, s.Mark)
		}
	}
	return marks
}
