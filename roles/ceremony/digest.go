package ceremony

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Digest is a SHA-256 that people compare.
type Digest [sha256.Size]byte

// groupLen is the number of digits in a group.
const groupLen = 8

// Groups are the 64 hexadecimal digits, eight by eight.
func (d Digest) Groups() [8]string {
	var groups [8]string
	digits := hex.EncodeToString(d[:])
	for i := range groups {
		groups[i] = digits[i*groupLen : (i+1)*groupLen]
	}
	return groups
}

// String is the groups with spaces between them.
func (d Digest) String() string {
	groups := d.Groups()
	return strings.Join(groups[:], " ")
}

// MarshalText writes the 64 digits without spaces.
func (d Digest) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, d[:]), nil }

// UnmarshalText reads the same text as ParseDigest.
func (d *Digest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDigest(string(text))
	return err
}

// ParseDigest reads a digest that a person typed: 64 hexadecimal digits in either case, with spaces
// anywhere.
func ParseDigest(typed string) (Digest, error) {
	var d Digest
	digits := strings.Join(strings.Fields(typed), "")
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(d) {
		return d, fmt.Errorf("%q is not a digest of %d hexadecimal digits: it has %d characters", typed, 2*len(d), utf8.RuneCountInString(digits))
	}
	return Digest(raw), nil
}

// Confirms reports whether typed is group number n, from 1 to 8, in either case.
// With n = 0 any of the groups will do, and so will the whole digest.
func (d Digest) Confirms(n int, typed string) bool {
	typed = strings.ToLower(strings.Join(strings.Fields(typed), ""))
	groups := d.Groups()
	if n != 0 {
		return n >= 1 && n <= len(groups) && typed == groups[n-1]
	}
	return slices.Contains(groups[:], typed) || typed == strings.Join(groups[:], "")
}
