package roles

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/schema"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Snapshot is the metadata that names the version of every metadata file except root
// and timestamp (TUF specification, 4.4). With 16,384 bins it has half a megabyte. It is
// held as canonical bytes, as a Bin is, and makes the same promises.
type Snapshot struct{ spliced }

// NewSnapshot returns a snapshot that names nothing, of version 0. It can't be
// signed before it was edited.
func NewSnapshot() *Snapshot { return &Snapshot{newSpliced(metadata.SNAPSHOT, "meta")} }

// ParseSnapshot reads a snapshot from anywhere, as ParseBin does a bin.
func ParseSnapshot(file []byte) (*Snapshot, error) {
	s, err := parseSpliced[metadata.SnapshotType](file, metadata.SNAPSHOT, "meta")
	if err != nil {
		return nil, err
	}
	out := &Snapshot{s}
	for _, err := range out.Meta() {
		if err != nil {
			return nil, fmt.Errorf("meta: %w", err)
		}
	}
	return out, nil
}

// MetaEdit says which version of a role's metadata the snapshot names. Length, in
// bytes, is left out where it is 0; a client then applies its own limit.
type MetaEdit struct {
	Role    string
	Version int64
	Length  int64
}

// Edit returns the snapshot with the edits made, without signatures. It takes edits,
// version and expires as Bin.Edit does. No edit removes a role, because clients refuse a
// snapshot from which a role vanished. The caller makes sure that versions go up.
//
// It refuses an empty name, one that isn't clean text, versions below 1, negative
// lengths, and either above 2^53-1.
func (s *Snapshot) Edit(version int64, expires time.Time, edits []MetaEdit) (*Snapshot, error) {
	members := make([]cjson.Edit, 0, len(edits))
	for _, e := range edits {
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("snapshot: role %q: %w", e.Role, err)
		}
		members = append(members, cjson.Edit{Key: e.Role + fileSuffix, Value: e.value()})
	}
	out, err := s.edit(version, expires, lastOfEach(members))
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return &Snapshot{out}, nil
}

// fileSuffix is what a role's name in a snapshot ends in.
const fileSuffix = ".json"

func (e MetaEdit) check() error {
	switch {
	case e.Role == "":
		return errors.New("no name")
	case e.Version < 1 || e.Version > schema.MaxInteger:
		return fmt.Errorf("version %d: not from 1 to 2^53-1", e.Version)
	case e.Length < 0 || e.Length > schema.MaxInteger:
		return fmt.Errorf("length %d: not from 0 to 2^53-1", e.Length)
	}
	return checkText(e.Role)
}

// value is the canonical form of what the snapshot says of the role.
func (e MetaEdit) value() []byte {
	v := append(make([]byte, 0, 32), '{') // enough for most
	if e.Length != 0 {
		v = strconv.AppendInt(append(v, `"length":`...), e.Length, 10)
		v = append(v, ',')
	}
	v = strconv.AppendInt(append(v, `"version":`...), e.Version, 10)
	return append(v, '}')
}

// Version is 0 only for a new snapshot, or one that was edited to version 0.
func (s *Snapshot) Version() int64 { return s.version }

// Expires is in UTC.
func (s *Snapshot) Expires() time.Time { return s.expires }

// Canonical returns the bytes that are signed.
func (s *Snapshot) Canonical() []byte { return s.canonical }

// Signatures returns those of the parsed file, unverified. An edited snapshot has none.
func (s *Snapshot) Signatures() []Signature { return s.signatures }

// Sign returns the snapshot's file, as Bin.Sign does a bin's.
func (s *Snapshot) Sign(ctx context.Context, signer keys.Signer) ([]byte, error) {
	file, err := s.sign(ctx, signer)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	return file, nil
}

// Meta yields what the snapshot names, as the edits that would make it, in the
// order of the names' bytes. Hashes are passed over. An error ends it; there is
// none in a snapshot that ParseSnapshot or Edit returned.
func (s *Snapshot) Meta() iter.Seq2[MetaEdit, error] {
	return func(yield func(MetaEdit, error) bool) {
		for m, err := range s.entries() {
			var e MetaEdit
			if err == nil {
				e, err = metaOf(m)
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func metaOf(m cjson.Member) (MetaEdit, error) {
	name := cjson.DecodeString(m.Key)
	role, ok := strings.CutSuffix(name, fileSuffix)
	if !ok {
		return MetaEdit{}, fmt.Errorf("%q: not the name of a metadata file", name)
	}
	e := MetaEdit{Role: role}
	for m, err := range cjson.Members(m.Value) {
		switch string(m.Key) {
		case "length":
			e.Length, err = strconv.ParseInt(string(m.Value), 10, 64)
		case "version":
			e.Version, err = strconv.ParseInt(string(m.Value), 10, 64)
		}
		if err != nil {
			return MetaEdit{}, fmt.Errorf("%q: %w", name, err)
		}
	}
	return e, nil
}
