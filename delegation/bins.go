// Package delegation says which role a target file is published in.
//
// A Tree is all that root and the documents in force delegate. It answers what a client
// would find:
//
//	tree, err := delegation.NewTree(root, documents)
//	...
//	role, ok := tree.Owner("packages/demo-1.0.tar.gz")
//
// The documents of PEP 458, one targets role over hashed bins, are made like this:
//
//	bins, err := delegation.New("bins", 16384, delegation.Succinct)
//	...
//	targets, err := delegation.NewTargets(1, expires, holders)
//	...
//	document, err := bins.NewRole(1, expires, online)
//
// NewRole makes the document of any other role that delegates. NewTree refuses what
// clients would read differently from one another. NewPlan computes how many bins to have, and
// what they cost clients and publisher.
//
// # Hashed bins
//
// Targets delegates every path to the role "bins", which delegates to a power of two of
// bins (PEP 458 and TAP 15). With n bins, a target belongs to the bin whose number is the
// first log2(n) bits of SHA-256(path). The bin's name is the prefix, a dash, and the number
// in lower-case hexadecimal, padded with zeros to the width of the last: bins-0000 to
// bins-3fff for 16,384 bins.
//
// The document of the role "bins" has one of two forms. Both give the same bins the same
// names, so one signature takes a repository from one form to the other. The succinct form
// of TAP 15 states the rule in a few bytes:
//
//	"succinct_roles": {"bit_length": 14, "name_prefix": "bins", "keyids": [...], "threshold": 1}
//
// The explicit form lists each bin with its hash prefixes in hexadecimal, some 180 bytes
// a bin:
//
//	"roles": [{"name": "bins-0000", "path_hash_prefixes": ["0000", "0001", "0002", "0003"], ...}, ...]
//
// go-tuf up to 2.4.2 can't follow the explicit form, and tough can't follow the succinct
// one.
package delegation

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// BinsRole is the name of the role that delegates to the bins.
const BinsRole = "bins"

// Form is how the role "bins" describes the bins.
type Form int

const (
	Succinct Form = iota // TAP 15
	Explicit             // path_hash_prefixes
)

// String returns "succinct" or "explicit".
func (f Form) String() string {
	switch f {
	case Succinct:
		return "succinct"
	case Explicit:
		return "explicit"
	}
	return "Form(" + strconv.Itoa(int(f)) + ")"
}

// Bins is a way to spread targets over bins. It is a comparable value; the zero
// value has no bins, and only New and Parse make others.
type Bins struct {
	prefix string
	n      int
	form   Form
}

// The number of bins. A succinct delegation has at least one bit.
const (
	minBins = 2
	maxBins = 1 << 16

	maxDigits = 4 // of the last bin's number
)

// New returns n bins, a power of two from 2 to 65,536, whose names begin with prefix. So
// that every client finds their files, prefix holds only letters, digits, "_", "." and
// "-", and doesn't begin with a dot.
func New(prefix string, n int, form Form) (Bins, error) {
	if n < minBins || n > maxBins || n&(n-1) != 0 {
		return Bins{}, fmt.Errorf("%d bins: not a power of two from %d to %d", n, minBins, maxBins)
	}
	if form != Succinct && form != Explicit {
		return Bins{}, fmt.Errorf("unknown form of delegation: %v", form)
	}
	b := Bins{prefix, n, form}
	if err := checkPrefix(prefix, len(b.Name(0))); err != nil {
		return Bins{}, fmt.Errorf("bins named %q: %w", prefix, err)
	}
	return b, nil
}

// maxName is how long a role's name may be: with a version before it and ".json"
// after it, it is still a file name everywhere.
const maxName = 200

func checkPrefix(prefix string, nameLength int) error {
	if prefix == "" {
		return errors.New("an empty prefix")
	}
	if err := checkCharacters(prefix); err != nil {
		return err
	}
	if nameLength > maxName {
		return fmt.Errorf("names of %d bytes, at most %d", nameLength, maxName)
	}
	return nil
}

// checkCharacters refuses a name that clients quote differently in URLs and files.
func checkCharacters(name string) error {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
	switch {
	case name[0] == '.':
		return errors.New("it begins with a dot")
	case strings.Trim(name, allowed) != "":
		return errors.New(`a character other than letters, digits, "_", "." and "-"`)
	}
	return nil
}

// Len returns the number of bins.
func (b Bins) Len() int { return b.n }

// Form returns how the role "bins" describes the bins.
func (b Bins) Form() Form { return b.form }

// Prefix returns what the names of the bins begin with, without the dash.
func (b Bins) Prefix() string { return b.prefix }

// Name returns the name of bin i, from 0 to Len()-1.
func (b Bins) Name(i int) string {
	return b.prefix + "-" + b.hex(i)
}

// hex is i in as many hexadecimal digits as the number of the last bin has.
func (b Bins) hex(i int) string {
	var text [maxDigits]byte
	n := b.digits()
	for k := range n {
		text[k] = hexDigits[i>>(4*(n-1-k))&15]
	}
	return string(text[:n])
}

func (b Bins) bits() int   { return bits.Len(uint(b.n - 1)) }
func (b Bins) digits() int { return (b.bits() + 3) / 4 }

// Find returns the bin that the target at path belongs to.
func (b Bins) Find(path string) int {
	sum := digest(path)
	return b.find(&sum)
}

// digest is the SHA-256 of a path. It allocates nothing for paths of usual length.
func digest(path string) [sha256.Size]byte {
	var short [192]byte
	return sha256.Sum256(append(short[:0], path...))
}

// find is Find for the SHA-256 of a path.
func (b Bins) find(sum *[sha256.Size]byte) int {
	return int(binary.BigEndian.Uint16(sum[:]) >> (16 - b.bits()))
}

// Index returns which bin has this name, if one has.
func (b Bins) Index(name string) (int, bool) {
	suffix, _ := strings.CutPrefix(name, b.prefix+"-")
	i, err := strconv.ParseUint(suffix, 16, 16)
	if err != nil || int(i) >= b.n || b.Name(int(i)) != name {
		return 0, false
	}
	return int(i), true
}
