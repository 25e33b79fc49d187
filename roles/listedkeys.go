package roles

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/material"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// CheckKeys returns nil if nobody can count twice under the keys that d lists. d is a root,
// or any document that delegates; others list none. It refuses
//
//   - one key under two IDs in the same role, which python-tuf 7.0.1 counts as two keys. Keys
//     of kinds that package keys doesn't know are compared too, in whatever encoding they are;
//   - a key of a kind that package keys knows, and that it refuses: see ParsePublicKey there.
//     It is refused even if no role names it.
//
// The error names the role and the IDs. CheckKeys accepts keys of unknown kinds, IDs of any
// form, and key IDs without a key: see RootAuthority for what becomes of them.
func CheckKeys[T Type](d *Document[T]) error { return checkKeys(d.signed) }

func checkKeys(signed any) error {
	switch signed := signed.(type) {
	case metadata.RootType:
		listed, err := materials(signed.Keys)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(signed.Roles)) {
			if err := checkDistinct(name, signed.Roles[name].KeyIDs, listed); err != nil {
				return err
			}
		}
	case metadata.TargetsType:
		if signed.Delegations == nil {
			return nil
		}
		listed, err := materials(signed.Delegations.Keys)
		if err != nil {
			return err
		}
		if s := signed.Delegations.SuccinctRoles; s != nil {
			return checkDistinct(s.NamePrefix+"-*", s.KeyIDs, listed)
		}
		var last []string
		for _, r := range signed.Delegations.Roles {
			if slices.Equal(r.KeyIDs, last) {
				continue // as of thousands of bins
			}
			if err := checkDistinct(r.Name, r.KeyIDs, listed); err != nil {
				return err
			}
			last = r.KeyIDs
		}
	}
	return nil
}

// materials are what keys are made of, by ID.
func materials(listed map[string]*metadata.Key) (map[string]string, error) {
	all := make(map[string]string, len(listed))
	for _, id := range slices.Sorted(maps.Keys(listed)) {
		key := listed[id]
		if _, err := keys.ParsePublicKey(id, key.Type, key.Scheme, key.Value.PublicKey); err != nil && !errors.Is(err, keys.ErrUnsupported) {
			return nil, err
		}
		if value := key.Value.PublicKey; value != "" { // other kinds may have other members
			all[id] = material.Of(value)
		}
	}
	return all, nil
}

func checkDistinct(role string, ids []string, listed map[string]string) error {
	seen := make(map[string]string, len(ids))
	for _, id := range ids {
		material, ok := listed[id]
		if !ok {
			continue
		}
		if other, twice := seen[material]; twice {
			return fmt.Errorf("role %q: keys %q and %q are the same key: some clients would count its holder twice: list it once", role, other, id)
		}
		seen[material] = id
	}
	return nil
}

// OddKeys yields the IDs under which d lists keys and which are not the SHA-256 of the
// key's entry in canonical form (TUF specification, 4.2), with all members of that entry.
// With each it yields that SHA-256. They are in the order of the document's canonical form.
// Most clients accept any ID. tough refuses the whole document.
func OddKeys[T Type](d *Document[T]) iter.Seq2[string, string] {
	return func(yield func(id, want string) bool) {
		signed := d.canonical
		if d.header.Type == metadata.TARGETS {
			signed = member(signed, "delegations")
		}
		entries := member(signed, "keys")
		if entries == nil {
			return
		}
		for entry, err := range cjson.Members(entries) {
			if err != nil {
				return // d.canonical was made here
			}
			sum := sha256.Sum256(entry.Value)
			id, want := cjson.DecodeString(entry.Key), hex.EncodeToString(sum[:])
			if id != want && !yield(id, want) {
				return
			}
		}
	}
}

// OddKeyIDs returns the IDs that OddKeys yields.
func OddKeyIDs[T Type](d *Document[T]) []string {
	var odd []string
	for id := range OddKeys(d) {
		odd = append(odd, id)
	}
	return odd
}

// member is the value of an object's member in canonical form, or nil.
func member(object []byte, name string) []byte {
	if !bytes.HasPrefix(object, []byte{'{'}) {
		return nil
	}
	for m, err := range cjson.Members(object) {
		if err == nil && string(m.Key) == name {
			return m.Value
		}
	}
	return nil
}
