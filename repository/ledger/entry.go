package ledger

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/jsontext"
	"github.com/bindery-tuf/bindery/roles"
)

// Entry is one item as a journal keeps it: opaque bytes in an envelope.
type Entry struct {
	ID       string    `json:"id"`           // 1 to 128 bytes of printable ASCII without spaces
	Accepted time.Time `json:"accepted"`     // when it was queued, in UTC
	By       string    `json:"by,omitempty"` // who asked, at most 256 bytes; not interpreted
	Body     []byte    `json:"-"`            // the encoding of an Item; must not be changed
}

// Limits of an entry. A journal may have a lower limit for the body.
const (
	MaxID   = 128
	MaxBy   = 256
	MaxBody = 64 << 20
)

// Check returns nil if the envelope is well formed. It doesn't look at the body.
func (e Entry) Check() error {
	switch {
	case e.ID == "":
		return errors.New("item: no ID")
	case len(e.ID) > MaxID:
		return fmt.Errorf("item: an ID of %d bytes, at most %d", len(e.ID), MaxID)
	case len(e.By) > MaxBy:
		return fmt.Errorf("item %q: a By of %d bytes, at most %d", e.ID, len(e.By), MaxBy)
	case len(e.Body) > MaxBody:
		return fmt.Errorf("item %q: %d bytes, at most %d", e.ID, len(e.Body), MaxBody)
	}
	for i := range len(e.ID) {
		if c := e.ID[i]; c < '!' || c > '~' {
			return fmt.Errorf("item: ID %q: not printable ASCII", e.ID)
		}
	}
	if err := checkText(e.By); err != nil {
		return fmt.Errorf("item %q: By: %w", e.ID, err)
	}
	return nil
}

// Size is about how many bytes the entry takes in a journal.
func (e Entry) Size() int { return len(e.Body) + len(e.ID) + len(e.By) + 100 }

// Digest is the SHA-256 of the body, in lower-case hexadecimal.
func (e Entry) Digest() string { return hash(e.Body) }

// Means reports whether e asks for the same as an entry whose digest and body are given.
// Equal digests mean the same without a look at the bodies.
func (e Entry) Means(digest string, body []byte) bool {
	return e.Digest() == digest || body != nil && Meaning(e.Body) == Meaning(body)
}

