package roles

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// envelope is a file of metadata, cut where the signatures are so that one can
// be added without touching a byte of anything else.
type envelope struct {
	bytes         []byte // the whole file
	before, after []byte // of it, around the signatures: to "[" and from "]" on
	signed        []byte // of it, the value of "signed"
	entries       []entry
}

// entry is one element of the array of signatures.
type entry struct {
	Signature
	raw                []byte // the object as it stands in the file
	sigStart, sigAfter int    // where the value of "sig" stands in raw
}

// openEnvelope cuts a file that envelopeRule accepted. It keeps file.
func openEnvelope(file []byte) (envelope, error) {
	e := envelope{bytes: file}
	err := eachValue(file, func(name string, start, end int) error {
		value := file[start:end]
		switch name {
		case "signed":
			e.signed = value
		case "signatures":
			e.before, e.after = file[:start+1], file[end-1:]
			return eachValue(value, func(_ string, start, end int) error {
				entry, err := openEntry(value[start:end])
				e.entries = append(e.entries, entry)
				return err
			})
		}
		return nil
	})
	return e, err
}

func openEntry(raw []byte) (entry, error) {
	e := entry{raw: raw}
	err := eachValue(raw, func(name string, start, end int) error {
		switch name {
		case "keyid":
			return json.Unmarshal(raw[start:end], &e.KeyID)
		case "sig":
			e.sigStart, e.sigAfter = start, end
			var text string
			if err := json.Unmarshal(raw[start:end], &text); err != nil {
				return err
			}
			sig, err := hex.DecodeString(text)
			e.Sig = sig
			return err
		}
		return nil
	})
	return e, err
}

// with is the envelope with s among its signatures, which it sorts. An earlier
// signature of the same key ID is replaced; other members of its entry stay.
func (e envelope) with(s Signature) (envelope, error) {
	added := entry{Signature: s, raw: appendSignature(nil, s)}
	entries := slices.Clone(e.entries)
	if i := slices.IndexFunc(entries, func(old entry) bool { return old.KeyID == s.KeyID }); i >= 0 {
		old := entries[i]
		sig := `"` + hex.EncodeToString(s.Sig) + `"`
		added.raw = slices.Concat(old.raw[:old.sigStart], []byte(sig), old.raw[old.sigAfter:])
		entries = slices.Delete(entries, i, i+1)
	}
	entries = append(entries, added)
	slices.SortFunc(entries, func(a, b entry) int { return byKeyID(a.Signature, b.Signature) })

	file := bytes.Clone(e.before)
	for i, entry := range entries {
		if i > 0 {
			file = append(file, ',')
		}
		file = append(file, entry.raw...)
	}
	return openEnvelope(append(file, e.after...))
}

// eachValue calls f for each member of an object or element of an array, with
// where its value stands in data. It expects valid JSON.
func eachValue(data []byte, f func(name string, start, end int) error) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	open, err := decoder.Token()
	if err != nil {
		return err
	}
	for decoder.More() {
		name := ""
		if open == json.Delim('{') {
			token, err := decoder.Token()
			if err != nil {
				return err
			}
			name = token.(string)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return err
		}
		end := int(decoder.InputOffset())
		if err := f(name, end-len(value), end); err != nil {
			return err
		}
	}
	return nil
}
