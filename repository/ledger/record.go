package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bindery-tuf/bindery/internal/jsontext"
)

// ErrNewer is wrapped when an entry or a record has a kind or a member that this version
// doesn't know.
var ErrNewer = errors.New("written by a newer version of Bindery, which must be used")

// Kind says what a Record decides.
type Kind string

// The kinds of records. See the package comment.
const (
	KindDocuments  Kind = "documents"
	KindIntent     Kind = "intent"
	KindSeal       Kind = "seal"
	KindCommit     Kind = "commit"
	KindDecided    Kind = "decided"
	KindCollected  Kind = "collected"
	KindRotation   Kind = "rotation"
	KindCheckpoint Kind = "checkpoint"
)

// Record is one decision of a publisher. Its bytes are made once, by NewRecord, and read
// once, by ParseRecord.
type Record struct {
	Epoch      int64
	Generation int64
	Prev       string    // hash of the record before it; "" for the first
	Time       time.Time // by the publisher's clock, in whole seconds
	Body       Body

	data []byte
	hash string
}

// Body is what a record says: *Documents, *Intent, *Seal, *Commit, *Decided, *Collected,
// *Rotation or *Checkpoint.
type Body interface{ Kind() Kind }

// Kind says what the record decides.
func (r Record) Kind() Kind { return r.Body.Kind() }

// Bytes are the record as written. The caller must not change them.
func (r Record) Bytes() []byte { return r.data }

// Hash is the link that the next record carries.
func (r Record) Hash() string { return r.hash }

// Outcomes are the entries that the record decides, in order. Those of a seal take effect
// with its commit.
func (r Record) Outcomes() []ItemOutcome { return outcomesOf(r.Body) }

func outcomesOf(body Body) []ItemOutcome {
	switch b := body.(type) {
	case *Seal:
		return b.Outcomes
	case *Decided:
		return b.Outcomes
	}
	return nil
}

// envelope is the JSON form of a record.
type envelope struct {
	Epoch      int64           `json:"epoch"`
	Kind       Kind            `json:"kind"`
	Generation int64           `json:"generation"`
	Prev       string          `json:"prev"`
	Time       time.Time       `json:"time"`
	Body       json.RawMessage `json:"body"`
}

// NewRecord makes a record and its bytes. The body must not be changed afterwards.
func NewRecord(epoch, generation int64, prev string, at time.Time, body Body) (Record, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return Record{}, fmt.Errorf("encode %s record: %w", body.Kind(), err)
	}
	at = at.UTC().Truncate(time.Second)
	data, err := json.Marshal(envelope{epoch, body.Kind(), generation, prev, at, encoded})
	if err != nil {
		return Record{}, fmt.Errorf("encode %s record: %w", body.Kind(), err)
	}
	return Record{epoch, generation, prev, at, body, data, hash(data)}, nil
}

// ParseRecord reads a record's bytes, which it keeps. It refuses what it doesn't know, with
// an error that wraps ErrNewer.
func ParseRecord(data []byte) (Record, error) {
	if e, ok := cutEnvelope(data); ok {
		if body, err := parseBody(e.Kind, e.Body); err == nil {
			return Record{e.Epoch, e.Generation, e.Prev, e.Time, body, data, hash(data)}, nil
		}
		// The body is wrong, or it isn't the last member.
	}
	e, err := jsontext.Decode[envelope](data)
	if err != nil {
		return Record{}, fmt.Errorf("record: %w", newer(err))
	}
	body, err := parseBody(e.Kind, e.Body)
	if err != nil {
		return Record{}, fmt.Errorf("%s record of generation %d: %w", e.Kind, e.Generation, newer(err))
	}
	return Record{e.Epoch, e.Generation, e.Prev, e.Time, body, data, hash(data)}, nil
}

