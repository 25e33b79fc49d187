// Package clients knows what TUF clients refuse beyond what the specification says. What
// Bindery publishes must be accepted by all of them: go-tuf 2.4.2, python-tuf 7.0.1, tuf-js 6
// and tough 0.24.
package clients

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/roles"
)

// CheckKeys makes sure that go-tuf understands every key of a role.
func CheckKeys(listed map[string]*metadata.Key, ids []string) error {
	for _, id := range ids {
		key, ok := listed[id]
		if !ok {
			return fmt.Errorf("key %q is not listed", id)
		}
		if _, err := key.ToPublicKey(); err != nil {
			return fmt.Errorf("key %q, keytype %q: %w", id, key.Type, err)
		}
	}
	return nil
}

// Check says why the strictest client refuses a document that go-tuf reads:
// python-tuf 7.0.1 refuses a whole file for a key of a kind that it doesn't know, used
// or not, for a fifth role in root, and for an expiry that isn't in whole seconds.
func Check[T roles.Type](doc *roles.Document[T]) error {
	var listed map[string]*metadata.Key
	switch signed := any(doc.Signed()).(type) {
	case metadata.RootType:
		for _, role := range slices.Sorted(maps.Keys(signed.Roles)) {
			if !slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], role) {
				return fmt.Errorf("role %q: python-tuf clients refuse a root with other roles than the four", role)
			}
		}
		listed = signed.Keys
	case metadata.TargetsType:
		if signed.Delegations != nil {
			listed = signed.Delegations.Keys
		}
	}
	if err := CheckKeys(listed, slices.Sorted(maps.Keys(listed))); err != nil {
		return fmt.Errorf("not all clients accept it: %w", err)
	}
	return checkExpires(doc.Canonical(), doc.Expires())
}

// checkExpires makes sure that an expiry is written as all clients read it.
func checkExpires(canonical []byte, expires time.Time) error {
	want := expires.UTC().Format(`"2006-01-02T15:04:05Z"`)
	for m, err := range cjson.Members(canonical) {
		if err != nil {
			return err
		}
		if string(m.Key) == "expires" && string(m.Value) != want {
			return fmt.Errorf("expires is %s, which not all clients can read: it must be %s, in whole seconds", m.Value, want)
		}
	}
	return nil
}

// Refuse says what clients refuse once a role has expired, and until when.
func Refuse(role string) string {
	switch role {
	case metadata.ROOT, metadata.TARGETS:
		return "everything, until a newer one is installed"
	case metadata.SNAPSHOT, metadata.TIMESTAMP:
		return "everything, until a newer one is published"
	}
	return "every target that they look for by way of it, until a newer one is published"
}

// Ago says how long before now something expired, and when.
func Ago(expired, now time.Time) string {
	at := expired.UTC().Format(time.RFC3339)
	switch ago := now.Sub(expired); {
	case ago >= 48*time.Hour:
		return fmt.Sprintf("%d days ago, at %s", int(ago.Hours()/24), at)
	default:
		return fmt.Sprintf("%v ago, at %s", ago.Truncate(time.Second), at)
	}
}
