package roles

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/schema"
	"golang.org/x/crypto/blake2b"
)

// Target describes one target file: what a client must find under its path
// (TUF specification, 4.5).
type Target struct {
	// Path is relative to the targets' base URL, with "/" between segments.
	Path string `json:"path"`

	// Length is the file's size in bytes.
	Length int64 `json:"length"`

	// Hashes are lower-case hex, by the algorithm's name in metadata: "sha256"
	// always, "sha512" and "blake2b-256" if wanted. Beware of the last: python-tuf
	// verifies it, go-tuf 2.4.2 and tuf-js 6.0.2 refuse a target that has it.
	Hashes map[string]string `json:"hashes"`

	// Custom is a JSON object for the application, signed with the target, or nil.
	Custom json.RawMessage `json:"custom,omitempty"`
}

// ReadTarget reads r to its end and returns the target that it is under path: its length, its
// SHA-256, and its hash by each other algorithm given ("sha512", "blake2b-256"). It is valid,
// or the error says why not; an error of r's is wrapped. An index that has length and hashes
// needs no ReadTarget. Memory is bounded whatever the length.
func ReadTarget(path string, r io.Reader, algorithms ...string) (Target, error) {
	t := Target{Path: path, Hashes: map[string]string{}}
	if err := checkPath(path); err != nil { // before anything is read
		return Target{}, fmt.Errorf("target %q: %w", path, err)
	}
	hashes := map[string]hash.Hash{"sha256": sha256.New()}
	for _, name := range algorithms {
		if hashes[name] = NewHash(name); hashes[name] == nil {
			return Target{}, fmt.Errorf("target %q: unknown hash algorithm %q", path, name)
		}
	}
	var all []io.Writer
	for _, h := range hashes {
		all = append(all, h)
	}
	var err error
	if t.Length, err = io.Copy(io.MultiWriter(all...), r); err != nil {
		return Target{}, fmt.Errorf("target %q: %w", path, err)
	}
	for name, h := range hashes {
		t.Hashes[name] = hex.EncodeToString(h.Sum(nil))
	}
	if err := t.Validate(); err != nil {
		return Target{}, err
	}
	return t, nil
}

// Validate returns nil if every client accepts the target and reads it in the same way
// (a BLAKE2b hash apart). Otherwise the error names the path and the reason. It refuses
//
//   - a path that CheckPath refuses, or whose last segment is longer than 126 bytes if
//     there is a SHA-512 (it becomes HASH.name, at most 255 bytes);
//   - a length below 0 or above 2^53-1;
//   - hashes without SHA-256, of an unknown algorithm, or not in lower-case hex of the
//     right length;
//   - custom data that isn't an object, has more than 64 KiB or 32 levels, or holds a
//     duplicate key, a floating point number, -0, null, an integer beyond 2^53-1, control
//     characters, text that isn't in NFC, or a key beyond the basic plane.
func (t Target) Validate() error {
	if err := t.check(); err != nil {
		return fmt.Errorf("target %q: %w", t.Path, err)
	}
	return nil
}

func (t Target) check() error {
	if err := checkPath(t.Path); err != nil {
		return err
	}
	if _, ok := t.Hashes["sha512"]; ok && len(lastSegment(t.Path)) > maxNameSHA512 {
		return fmt.Errorf("path: a file name of more than %d bytes with a SHA-512", maxNameSHA512)
	}
	if t.Length < 0 || t.Length > schema.MaxInteger {
		return fmt.Errorf("length %d: not from 0 to 2^53-1", t.Length)
	}
	if _, ok := t.Hashes["sha256"]; !ok {
		return errors.New("hashes: no sha256")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Hashes)) {
		if err := checkHash(name, t.Hashes[name]); err != nil {
			return err
		}
	}
	if len(t.Custom) > 0 {
		return checkCustom(t.Custom)
	}
	return nil
}

func checkHash(name, value string) error {
	h := NewHash(name)
	if h == nil {
		return fmt.Errorf("hashes: unknown algorithm %q", name)
	}
	if want := hex.EncodedLen(h.Size()); len(value) != want {
		return fmt.Errorf("hashes: %s has %d characters, not %d", name, len(value), want)
	}
	for i := range len(value) {
		if b := value[i]; (b < '0' || b > '9') && (b < 'a' || b > 'f') {
			return fmt.Errorf("hashes: %s is not in lower-case hex", name)
		}
	}
	return nil
}

// NewHash returns the hash that metadata calls by this name ("sha256", "sha512" or
// "blake2b-256"), and nil for any other name.
func NewHash(algorithm string) hash.Hash {
	switch algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	case "blake2b-256":
		h, err := blake2b.New256(nil)
		if err != nil {
			panic(err) // only a key can be at fault, and there is none
		}
		return h
	}
	return nil
}

// Size is the number of bytes that the target takes in a bin's canonical form, with its
// path and a comma. The target must be valid.
func (t Target) Size() int {
	value, err := t.value()
	if err != nil { // Validate refuses it
		return 0
	}
	return len(`"":,`) + len(t.Path) + strings.Count(t.Path, `"`) + len(value) // a valid path has no backslash
}

// value is the canonical form of what a bin says of the target.
func (t Target) value() ([]byte, error) {
	dst := []byte{'{'}
	if len(t.Custom) > 0 {
		custom, err := cjson.Canonicalize(t.Custom)
		if err != nil {
			return nil, fmt.Errorf("custom: %w", err)
		}
		dst = append(dst, `"custom":`...)
		dst = append(dst, custom...)
		dst = append(dst, ',')
	}
	dst = append(dst, `"hashes":{`...)
	for i, name := range slices.Sorted(maps.Keys(t.Hashes)) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = cjson.AppendString(dst, name)
		dst = append(dst, ':')
		dst = cjson.AppendString(dst, t.Hashes[name])
	}
	dst = append(dst, `},"length":`...)
	dst = strconv.AppendInt(dst, t.Length, 10)
	return append(dst, '}'), nil
}

// decodeTarget reads the canonical value of path. Members that Target has no
// field for are passed over.
func decodeTarget(path string, value []byte) (Target, error) {
	t := Target{Path: path}
	for m, err := range cjson.Members(value) {
		if err != nil {
			return Target{}, err
		}
		switch string(m.Key) {
		case "custom":
			t.Custom = cjson.AppendJSON(nil, m.Value)
		case "hashes":
			if t.Hashes, err = decodeHashes(m.Value); err != nil {
				return Target{}, err
			}
		case "length":
			if t.Length, err = strconv.ParseInt(string(m.Value), 10, 64); err != nil {
				return Target{}, fmt.Errorf("length: %w", err)
			}
		}
	}
	if len(t.Hashes) == 0 {
		return Target{}, errors.New("no hashes")
	}
	return t, nil
}

func decodeHashes(value []byte) (map[string]string, error) {
	hashes := map[string]string{}
	for m, err := range cjson.Members(value) {
		if err != nil {
			return nil, fmt.Errorf("hashes: %w", err)
		}
		digest, err := unquote(m.Value)
		if err != nil {
			return nil, fmt.Errorf("hashes: %s: %w", m.Key, err)
		}
		hashes[cjson.DecodeString(m.Key)] = digest
	}
	return hashes, nil
}

// unquote returns the string that value, in canonical form, is.
func unquote(value []byte) (string, error) {
	if len(value) < 2 || value[0] != '"' {
		return "", errors.New("not a string")
	}
	return cjson.DecodeString(value[1 : len(value)-1]), nil
}