// cutEnvelope reads an envelope whose body comes last, as NewRecord has it, without the
// body: it is most of the record, and parseBody reads it anyway. It reports whether it
// could; what it took for the body is one only if parseBody can read it.
func cutEnvelope(data []byte) (envelope, bool) {
	head, rest, ok := bytes.Cut(data, []byte(`,"body":`))
	if !ok || !bytes.HasSuffix(rest, []byte("}")) {
		return envelope{}, false
	}
	e, err := jsontext.Decode[envelope](append(bytes.Clone(head), '}'))
	e.Body = rest[:len(rest)-1]
	return e, err == nil
}

func parseBody(kind Kind, data []byte) (Body, error) {
	switch kind {
	case KindDocuments:
		return decode[Documents](data)
	case KindIntent:
		return decode[Intent](data)
	case KindSeal:
		return decode[Seal](data)
	case KindCommit:
		return decode[Commit](data)
	case KindDecided:
		return decode[Decided](data)
	case KindCollected:
		return decode[Collected](data)
	case KindRotation:
		return decode[Rotation](data)
	case KindCheckpoint:
		return decode[Checkpoint](data)
	}
	return nil, fmt.Errorf("%w: unknown kind %q", ErrNewer, kind)
}

func decode[T any, P interface {
	*T
	Body
}](data []byte) (Body, error) {
	b, err := jsontext.Decode[T](data)
	if err != nil {
		return nil, err
	}
	for _, o := range outcomesOf(P(&b)) {
		switch o.State {
		case Published, Superseded, Unchanged, Refused, SetAside:
		default:
			return nil, fmt.Errorf("item %q: %w: unknown state %q", o.ID, ErrNewer, o.State)
		}
	}
	return P(&b), nil
}

// newer says of a member that isn't known what that means.
func newer(err error) error {
	if jsontext.IsUnknownField(err) && !errors.Is(err, ErrNewer) {
		return fmt.Errorf("%w: %w", ErrNewer, err)
	}
	return err
}

// Blob identifies the bytes of a file.
type Blob struct {
	SHA256 string `json:"sha256"` // lower-case hexadecimal
	Length int64  `json:"length"`
}

// BlobOf returns the identity of data.
func BlobOf(data []byte) Blob { return Blob{SHA256: hash(data), Length: int64(len(data))} }

// Doc is an offline document: its version, and its file.
type Doc struct {
	Version int64 `json:"version"`
	Blob
}

// File is an offline document to be written.
type File struct {
	Role string `json:"role"`
	Doc
	Data []byte `json:"data"`
	// AtCommit: to be written just before the swaps of the next generation, because the
	// timestamp before it doesn't verify under this root.
	AtCommit bool `json:"at_commit,omitempty"`
	// Online: the role is signed online. The file isn't written: the next generation signs
	// what it says under a version of its own. If other documents drop the key that signed the
	// document, its role's newest file takes its place here: Data is that, and Doc stays.
	Online bool `json:"online,omitempty"`
}

// Name is the file's name in the store, VERSION.ROLE.json (TUF specification, 6.2).
func (f File) Name() string { return Name(f.Version, f.Role) }

// Name is the name of a role's metadata in a consistent snapshot (TUF specification, 6.2).
func Name(version int64, role string) string { return fmt.Sprintf("%d.%s.json", version, role) }

// ParseName is the inverse of Name. It reports false for a name that Name doesn't make.
func ParseName(name string) (version int64, role string, ok bool) {
	number, rest, found := strings.Cut(name, ".")
	role, isFile := strings.CutSuffix(rest, ".json")
	version, err := strconv.ParseInt(number, 10, 64)
	return version, role, found && isFile && role != "" && err == nil && version > 0 && Name(version, role) == name
}

// Documents says that offline documents were accepted: they will be published.
type Documents struct {
	InForce map[string]Doc `json:"in_force"` // all of them from now on, by role, "root" too
	Files   []File         `json:"files"`    // those that are new

	// Withdrawn are the names of files that were accepted to be written at a commit, and of
	// which no seal followed: nobody tried to write them, and nobody will.
	Withdrawn []string `json:"withdrawn,omitempty"`

	// Rotated are the roles whose rotations end: the documents in force name only the new key, or
	// don't name it any more.
	Rotated []string `json:"rotated,omitempty"`
}

