package repository

import (
	"encoding/json"
	"time"

	"github.com/bindery-tuf/bindery/roles"
)

// Item is one change of the repository, published or refused as a whole: the
// targets added (or replaced) and the paths removed. A path occurs once.
type Item struct {
	// ID names the item, across restarts and retries: at most 128 bytes of
	// printable ASCII. Empty means that Submit makes one.
	ID string `json:"id"`

	Add    []roles.Target `json:"add,omitempty"`
	Remove []string       `json:"remove,omitempty"`

	// Accepted is when the item was queued. It is set by Submit and isn't part
	// of Digest.
	Accepted time.Time `json:"accepted"`
}

// Digest is the SHA-256 (hex) of what the item changes: equal for two items that are
// the same, whatever their IDs and times. The item must have been validated.
func (it Item) Digest() string { panic("todo") }

var _ = json.Marshal