// Meaning is the digest of what Item.Entry would write for the item that body encodes, so
// that two encodings of one item have one meaning. A body that is no item means itself.
func Meaning(body []byte) string {
	it, err := ParseItem(body)
	if err != nil {
		return hash(body)
	}
	encoded, err := it.encode()
	if err != nil {
		return hash(body)
	}
	return hash(encoded)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Item is one change of the repository, published or refused as a whole.
type Item struct {
	// ID names the item across restarts and retries: at most 128 bytes of printable
	// ASCII. Repository.Submit makes one where it is empty.
	//
	// Don't derive it from the content. An item whose ID a journal remembers is not queued
	// again, and nothing is published: a file that is added, removed and added again needs
	// a new ID each time. Receipt.Repeated tells such a repetition apart.
	ID string `json:"-"`
	// By says who asked, for the log. It is not interpreted.
	By string `json:"-"`
	// Accepted is when the item was queued. Repository.Submit sets it.
	Accepted time.Time `json:"-"`

	Add    []roles.Target `json:"add,omitempty"`    // added, or replaced
	Remove []string       `json:"remove,omitempty"` // paths; one that isn't published is no error

	// If holds conditions. All are decided together, against what is published and the
	// items before this one. If one doesn't hold, nothing of the item is published.
	If []Condition `json:"if,omitempty"`

	// Import says that the targets lie outside the ledger.
	Import *Import `json:"import,omitempty"`

	// Metadata holds roles that others signed, published together with the targets.
	Metadata []SignedRole `json:"metadata,omitempty"`
}

// Condition is what must be true of a path for its item to be published.
type Condition struct {
	Path string `json:"path"`
	// Absent: the path is not published.
	Absent bool `json:"absent,omitempty"`
	// SHA256: the path is published with this hash, in lower-case hexadecimal.
	SHA256 string `json:"sha256,omitempty"`
}

// Import names a body that lies outside the ledger: a sorted list of targets.
type Import struct {
	Name    string `json:"name"` // where the publisher finds it
	SHA256  string `json:"sha256"`
	Length  int64  `json:"length"`  // bytes
	Targets int64  `json:"targets"` // how many
}

// SignedRole is metadata that was signed elsewhere.
type SignedRole struct {
	Role string `json:"role"`
	File []byte `json:"file"`
}

// Entry encodes the item, in the form that the package comment describes.
func (it Item) Entry() (Entry, error) {
	body, err := it.encode()
	if err != nil {
		return Entry{}, fmt.Errorf("item %q: %w", it.ID, err)
	}
	return Entry{ID: it.ID, By: it.By, Accepted: it.Accepted, Body: body}, nil
}

func (it Item) encode() ([]byte, error) {
	it.Add = slices.Clone(it.Add)
	for i, t := range it.Add {
		if len(t.Custom) == 0 {
			continue
		}
		canonical, err := cjson.Canonicalize(t.Custom)
		if err != nil {
			return nil, fmt.Errorf("target %q: custom: %w", t.Path, err)
		}
		it.Add[i].Custom = cjson.AppendJSON(nil, canonical)
	}
	slices.SortStableFunc(it.Add, func(a, b roles.Target) int { return cmp.Compare(a.Path, b.Path) })
	it.Remove = slices.Sorted(slices.Values(it.Remove))
	it.If = slices.Clone(it.If)
	slices.SortStableFunc(it.If, func(a, b Condition) int { return cmp.Compare(a.Path, b.Path) })
	return json.Marshal(it)
}

// ParseItem reads the body of an entry. It refuses what it doesn't know, with an error that
// wraps ErrNewer, and a target without a length. It validates nothing else.
func ParseItem(body []byte) (Item, error) {
	it, err := parseItem(body)
	if err != nil {
		return Item{}, fmt.Errorf("item: %w", newer(err))
	}
	return it, nil
}

func parseItem(body []byte) (Item, error) {
	// What package encoding/json lets pass: duplicate members, text that isn't UTF-8, names in
	// another case.
	tree, err := cjson.Decode(body)
	if err != nil {
		return Item{}, err
	}
	if err := checkNames(tree, "", itemNames); err != nil {
		return Item{}, err
	}
	if err := checkLengths(tree); err != nil {
		return Item{}, err
	}
	return jsontext.Decode[Item](body)
}

// checkLengths makes sure that each target says its length. Without it, the length would be 0, and clients would refuse the
// file.
func checkLengths(tree any) error {
	item, _ := tree.(map[string]any)
	targets, _ := item["add"].([]any)
	for _, t := range targets {
		if t, ok := t.(map[string]any); ok && t["length"] == nil {
			return fmt.Errorf("target %q: length is missing: give the file's length in bytes", t["path"])
		}
	}
	return nil
}

// itemNames are the members of an item, and of the objects in it.
var itemNames = map[string][]string{
	"":         {"add", "remove", "if", "import", "metadata"},
	"add":      {"path", "length", "hashes", "custom"},
	"if":       {"path", "absent", "sha256"},
	"import":   {"name", "sha256", "length", "targets"},
	"metadata": {"role", "file"},
}

// checkNames makes sure that the objects in a member of an item have no other members than
// names says.
func checkNames(v any, of string, names map[string][]string) error {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			if err := checkNames(element, of, names); err != nil {
				return err
			}
		}
	case map[string]any:
		allowed, known := names[of]
		if !known {
			return nil // hashes and custom data: any names
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !slices.Contains(allowed, name) {
				return fmt.Errorf("%w: unknown member %q", ErrNewer, name)
			}
			if err := checkNames(v[name], name, names); err != nil {
				return err
			}
		}
	}
	return nil
}

// Item reads the entry's body, and completes it with the envelope.
func (e Entry) Item() (Item, error) {
	it, err := ParseItem(e.Body)
	if err != nil {
		return Item{}, err
	}
	it.ID, it.By, it.Accepted = e.ID, e.By, e.Accepted
	return it, nil
}

// maxChanges is how many paths one item may name. It bounds what one item can demand of
// the journal and of a generation's memory.
const maxChanges = 10_000