// Intent names every file that its generation may write. Each has the generation as its
// version; the names are N.ROLE.json.
type Intent struct {
	Roles []string   `json:"roles,omitempty"`
	Bins  []BinRange `json:"bins,omitempty"`
}

// BinRange are the bins of a set from First to Last, both included.
type BinRange struct {
	Prefix string `json:"prefix"`
	Digits int    `json:"digits"` // hexadecimal digits of a bin's number
	First  int    `json:"first"`
	Last   int    `json:"last"`
}

// check makes sure that there are such bins.
func (r BinRange) check() error {
	if r.Digits < 1 || r.Digits > 4 || r.First < 0 || r.First > r.Last || r.Last >= 1<<(4*r.Digits) {
		return fmt.Errorf("bins %d to %d of %d digits: out of range", r.First, r.Last, r.Digits)
	}
	return nil
}

// Names yields the role of each file that may be written, bins last.
func (i *Intent) Names(yield func(role string) bool) {
	for _, role := range i.Roles {
		if !yield(role) {
			return
		}
	}
	for _, r := range i.Bins {
		for n := r.First; n <= r.Last; n++ {
			if !yield(fmt.Sprintf("%s-%0*x", r.Prefix, r.Digits, n)) {
				return
			}
		}
	}
}

// Seal says that its generation will be published, and exactly how.
type Seal struct {
	Signed    int64          `json:"signed"`            // Unix seconds
	Expires   Expires        `json:"expires"`           // of snapshot and timestamp
	Keys      []string       `json:"keys"`              // the table's, from now on
	Sets      []SetSize      `json:"sets,omitempty"`    // all sets of bins from now on, where they change
	Rows      []RoleRow      `json:"rows"`              // those that change
	Dropped   []string       `json:"dropped,omitempty"` // roles that are no bins and whose rows go
	Documents map[string]Doc `json:"documents"`         // offline documents of this generation
	Snapshot  Blob           `json:"snapshot"`
	SignedBy  SignedBy       `json:"signed_by,omitempty"`
	Outcomes  []ItemOutcome  `json:"outcomes,omitempty"`

	// Superseded are the names that neither this generation nor a later one refers to: what
	// it replaces, and the files of a seal that is given up for it. Other files of burnt
	// generations are those that their intents name.
	Superseded []string `json:"superseded,omitempty"`
	// Removed are the files of targets that clients find no more, path by path. A path has
	// several if several roles listed it.
	Removed []RemovedTarget `json:"removed,omitempty"`
	// Unseen are the files of targets that an item of this generation added and a later item replaced
	// or removed. Clients never found them.
	Unseen []RemovedTarget `json:"unseen,omitempty"`

	// Swaps are the names to swap, in order. The last one is timestamp.json: it is the
	// commit.
	Swaps []Swap `json:"swaps"`
}

// Timestamp is the timestamp that the generation swaps in.
func (s *Seal) Timestamp() []byte { return s.Swaps[len(s.Swaps)-1].New }

// SignedBy names the keys that signed the timestamp, the snapshot and the targets of a
// generation, by role, as Table.Keys does. A client needs a root that lists them.
type SignedBy map[string][]string

func (a SignedBy) equal(b SignedBy) bool { return maps.EqualFunc(a, b, slices.Equal) }

// Signing are the keys of generations that followed one another. Superseded is when the commit
// of the last of them was followed by that of another generation, signed by other keys; zero
// for the committed generation.
type Signing struct {
	SignedBy   SignedBy  `json:"signed_by"`
	Superseded time.Time `json:"superseded,omitzero"`
}

// Expires is when the two small online roles of a generation expire, in Unix seconds.
type Expires struct {
	Snapshot  int64 `json:"snapshot"`
	Timestamp int64 `json:"timestamp"`
}

// SetSize is a set of hashed bins. One that had another number of bins before begins with
// none published: the seal has all its rows.
type SetSize struct {
	Prefix string `json:"prefix"`
	Bins   int    `json:"bins"`
}

