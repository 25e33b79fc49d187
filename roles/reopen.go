package roles

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/bindery-tuf/bindery/internal/cjson"
)

// parseSpliced takes over a document that Parse accepted.
func parseSpliced[T Type](file []byte, kind, entries string) (spliced, error) {
	d, err := Parse[T](file)
	if err != nil {
		return spliced{}, err
	}
	s, err := cutSpliced(d.Canonical(), kind, entries)
	if err != nil {
		return spliced{}, fmt.Errorf("%s: %w", kind, err)
	}
	s.signatures, s.controls = d.Signatures(), cjson.HasControls(s.canonical)
	return s, nil
}

// openSpliced finds the parts of a file that sign made. The result aliases file.
func openSpliced(file []byte, kind, entries string) (spliced, error) {
	s, err := openFile(file, kind, entries)
	if err != nil && bytes.Contains(file, []byte(`\u`)) { // control characters, escaped
		var canonical []byte
		if canonical, err = cjson.Canonicalize(file); err == nil {
			s, err = openFile(canonical, kind, entries)
			s.controls = true
		}
	}
	if err != nil {
		return spliced{}, fmt.Errorf("%s: %w", kind, err)
	}
	return s, nil
}

func openFile(file []byte, kind, entries string) (spliced, error) {
	before, rest, found := bytes.Cut(file, []byte(`],"signed":`))
	list, ok := bytes.CutPrefix(before, []byte(`{"signatures":`))
	canonical, closed := bytes.CutSuffix(rest, []byte("}"))
	if !found || !ok || !closed {
		return spliced{}, errors.New("not a file in canonical form")
	}
	signatures, err := decodeSignatures(append(slices.Clip(list), ']'))
	if err != nil {
		return spliced{}, fmt.Errorf("signatures: %w", err)
	}
	s, err := cutSpliced(canonical, kind, entries)
	s.signatures = signatures
	return s, err
}

func decodeSignatures(canonical []byte) ([]Signature, error) {
	var list []struct{ KeyID, Sig string }
	if err := json.Unmarshal(cjson.AppendJSON(nil, canonical), &list); err != nil {
		return nil, err
	}
	var signatures []Signature
	for _, s := range list {
		sig, err := hex.DecodeString(s.Sig)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", s.KeyID, err)
		}
		signatures = append(signatures, Signature{KeyID: s.KeyID, Sig: sig})
	}
	return signatures, nil
}
