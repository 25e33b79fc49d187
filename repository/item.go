package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/roles"
)

// Item is one change of the repository, published or refused as a whole: the
// targets added (or replaced) and the paths removed.
type Item struct {
	// ID names the item across restarts and retries: at most 128 bytes of
	// printable ASCII. Empty means that Submit makes one.
	ID string `json:"id"`

	Add    []roles.Target `json:"add,omitempty"`
	Remove []string       `json:"remove,omitempty"`

	// Accepted is when the item was queued. Submit sets it; it isn't part of
	// the Digest.
	Accepted time.Time `json:"accepted"`
}

// maxChanges is how many paths one item may name. It bounds what one item can
// demand of the journal and of a generation's memory.
const maxChanges = 10_000

// Validate returns nil if every client would understand the item, or an error
// that names the path and the reason. Submit calls it; a program that puts items
// into a shared journal itself must call it first. No I/O.
func (it Item) Validate() error {
	if err := checkID(it.ID); err != nil {
		return err
	}
	switch n := len(it.Add) + len(it.Remove); {
	case n == 0:
		return errors.New("item: it names no path")
	case n > maxChanges:
		return fmt.Errorf("item: %d paths, at most %d", n, maxChanges)
	}
	var seen map[string]bool
	if n := len(it.Add) + len(it.Remove); n > 1 {
		seen = make(map[string]bool, n)
	}
	once := func(path string) error {
		if seen == nil { // there is one path
			return nil
		}
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
	return nil
}

// Digest is the SHA-256 (hex) of what the item changes: equal for two items
// that change the same, whatever their IDs and times. Journals keep it: it is over the
// JSON of the item with an empty ID and the zero time.
func (it Item) Digest() string {
	var room usualItem
	it.ID, it.Accepted = "", time.Time{}
	b, err := it.appendJSON(room[:0])
	if err != nil { // only for custom data that Validate refuses
		b = fmt.Appendf(nil, "%#v %#v", it.Add, it.Remove)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// size is about how many bytes the item takes in a journal.
func (it Item) size() int {
	n := 100
	for _, t := range it.Add {
		n += t.Size() + 20
	}
	for _, path := range it.Remove {
		n += len(path)
	}
	return n
}

// edits yields what the item does to bins: one edit of each path that it names.
func (it Item) edits(yield func(roles.TargetEdit) bool) {
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

// paths yields every path that the item names.
func (it Item) paths(yield func(string) bool) {
	for e := range it.edits {
		if !yield(e.Path) {
			return
		}
	}
}

func checkID(id string) error {
	if len(id) > 128 {
		return fmt.Errorf("item: an ID of %d bytes, at most 128", len(id))
	}
	for i := range len(id) {
		if id[i] < '!' || id[i] > '~' {
			return fmt.Errorf("item: ID %q: not printable ASCII", id)
		}
	}
	return nil
}
