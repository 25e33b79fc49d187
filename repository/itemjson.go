package repository

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/jsontext"
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
	dst = jsontext.AppendString(append(dst, `{"id":`...), it.ID)
	dst, err := it.appendChanges(append(dst, ','))
	if err != nil {
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
		dst = jsontext.AppendString(append(dst, separator(i, `"remove":[`)...), path)
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
	dst = jsontext.AppendString(append(dst, `{"path":`...), t.Path)
	dst = strconv.AppendInt(append(dst, `,"length":`...), t.Length, 10)
	dst = appendHashes(append(dst, `,"hashes":`...), t.Hashes)
	if len(t.Custom) > 0 {
		custom, err := json.Marshal(t.Custom)
		if err != nil {
			return nil, err
		}
		dst = append(append(dst, `,"custom":`...), custom...)
	}
	return append(dst, '}'), nil
}

func appendHashes(dst []byte, hashes map[string]string) []byte {
	if hashes == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	names := slices.AppendSeq(make([]string, 0, 4), maps.Keys(hashes))
	slices.Sort(names)
	for i, name := range names {
		dst = jsontext.AppendString(append(dst, separator(i, "")...), name)
		dst = jsontext.AppendString(append(dst, ':'), hashes[name])
	}
	return append(dst, '}')
}
