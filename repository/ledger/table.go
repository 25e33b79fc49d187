package ledger

import (
	"encoding/hex"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bindery-tuf/bindery/delegation"
)

// Row is what is published of one online role. The zero value is nothing.
type Row struct {
	Version int64
	Signed  int64 // Unix seconds
	Expires int64 // Unix seconds
	SHA256  [32]byte
	Length  int32 // bytes; clients read at most 10,000,000
	Key     int32 // index into Table.Keys
}

// Blob identifies the file.
func (r Row) Blob() Blob { return Blob{hex.EncodeToString(r.SHA256[:]), int64(r.Length)} }

// MarshalText implements encoding.TextMarshaler: see the package comment.
func (r Row) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 128)
	for _, n := range []int64{r.Version, int64(r.Length), r.Signed, r.Expires, int64(r.Key)} {
		b = append(strconv.AppendInt(b, n, 10), ' ')
	}
	return hex.AppendEncode(b, r.SHA256[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. It reads what MarshalText writes, and
// nothing else.
func (r *Row) UnmarshalText(text []byte) error {
	rest := string(text)
	var numbers [5]int64
	for i, name := range [...]string{"version", "length", "signed", "expires", "key"} {
		word, after, ok := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(word, 10, 64)
		if !ok || err != nil || !plain(word) {
			return fmt.Errorf("row %q: %s: not a number from 0 to 2^63-1", text, name)
		}
		numbers[i], rest = n, after
	}
	if numbers[1] > math.MaxInt32 || numbers[4] > math.MaxInt32 {
		return fmt.Errorf("row %q: a number above 2^31-1", text)
	}
	if !isSHA256(rest) {
		return fmt.Errorf("row %q: no SHA-256 in lower-case hexadecimal", text)
	}
	*r = Row{Version: numbers[0], Length: int32(numbers[1]), Signed: numbers[2], Expires: numbers[3], Key: int32(numbers[4])}
	hex.Decode(r.SHA256[:], text[len(text)-len(rest):])
	return nil
}

// plain reports whether a number that strconv reads has no sign and no needless zero.
func plain(number string) bool {
	return number[0] >= '1' && number[0] <= '9' || number == "0"
}

// Table is what is published of every online role but snapshot and timestamp.
type Table struct {
	Keys  []string       `json:"keys"`  // see Row.Key
	Roles map[string]Row `json:"roles"` // online roles that are no hashed bins
	Sets  []Set          `json:"sets"`  // of hashed bins
}

// Set are the rows of a set of hashed bins. A row of version 0 was never published.
type Set struct {
	Prefix string `json:"prefix"`
	Rows   []Row  `json:"rows"` // a power of two of them
}

// layout is the numbering of the set's bins; the form doesn't matter here.
func (s Set) layout() (delegation.Bins, error) {
	return delegation.New(s.Prefix, len(s.Rows), delegation.Succinct)
}

// Set returns the set of that prefix, to be read, or nil.
func (t *Table) Set(prefix string) *Set {
	if i := slices.IndexFunc(t.Sets, func(s Set) bool { return s.Prefix == prefix }); i >= 0 {
		return &t.Sets[i]
	}
	return nil
}

// Row returns what is published of a role. It reports false for a role that was never
// published.
func (t *Table) Row(role string) (Row, bool) {
	for _, s := range t.Sets {
		if layout, err := s.layout(); err == nil {
			if i, ok := layout.Index(role); ok {
				return s.Rows[i], s.Rows[i].Version > 0
			}
		}
	}
	r, ok := t.Roles[role]
	return r, ok
}

// resize makes the sets those given. It keeps the rows of a set whose size stays.
func (t *Table) resize(sizes []SetSize) {
	sets := make([]Set, len(sizes))
	for i, size := range sizes {
		if old := t.Set(size.Prefix); old != nil && len(old.Rows) == size.Bins {
			sets[i] = *old
		} else {
			sets[i] = Set{Prefix: size.Prefix, Rows: make([]Row, size.Bins)}
		}
	}
	t.Sets = sets
}

// put sets rows: those of bins where a set has one of that name.
func (t *Table) put(rows []RoleRow) {
	layouts := make([]delegation.Bins, len(t.Sets))
	for i, s := range t.Sets {
		layouts[i], _ = s.layout() // checked with the seal
	}
	for _, r := range rows {
		n := 0
		at := slices.IndexFunc(layouts, func(l delegation.Bins) (ok bool) {
			n, ok = l.Index(r.Role)
			return ok
		})
		if at >= 0 {
			t.Sets[at].Rows[n] = r.Row
			continue
		}
		if t.Roles == nil {
			t.Roles = map[string]Row{}
		}
		t.Roles[r.Role] = r.Row
	}
}

// All yields every role that was published, with its row: the bins of each set in order,
// and then the others by name. It makes a string for each bin.
func (t *Table) All() iter.Seq2[string, Row] {
	return func(yield func(string, Row) bool) {
		for _, s := range t.Sets {
			layout, err := s.layout()
			if err != nil {
				return
			}
			for i, r := range s.Rows {
				if r.Version > 0 && !yield(layout.Name(i), r) {
					return
				}
			}
		}
		for _, role := range slices.Sorted(maps.Keys(t.Roles)) {
			if !yield(role, t.Roles[role]) {
				return
			}
		}
	}
}

// Len is how many rows the table has, published or not.
func (t *Table) Len() int {
	n := len(t.Roles)
	for _, s := range t.Sets {
		n += len(s.Rows)
	}
	return n
}

// check makes sure that every set has a possible number of bins, and every row a key.
func (t *Table) check() error {
	sizes := make([]SetSize, len(t.Sets))
	for i, s := range t.Sets {
		sizes[i] = SetSize{s.Prefix, len(s.Rows)}
	}
	if err := checkSets(sizes); err != nil {
		return err
	}
	return t.checkKeys()
}

// checkKeys makes sure that every row has a key of the table's.
func (t *Table) checkKeys() error {
	for _, s := range t.Sets {
		for i, r := range s.Rows {
			if err := checkKey(r, t.Keys); err != nil && r.Version > 0 {
				return fmt.Errorf("bin %d of %q: %w", i, s.Prefix, err)
			}
		}
	}
	for role, r := range t.Roles {
		if err := checkKey(r, t.Keys); err != nil {
			return fmt.Errorf("%s: %w", role, err)
		}
	}
	return nil
}

func checkSets(sizes []SetSize) error {
	seen := map[string]bool{}
	for _, s := range sizes {
		if _, err := delegation.New(s.Prefix, s.Bins, delegation.Succinct); err != nil {
			return err
		}
		if seen[s.Prefix] {
			return fmt.Errorf("two sets of bins named %q", s.Prefix)
		}
		seen[s.Prefix] = true
	}
	return nil
}

func checkKey(r Row, keys []string) error {
	if r.Key < 0 || int(r.Key) >= len(keys) {
		return fmt.Errorf("key %d of %d: out of range", r.Key, len(keys))
	}
	return nil
}

// Clone returns a deep copy.
func (t Table) Clone() Table {
	t.Keys, t.Roles, t.Sets = slices.Clone(t.Keys), maps.Clone(t.Roles), slices.Clone(t.Sets)
	for i := range t.Sets {
		t.Sets[i].Rows = slices.Clone(t.Sets[i].Rows)
	}
	return t
}