// RoleRow is the new row of one role.
type RoleRow struct {
	Role string `json:"role"`
	Row  Row    `json:"row"`
}

// RemovedTarget is a file that was published under Path with these hashes.
type RemovedTarget struct {
	Path   string            `json:"path"`
	Hashes map[string]string `json:"hashes"`
}

// Swap is a name whose content is replaced: Old by New. Old is nil if there was none.
type Swap struct {
	Name string `json:"name"`
	Old  []byte `json:"old"`
	New  []byte `json:"new"`
}

// Commit says that the swaps of the sealed generation were made. The grace period of what
// it superseded begins at the record's time.
type Commit struct{}

// Decided holds outcomes that need no generation.
type Decided struct {
	Outcomes []ItemOutcome `json:"outcomes"`
}

// Collected says that the files which generations up to Through superseded are gone from the store.
type Collected struct {
	Through int64 `json:"through"`
	// Offered are target files that those generations removed, and that the index is to delete.
	Offered []RemovedTarget `json:"offered,omitempty"`
	// Settled are target files that were offered and need not be offered again: the index reported them
	// deleted, or they are published again.
	Settled []RemovedTarget `json:"settled,omitempty"`
	// Swept, unless it is zero, says that the whole store was listed, and that no garbage of
	// generations up to this one is left but what State.Garbage lists.
	Swept int64 `json:"swept,omitempty"`
}

// Rotation says that an online role goes over to another key. Role is named as in the package
// comment, and To as in Table.Keys.
type Rotation struct {
	Role string `json:"role"`
	To   string `json:"to"`
}

// Rotating is a rotation that is under way. Begun is the time of its record.
type Rotating struct {
	To    string    `json:"to"`
	Begun time.Time `json:"begun"`
}

// Checkpoint is the whole state.
type Checkpoint struct {
	Planned   int64             `json:"planned"`
	Signed    int64             `json:"signed"`
	Expires   Expires           `json:"expires"`
	Swapped   map[string][]byte `json:"swapped"` // the content of each name that is swapped
	Snapshot  Blob              `json:"snapshot"`
	Documents map[string]Doc    `json:"documents"`
	Published map[string]Doc    `json:"published"`
	Signings  []Signing         `json:"signings,omitempty"`
	Attempts  []Attempt         `json:"attempts,omitempty"`
	Garbage   []Garbage         `json:"garbage,omitempty"`
	Collected int64             `json:"collected,omitempty"`
	Targets   []RemovedTarget   `json:"targets,omitempty"`
	Unlisted  int64             `json:"unlisted,omitempty"`
	Bases     map[string]int64  `json:"bases,omitempty"`
	Table     Table             `json:"table"`

	Rotations map[string]Rotating `json:"rotations,omitempty"` // by role
}

// Kind implements Body.
func (*Documents) Kind() Kind { return KindDocuments }

// Kind implements Body.
func (*Intent) Kind() Kind { return KindIntent }

// Kind implements Body.
func (*Seal) Kind() Kind { return KindSeal }

// Kind implements Body.
func (*Commit) Kind() Kind { return KindCommit }

// Kind implements Body.
func (*Decided) Kind() Kind { return KindDecided }

// Kind implements Body.
func (*Collected) Kind() Kind { return KindCollected }

// Kind implements Body.
func (*Rotation) Kind() Kind { return KindRotation }

// Kind implements Body.
func (*Checkpoint) Kind() Kind { return KindCheckpoint }

// From says where reading begins.
type From int

const (
	FromCheckpoint From = iota // what was pending at the newest checkpoint, that checkpoint, and all after it; everything if there is none
	FromBeginning              // everything that is kept
)

// Step is one step of a journal's history: an entry that was queued, or a record that was
// appended. The other one is nil.
type Step struct {
	Entry  *Entry
	Record *Record
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("not UTF-8")
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return fmt.Errorf("control character %U", r)
		}
	}
	return nil
}

// isSHA256 reports whether s is one in lower-case hexadecimal.
func isSHA256(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return len(s) == 64
}