// Validate returns nil if every client would understand what the item adds, or else an error that
// names the path and the reason. Call it before you write an entry without Repository.Submit. No I/O.
func (it Item) Validate() error {
	if err := (Entry{ID: it.ID, By: it.By}).Check(); err != nil {
		return err
	}
	switch n := len(it.Add) + len(it.Remove); {
	case it.Import != nil:
		return errors.New("item: an import: this version publishes none")
	case len(it.Metadata) > 0:
		return errors.New("item: metadata signed by others: this version publishes none")
	case n == 0:
		return errors.New("item: it names no path")
	case n > maxChanges:
		return fmt.Errorf("item: %d paths, at most %d", n, maxChanges)
	case len(it.If) > maxChanges:
		return fmt.Errorf("item: %d conditions, at most %d", len(it.If), maxChanges)
	}
	seen := make(map[string]bool, len(it.Add)+len(it.Remove))
	once := func(path string) error {
		if seen[path] {
			return fmt.Errorf("target %q: named twice in one item", path)
		}
		seen[path] = true
		return nil
	}
	for _, t := range it.Add {
		if err := t.Validate(); err != nil {
			return err
		}
		if err := once(t.Path); err != nil {
			return err
		}
	}
	for _, path := range it.Remove {
		if err := roles.CheckPath(path); err != nil {
			return err
		}
		if err := once(path); err != nil {
			return err
		}
	}
	return it.checkConditions(seen)
}

// checkConditions makes sure that each condition is about a path that the item changes:
// about another one it could change after it was decided.
func (it Item) checkConditions(named map[string]bool) error {
	asked := make(map[string]bool, len(it.If))
	for _, c := range it.If {
		switch {
		case !named[c.Path]:
			return fmt.Errorf("condition on %q: the item doesn't change that path", c.Path)
		case asked[c.Path]:
			return fmt.Errorf("condition on %q: there are two", c.Path)
		case c.Absent == (c.SHA256 != ""):
			return fmt.Errorf("condition on %q: want either absent or a sha256", c.Path)
		case c.SHA256 != "" && !isSHA256(c.SHA256):
			return fmt.Errorf("condition on %q: %q is no SHA-256 in lower-case hexadecimal", c.Path, c.SHA256)
		}
		asked[c.Path] = true
	}
	return nil
}

// Edits yields what the item does: one edit of each path that it names.
func (it Item) Edits(yield func(roles.TargetEdit) bool) {
	for i := range it.Add {
		if !yield(roles.TargetEdit{Path: it.Add[i].Path, Target: &it.Add[i]}) {
			return
		}
	}
	for _, path := range it.Remove {
		if !yield(roles.TargetEdit{Path: path}) {
			return
		}
	}
}

// Paths yields every path that the item names.
func (it Item) Paths(yield func(string) bool) {
	for e := range it.Edits {
		if !yield(e.Path) {
			return
		}
	}
}

// ItemState is how far an item has come.
type ItemState string

// The states of an item. All but Accepted are final.
const (
	Accepted   ItemState = "accepted"   // durable in the queue; it will be decided
	Published  ItemState = "published"  // part of Generation, which clients can see
	Superseded ItemState = "superseded" // all its paths were replaced by later items of Generation
	Unchanged  ItemState = "unchanged"  // what it asks for was published already; nothing was signed
	Refused    ItemState = "refused"    // one of its conditions didn't hold, for Reason; nothing of it was published
	SetAside   ItemState = "set aside"  // can't be published, for Reason; nothing of it was
)

// Outcome says what became of an item.
type Outcome struct {
	State      ItemState `json:"state"`
	Generation int64     `json:"generation,omitempty"` // in which it was decided; 0 while Accepted
	Reason     string    `json:"reason,omitempty"`     // why it was refused or set aside
}

// ItemOutcome is the outcome of one entry, in a seal or a decided record.
type ItemOutcome struct {
	ID     string `json:"id"`
	Digest string `json:"digest"`          // of the entry's body
	Means  string `json:"means,omitempty"` // its meaning, where that is another digest
	By     string `json:"by,omitempty"`
	Outcome
}

// Meaning is the digest by which another entry under this ID is compared with it.
func (o ItemOutcome) Meaning() string { return cmp.Or(o.Means, o.Digest) }

// Is reports whether e asks for the same as the entry that was decided.
func (o ItemOutcome) Is(e Entry) bool {
	return e.Digest() == o.Digest || Meaning(e.Body) == o.Meaning()
}

// OutcomeOf returns what a record says about an entry.
func OutcomeOf(e Entry, o Outcome) ItemOutcome {
	out := ItemOutcome{ID: e.ID, Digest: e.Digest(), By: e.By, Outcome: o}
	if means := Meaning(e.Body); means != out.Digest {
		out.Means = means
	}
	return out
}
