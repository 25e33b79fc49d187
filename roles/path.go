package roles

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A file is stored under HASH.name, and file systems end at 255 bytes a name.
const (
	maxSegment    = 255
	maxName       = maxSegment - len(".") - 64
	maxNameSHA512 = maxSegment - len(".") - 128

	// maxPath leaves room for the longest HASH. in the 1,024 bytes that object
	// stores allow a key.
	maxPath = 1024 - len(".") - 128
)

// CheckPath returns nil if every client can fetch the target at path, and takes path for
// the same target. Otherwise the error names the path and the reason. It refuses
//
//   - a path that is empty, absolute, or longer than 895 bytes;
//   - a segment that is empty, ".", "..", or longer than 255 bytes (190 for the last);
//   - what isn't valid UTF-8 in NFC, control characters, and any of \ % ? #;
//   - what tuf-js can't read: a space at the end (its URLs lose it), characters beyond the
//     basic plane (it sorts them differently and refuses the whole bin), and names that
//     every JavaScript object has, such as "constructor".
func CheckPath(path string) error {
	if err := checkPath(path); err != nil {
		return fmt.Errorf("target %q: %w", path, err)
	}
	return nil
}

func checkPath(path string) error {
	switch {
	case path == "":
		return errors.New("path: empty")
	case path[0] == '/':
		return errors.New("path: absolute")
	case path[len(path)-1] == '/':
		return errors.New(`path: "/" at the end`)
	case len(path) > maxPath:
		return fmt.Errorf("path: %d bytes, at most %d", len(path), maxPath)
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return errors.New("path: an empty segment")
		case segment == "." || segment == "..":
			return fmt.Errorf("path: a segment %q", segment)
		case len(segment) > maxSegment:
			return fmt.Errorf("path: a segment of %d bytes, at most %d", len(segment), maxSegment)
		}
	}
	if n := len(lastSegment(path)); n > maxName {
		return fmt.Errorf("path: a file name of %d bytes, at most %d", n, maxName)
	}
	if i := strings.IndexAny(path, `\%?#`); i >= 0 {
		return fmt.Errorf("path: %q, which clients differ on", path[i])
	}
	if path[len(path)-1] == ' ' {
		return errors.New("path: a space at the end")
	}
	if objectMembers[path] {
		return errors.New("path: a name that tuf-js finds in every object: choose another")
	}
	if err := checkText(path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if err := checkPlane(path); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	return nil
}

// objectMembers are the members of JavaScript's Object.prototype, which tuf-js
// takes for targets.
var objectMembers = map[string]bool{
	"__defineGetter__": true, "__defineSetter__": true, "__lookupGetter__": true, "__lookupSetter__": true,
	"__proto__": true, "constructor": true, "hasOwnProperty": true, "isPrototypeOf": true,
	"propertyIsEnumerable": true, "toLocaleString": true, "toString": true, "valueOf": true,
}

// checkPlane refuses keys of an object that clients sort differently: by UTF-16
// where others sort by bytes.
func checkPlane(key string) error {
	for _, r := range key {
		if r > 0xffff {
			return fmt.Errorf("%U is beyond the basic plane", r)
		}
	}
	return nil
}

func lastSegment(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// checkText refuses text that some client would see as other text.
func checkText(s string) error {
	if !utf8.ValidString(s) {
		return errors.New("invalid UTF-8")
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Errorf("a control character %U", r)
	}
	if !norm.NFC.IsNormalString(s) {
		return errors.New("not in Unicode's normal form C")
	}
	return nil
}
