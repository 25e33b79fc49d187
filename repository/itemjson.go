package repository

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/bindery-tuf/bindery/roles"
)

// MarshalJSON implements json.Marshaler. Its result is, byte for byte, what package
// encoding/json makes of the fields and their tags. It is written by hand because
// each upload is encoded once for the journal and once for its Digest, which by
// reflection took a third of Submit.
func (it Item) MarshalJSON() ([]byte, error) {
	var room usualItem
	b, err := it.appendJSON(room[:0])
	if err != nil {
		return nil, err
	}
	return bytes.Clone(b), nil
}

func (it Item) appendJSON(dst []byte) ([]byte, error) {
	dst, err := appendText(append(dst, `{"id":`...), it.ID)
	if err != nil {
		return nil, err
	}
	if dst, err = it.appendChanges(append(dst, ',')); err != nil {
		return nil, err
	}
	if dst, err = it.Accepted.AppendText(append(dst, `"accepted":"`...)); err != nil {
		return nil, err
	}
	return append(dst, `"}`...), nil
}

// usualItem is on the stack, and has room for most items' encoding.
type usualItem [1024]byte

// appendChanges appends the members "add" and "remove", each if there is any and
// with a comma behind it.
func (it Item) appendChanges(dst []byte) ([]byte, error) {
	var err error
	for i, t := range it.Add {
		dst = append(dst, separator(i, `"add":[`)...)
		if dst, err = appendTarget(dst, t); err != nil {
			return nil, err
		}
	}
	if len(it.Add) > 0 {
		dst = append(dst, `],`...)
	}
	for i, path := range it.Remove {
		if dst, err = appendText(append(dst, separator(i, `"remove":[`)...), path); err != nil {
			return nil, err
		}
	}
	if len(it.Remove) > 0 {
		dst = append(dst, `],`...)
	}
	return dst, nil
}

// separator is what stands before the element or member i.
func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}

func appendTarget(dst []byte, t roles.Target) ([]byte, error) {
	dst, err := appendText(append(dst, `{"path":`...), t.Path)
	if err != nil {
		return nil, err
	}
	dst = strconv.AppendInt(append(dst, `,"length":`...), t.Length, 10)
	if dst, err = appendHashes(append(dst, `,"hashes":`...), t.Hashes); err != nil {
		return nil, err
	}
	if len(t.Custom) > 0 {
		custom, err := json.Marshal(t.Custom)
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, `,"custom":`...), custom...)
	}
	return append(dst, '}'), nil
}

func appendHashes(dst []byte, hashes map[string]string) ([]byte, error) {
	if hashes == nil {
		return append(dst, "null"...), nil
	}
	dst = append(dst, '{')
	var err error
	names := slices.AppendSeq(make([]string, 0, 4), maps.Keys(hashes))
	slices.Sort(names)
	for i, name := range names {
		if dst, err = appendText(append(dst, separator(i, "")...), name); err != nil {
			return nil, err
		}
		if dst, err = appendText(append(dst, ':'), hashes[name]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendText appends a string. Nearly all are ASCII that needs no escape.
func appendText(dst []byte, s string) ([]byte, error) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			return append(dst, quoted...), err
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"'), nil
}
