package roles

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync/atomic"
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
	controls   bool // canonical may hold control characters, and be no JSON then

	version int64
	expires time.Time

	// Where these values are in canonical. They follow one another in this order.
	expiresAt, entriesAt, versionAt span

	index cjson.Index // of the entries

	room *room // around canonical, or nil
}

// room is the memory that an edit leaves around its result for what makes a file of
// it, so that signing needs no copy: headRoom bytes, canonical, and one more. The
// first signature takes it, and its file shares canonical's bytes; nobody changes
// either.
type room struct {
	buffer []byte
	taken  atomic.Bool
}

// wasteful tells whether a file made there would keep much more memory than it needs
// from being freed, for as long as somebody keeps it: where little is left of a large
// document, or many edits replaced what was there.
func (r *room) wasteful(canonical int) bool { return cap(r.buffer) > canonical+canonical/8 }

// headRoom is enough for a signature of any key but the largest RSA ones.
const headRoom = 1024

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
	controls := s.controls
	for _, e := range edits {
		size += len(`"":,`) + 2*len(e.Key) + len(e.Value) // 2: all of it escaped
		controls = controls || cjson.HasControls(e.Value) || cjson.HasControls([]byte(e.Key))
	}
	buffer := make([]byte, headRoom+size+len("}"))
	out := spliced{version: version, expires: expires, controls: controls}

	dst := append(buffer[headRoom:headRoom:headRoom+size], s.canonical[:s.expiresAt.start]...)
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
	if n := len(out.canonical); n <= size { // or append went elsewhere
		out.room = &room{buffer: buffer[:headRoom+n+len("}")]}
		out.canonical = out.canonical[:n:n]
	}
	return out, nil
}

// sign returns the file with signer's signature and no other: those who sign bins
// and snapshots are online, and one of them is enough.
func (s *spliced) sign(ctx context.Context, signer keys.Signer) ([]byte, error) {
	if s.version < 1 {
		return nil, errors.New("version 0: not edited yet")
	}
	signature, err := Sign(ctx, signer, s.canonical)
	if err != nil {
		return nil, err
	}
	return s.file(signature), nil
}

// file returns the file with one signature.
func (s *spliced) file(signature Signature) []byte {
	head := appendHead(make([]byte, 0, headRoom), []Signature{signature})
	if s.room == nil || len(head) > headRoom || s.controls || s.room.wasteful(len(s.canonical)) || !s.room.taken.CompareAndSwap(false, true) {
		file := append(make([]byte, 0, len(head)+len(s.canonical)+len("}")), head...)
		return appendTail(file, s.canonical)
	}
	buffer := s.room.buffer
	copy(buffer[headRoom-len(head):], head)
	buffer[len(buffer)-1] = '}'
	return slices.Clip(buffer[headRoom-len(head):])
}

// entries yields the members of the large object.
func (s *spliced) entries() iter.Seq2[cjson.Member, error] {
	return cjson.Members(s.entriesAt.of(s.canonical))
}
