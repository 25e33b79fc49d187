package roles

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Type is the signed part of a document, as go-tuf declares it. Bin and
// Snapshot take its place for the two documents that are large and change all the
// time.
type Type interface {
	metadata.RootType | metadata.TargetsType | metadata.SnapshotType | metadata.TimestampType
}

// Document is a metadata file: a signed part and the signatures over it (TUF
// specification, 4.2.1). It never changes; signing returns another one.
//
// A Document keeps its bytes as they were received. They are never encoded again, so
// members that this package doesn't know survive, and so do the signatures over them.
// Don't write to what its methods return. A Document is safe for concurrent use.
type Document[T Type] struct {
	header    Header
	signed    T
	file      envelope
	canonical []byte
}

// Header is what all documents begin with (TUF specification, 4.3).
type Header struct {
	Type    string // "root", "targets" (also for delegated roles), "snapshot" or "timestamp"
	Version int64
	Expires time.Time
}

// SpecVersion is the version of the TUF specification that new documents name.
const SpecVersion = "1.0.34"

// New makes a document without signatures from signed, which it encodes once. It
// refuses what Parse refuses, and an expiry that isn't in UTC and whole seconds.
func New[T Type](signed T) (*Document[T], error) {
	kind := formOf[T]()
	if err := checkExpires(expiresOf(signed)); err != nil {
		return nil, fmt.Errorf("%s: %w", kind.name, err)
	}
	encoded, err := json.Marshal(signed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind.name, err)
	}
	canonical, err := cjson.Canonicalize(encoded)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind.name, err)
	}
	return Parse[T](fileOf(cjson.AppendJSON(nil, canonical)))
}

// Parse reads a metadata file. It verifies nothing: Authority.Verify does.
//
// It refuses what some client can't read, or reads differently: JSON that isn't strict
// (duplicate names, trailing data, invalid UTF-8, numbers that aren't integers), members
// that are missing or of the wrong type, a file larger than clients can be made to read.
// The error names the place. It accepts what today's repositories hold: key IDs of any
// form, unknown key types, empty signatures, unknown members, fractions of a second.
//
// Cost: a few passes over file, of which it keeps a copy.
func Parse[T Type](file []byte) (*Document[T], error) {
	kind := formOf[T]()
	d, err := parse[T](kind, file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind.name, err)
	}
	return d, nil
}

func parse[T Type](kind form, file []byte) (*Document[T], error) {
	tree, err := decode(file, kind.limit)
	if err != nil {
		return nil, err
	}
	if err := fileRule(kind.signed)(tree); err != nil {
		return nil, err
	}
	var d Document[T]
	if d.header, err = headerOf(tree); err != nil {
		return nil, err
	}
	if d.file, err = openEnvelope(bytes.Clone(file)); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(d.file.signed, &d.signed); err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	if d.canonical, err = cjson.Canonicalize(d.file.signed); err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return &d, nil
}

// Peek returns which kind of document a file holds, to choose the type for Parse. It is
// as strict as Parse about the JSON and the header, and doesn't check the rest.
func Peek(file []byte) (Header, error) {
	tree, err := decode(file, targetsForm.limit) // the largest
	if err != nil {
		return Header{}, err
	}
	if err := fileRule(headerRule)(tree); err != nil {
		return Header{}, err
	}
	return headerOf(tree)
}

// decode reads strict JSON for the rules to judge.
func decode(file []byte, limit int) (any, error) {
	if len(file) > limit {
		return nil, tooLarge(len(file), limit)
	}
	return cjson.Decode(file)
}

// headerOf reads the header of a tree that headerRule or a form's rule accepted.
func headerOf(tree any) (h Header, err error) {
	signed := tree.(map[string]any)["signed"].(map[string]any)
	h.Type = signed["_type"].(string)
	if h.Version, err = signed["version"].(json.Number).Int64(); err != nil {
		return Header{}, err
	}
	err = h.Expires.UnmarshalText([]byte(signed["expires"].(string)))
	return h, err
}

// Signed returns the decoded signed part. Beware of the numbers in
// UnrecognizedFields, which go-tuf rounds; Bytes has them as they are.
func (d *Document[T]) Signed() T { return d.signed }

// Bytes returns the file.
func (d *Document[T]) Bytes() []byte { return d.file.bytes }

// Canonical returns the bytes that signatures are made over: the canonical form
// of the signed part as it was received. They need not be valid JSON.
func (d *Document[T]) Canonical() []byte { return d.canonical }

// Digest returns the SHA-256 of Canonical, which signatures don't change.
func (d *Document[T]) Digest() [sha256.Size]byte { return sha256.Sum256(d.canonical) }

// Version returns the version of the signed part.
func (d *Document[T]) Version() int64 { return d.header.Version }

// Expires returns when the signed part expires, in UTC.
func (d *Document[T]) Expires() time.Time { return d.header.Expires }

// Signatures returns the signatures in the order of the file, among them empty
// ones. Parse did not verify them.
func (d *Document[T]) Signatures() []Signature {
	var signatures []Signature
	for _, e := range d.file.entries {
		signatures = append(signatures, e.Signature)
	}
	return signatures
}

// Sign returns the document with a signature by signer: see the function Sign
// and AddSignature for what can go wrong.
func (d *Document[T]) Sign(ctx context.Context, signer keys.Signer) (*Document[T], error) {
	s, err := Sign(ctx, signer, d.canonical)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.header.Type, err)
	}
	return d.AddSignature(s)
}

// AddSignature returns the document with s added, and all signatures sorted by key ID. An
// earlier signature of the same key ID is replaced; other members of its entry stay.
// AddSignature doesn't verify s, because a document doesn't say who may sign it. It
// refuses an empty key ID or signature, and a file that would become too large.
func (d *Document[T]) AddSignature(s Signature) (*Document[T], error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", d.header.Type, err)
	}
	file, err := d.file.with(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.header.Type, err)
	}
	if size, limit := len(file.bytes), formOf[T]().limit; size > limit {
		return nil, fmt.Errorf("%s: %w", d.header.Type, tooLarge(size, limit))
	}
	return &Document[T]{d.header, d.signed, file, d.canonical}, nil
}

func tooLarge(size, limit int) error {
	return fmt.Errorf("%d bytes, and clients read at most %d", size, limit)
}

// checkExpires refuses an expiry that some client could not read.
func checkExpires(t time.Time) error {
	if _, offset := t.Zone(); offset != 0 || t.Nanosecond() != 0 {
		return fmt.Errorf("expires %s: not in UTC and whole seconds", t.Format(time.RFC3339Nano))
	}
	return nil
}

func expiresOf(signed any) time.Time {
	switch signed := signed.(type) {
	case metadata.RootType:
		return signed.Expires
	case metadata.TargetsType:
		return signed.Expires
	case metadata.SnapshotType:
		return signed.Expires
	default:
		return signed.(metadata.TimestampType).Expires
	}
}
