package roles

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/schema"
	"github.com/bindery-tuf/bindery/keys"
)

// spliced is a document that is, but for a few bytes, one large object: the
// targets of a bin or the meta of a snapshot. It is held as canonical bytes,
// never decoded as a whole, and edited by splicing. It doesn't change.
type spliced struct {
	canonical  []byte
	signatures []Signature
	controls   bool // canonical may hold control characters, and is no JSON then

	version int64
	expires time.Time

	// Where these values are in canonical. They follow one another in this order.
	expiresAt, entriesAt, versionAt span

	index cjson.Index // of the entries
}

type span struct{ start, end int }

func (s span) of(b []byte) []byte { return b[s.start:s.end] }

// newSpliced makes a document of the type that has no entries, version 0, and
// expired long ago.
func newSpliced(kind, entries string) spliced {
	canonical, err := cjson.Canonicalize(fmt.Appendf(nil, `{"_type":%q,"expires":%q,"spec_version":%q,%q:{},"version":0}`,
		kind, time.Time{}.Format(time.RFC3339), SpecVersion, entries))
	var s spliced
	if err == nil {
		s, err = cutSpliced(canonical, kind, entries)
	}
	if err != nil {
		panic(err) // not by any input: there was none
	}
	return s
}

// parseSpliced takes over a document that Parse accepted.
func parseSpliced[T Type](file []byte, kind, entries string) (spliced, error) {
	d, err := Parse[T](file)
	if err != nil {
		return spliced{}, err
	}
	s, err := cutSpliced(d.Canonical(), kind, entries)
	if err != nil {
		return spliced{}, fmt.Errorf("%s: %w", kind, err)
	}
	s.signatures, s.controls = d.Signatures(), hasControls(s.canonical)
	return s, nil
}

// cutSpliced finds the parts of a canonical signed part, which it keeps.
func cutSpliced(canonical []byte, kind, entries string) (spliced, error) {
	s := spliced{canonical: canonical}
	found := 0
	for m, err := range cjson.IndexedMembers(canonical, entries, &s.index) {
		if err != nil {
			return spliced{}, err
		}
		at := span{m.Start, m.Start + len(m.Value)}
		switch string(m.Key) {
		case "_type":
			if name, _ := unquote(m.Value); name != kind {
				return spliced{}, fmt.Errorf("_type is %s, not %q", m.Value, kind)
			}
		case "expires":
			text, err := unquote(m.Value)
			if err == nil {
				s.expires, err = time.Parse(time.RFC3339, text)
			}
			if err != nil {
				return spliced{}, fmt.Errorf("expires: %w", err)
			}
			s.expires, s.expiresAt = s.expires.UTC(), at
		case entries:
			if m.Value[0] != '{' {
				return spliced{}, fmt.Errorf("%s: not an object", entries)
			}
			s.entriesAt = at
		case "version":
			if s.version, err = strconv.ParseInt(string(m.Value), 10, 64); err != nil {
				return spliced{}, fmt.Errorf("version: %w", err)
			}
			s.versionAt = at
		default:
			continue
		}
		found++
	}
	if found < 4 {
		return spliced{}, fmt.Errorf("one of _type, expires, %s, version is missing", entries)
	}
	return s, nil
}

// edit returns the document with another version and expiry and with the edits
// made to its entries. It has no signatures.
func (s *spliced) edit(version int64, expires time.Time, edits []cjson.Edit) (spliced, error) {
	if version < 0 || version > schema.MaxInteger {
		return spliced{}, fmt.Errorf("version %d: not from 0 to 2^53-1", version)
	}
	expires = expires.UTC().Truncate(time.Second)
	if year := expires.Year(); year < 1 || year > 9999 {
		return spliced{}, fmt.Errorf("expires in the year %d: not from 1 to 9999", year)
	}
	size := len(s.canonical) + 2*len(time.RFC3339)
	out := spliced{version: version, expires: expires, controls: s.controls}
	for _, e := range edits {
		size += len(`"":,`) + 2*len(e.Key) + len(e.Value) // 2: all of it escaped
		out.controls = out.controls || hasControls(e.Key) || hasControls(e.Value)
	}

	dst := append(make([]byte, 0, size), s.canonical[:s.expiresAt.start]...)
	out.expiresAt.start = len(dst)
	dst = cjson.AppendString(dst, expires.Format(time.RFC3339))
	out.expiresAt.end = len(dst)

	dst = append(dst, s.canonical[s.expiresAt.end:s.entriesAt.start]...)
	out.entriesAt.start = len(dst)
	dst, index, err := s.index.Splice(dst, s.entriesAt.of(s.canonical), edits)
	if err != nil {
		return spliced{}, err
	}
	out.entriesAt.end, out.index = len(dst), index

	dst = append(dst, s.canonical[s.entriesAt.end:s.versionAt.start]...)
	out.versionAt.start = len(dst)
	dst = strconv.AppendInt(dst, version, 10)
	out.versionAt.end = len(dst)
	out.canonical = append(dst, s.canonical[s.versionAt.end:]...)
	return out, nil
}

// hasControls reports whether AppendJSON escapes anything in text.
func hasControls[T string | []byte](text T) bool {
	for i := range len(text) {
		if text[i] < 0x20 {
			return true
		}
	}
	return false
}

// sign returns the file with signer's signature and no other: those who sign bins
// and snapshots are online, and one of them is enough.
func (s *spliced) sign(ctx context.Context, signer keys.Signer) ([]byte, error) {
	if s.version < 1 {
		return nil, errors.New("version 0: call Edit before Sign")
	}
	signature, err := Sign(ctx, signer, s.canonical)
	if err != nil {
		return nil, err
	}
	signed := s.canonical
	if s.controls {
		signed = cjson.AppendJSON(nil, signed)
	}
	return fileOf(signed, signature), nil
}

// entries yields the members of the large object.
func (s *spliced) entries() iter.Seq2[cjson.Member, error] {
	return cjson.Members(s.entriesAt.of(s.canonical))
}
