// Package jsontext reads JSON into Go values, and refuses members that they have no field for.
package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Decode returns the one value in data. Unknown members are errors: ignoring one would lose it.
// Unlike cjson.Decode, it accepts duplicate members, as encoding/json does.
func Decode[T any](data []byte) (T, error) {
	var v T
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, err
	}
	if _, err := d.Token(); err != io.EOF {
		return v, errors.New("trailing data after JSON value")
	}
	return v, nil
}

// IsUnknownField reports whether Decode refused data for a member that it doesn't know.
func IsUnknownField(err error) bool {
	return err != nil && strings.Contains(err.Error(), "unknown field")
}
