package roles

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Bin is the metadata of one hashed bin (PEP 458, bin-n; TUF specification, 4.5). It
// is held as canonical bytes, so changing a target costs little more than copying them.
// A Bin never changes and is safe for concurrent use. Don't write to what its methods
// return.
type Bin struct{ spliced }

// NewBin returns a bin without targets, of version 0. It can't be signed before
// it was edited.
func NewBin() *Bin { return &Bin{newSpliced(metadata.TARGETS, "targets")} }

// ParseBin reads a bin from any source. Like Parse, it is strict and verifies no
// signature. Members of the signed part that Bindery doesn't know are kept. Cost:
// several passes over file, which isn't kept.
func ParseBin(file []byte) (*Bin, error) {
	s, err := parseSpliced[metadata.TargetsType](file, metadata.TARGETS, "targets")
	if err != nil {
		return nil, err
	}
	b := &Bin{s}
	for _, err := range b.Targets() {
		if err != nil {
			return nil, fmt.Errorf("targets: %w", err)
		}
	}
	return b, nil
}

// OpenBin reads a file that Sign made. The caller has checked that it is that file, by
// its SHA-256 for example: in any other file OpenBin notices only some faults, though it
// never panics. The Bin keeps file, which must not change afterwards. Cost: one pass, few
// allocations.
func OpenBin(file []byte) (*Bin, error) {
	s, err := openCanonical(file)
	if err != nil && bytes.Contains(file, []byte(`\u`)) { // control characters, escaped
		var canonical []byte
		if canonical, err = cjson.Canonicalize(file); err == nil {
			s, err = openCanonical(canonical)
			s.controls = true
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", metadata.TARGETS, err)
	}
	return &Bin{s}, nil
}

// openCanonical finds the parts of a file in canonical form. The result aliases file.
func openCanonical(file []byte) (spliced, error) {
	before, rest, found := bytes.Cut(file, []byte(`],"signed":`))
	list, ok := bytes.CutPrefix(before, []byte(`{"signatures":`))
	canonical, closed := bytes.CutSuffix(rest, []byte("}"))
	if !found || !ok || !closed {
		return spliced{}, errors.New("not a file in canonical form, as Bindery writes it: was it altered, or written by another program?")
	}
	signatures, err := decodeSignatures(append(slices.Clip(list), ']'))
	if err != nil {
		return spliced{}, fmt.Errorf("signatures: %w", err)
	}
	s, err := cutSpliced(canonical, metadata.TARGETS, "targets")
	s.signatures = signatures
	return s, err
}

func decodeSignatures(canonical []byte) ([]Signature, error) {
	var list []struct{ KeyID, Sig string }
	if err := json.Unmarshal(cjson.AppendJSON(nil, canonical), &list); err != nil {
		return nil, err
	}
	var signatures []Signature
	for _, s := range list {
		sig, err := hex.DecodeString(s.Sig)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", s.KeyID, err)
		}
		signatures = append(signatures, Signature{KeyID: s.KeyID, Sig: sig})
	}
	return signatures, nil
}

// TargetEdit puts Target at Path, or removes what is there where Target is nil.
type TargetEdit struct {
	Path   string
	Target *Target
}

// Edit returns the bin with the edits made, without signatures. Edits come in any
// order; the last edit of a path counts. Removing a path that isn't there is not an
// error. Expires is converted to UTC and cut to whole seconds. The caller makes sure that
// versions go up.
//
// Edit refuses a target that Validate refuses, a target whose Path isn't the edit's, a
// version outside 0 to 2^53-1, and an expiry outside the years 1 to 9999.
//
// Cost: a pass over the paths and one copy of the bin. The number of allocations depends
// on the edits only.
func (b *Bin) Edit(version int64, expires time.Time, edits []TargetEdit) (*Bin, error) {
	members := make([]cjson.Edit, 0, len(edits))
	for _, e := range edits {
		member := cjson.Edit{Key: e.Path}
		if e.Target != nil {
			if e.Target.Path != e.Path {
				return nil, fmt.Errorf("target %q: it is listed under the path %q", e.Target.Path, e.Path)
			}
			if err := e.Target.Validate(); err != nil {
				return nil, err
			}
			var err error
			if member.Value, err = e.Target.value(); err != nil {
				return nil, fmt.Errorf("target %q: %w", e.Path, err)
			}
		}
		members = append(members, member)
	}
	s, err := b.edit(version, expires, lastOfEach(members))
	if err != nil {
		return nil, fmt.Errorf("bin: %w", err)
	}
	return &Bin{s}, nil
}

// lastOfEach sorts edits and keeps the last one of each key.
func lastOfEach(edits []cjson.Edit) []cjson.Edit {
	byKey := func(a, b cjson.Edit) int { return cmp.Compare(a.Key, b.Key) }
	if !slices.IsSortedFunc(edits, byKey) {
		slices.SortStableFunc(edits, byKey)
	}
	kept := edits[:0]
	for i, e := range edits {
		if i+1 == len(edits) || edits[i+1].Key != e.Key {
			kept = append(kept, e)
		}
	}
	return kept
}

// Version is 0 only for a new bin, or one that was edited to version 0.
func (b *Bin) Version() int64 { return b.version }

// Expires is in UTC.
func (b *Bin) Expires() time.Time { return b.expires }

// Canonical returns the bytes that are signed.
func (b *Bin) Canonical() []byte { return b.canonical }

// Signatures returns those of the parsed or opened file, unverified. An edited bin has
// none.
func (b *Bin) Signatures() []Signature { return b.signatures }

// Sign returns the bin's file with one signature over Canonical, made by signer: see the
// function Sign. The file is in canonical form, except that control characters are
// escaped. The Bin itself stays unsigned.
func (b *Bin) Sign(ctx context.Context, signer keys.Signer) ([]byte, error) {
	file, err := b.sign(ctx, signer)
	if err != nil {
		return nil, fmt.Errorf("bin: %w", err)
	}
	return file, nil
}

// Targets yields the targets in the byte order of their paths. An error ends it; a bin
// from ParseBin or Edit yields none. Members that Target has no field for are left out.
func (b *Bin) Targets() iter.Seq2[Target, error] {
	return func(yield func(Target, error) bool) {
		for m, err := range b.entries() {
			var t Target
			if err == nil {
				t, err = targetOf(m)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// Lookup returns the target at path; found is false where there is none. Cost: a
// pass over the targets before it.
func (b *Bin) Lookup(path string) (t Target, found bool, err error) {
	for m, err := range b.entries() {
		if err != nil {
			return Target{}, false, err
		}
		switch order := strings.Compare(cjson.DecodeString(m.Key), path); {
		case order == 0:
			t, err := targetOf(m)
			return t, err == nil, err
		case order > 0:
			return Target{}, false, nil
		}
	}
	return Target{}, false, nil
}

func targetOf(m cjson.Member) (Target, error) {
	path := cjson.DecodeString(m.Key)
	t, err := decodeTarget(path, m.Value)
	if err != nil {
		return Target{}, fmt.Errorf("target %q: %w", path, err)
	}
	return t, nil
}
