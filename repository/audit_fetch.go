package repository

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/roles"
)

// expected is what a client knows of a file before it reads it.
type expected struct {
	name      string
	authority authority
	meta      metadata.MetaFiles // what the referring metadata says; version 0: any
	limit     int64              // bytes that clients read where meta has no length
}

// refusal is why clients refuse a file.
type refusal struct {
	check, problem string
}

// fetch reads a file and reports why clients refuse it, if they do. It
// returns what could be parsed, also if it is refused, or nil.
func fetch[T roles.Type](a *auditor, e expected) *roles.Document[T] {
	data, ok := a.get(e.name)
	if !ok {
		return nil
	}
	doc, err := roles.Parse[T](data)
	if r := judgeFile(e, data, doc, err); r != nil {
		a.errorf(r.check, e.name, "%s", r.problem)
	} else {
		judgeForAll(a, e.name, doc)
		a.spareSignatures(e.name, e.authority.Authority, doc)
		a.compareRecorded(e.name, data)
	}
	if err != nil {
		return nil
	}
	return doc
}

// judgeFile returns the first reason, in the order of clients, to refuse a file
// of which err is what parsing said.
func judgeFile[T roles.Type](e expected, data []byte, doc *roles.Document[T], err error) *refusal {
	limit := e.limit
	if e.meta.Length > 0 {
		limit = e.meta.Length
	}
	switch {
	case e.meta.Length > 0 && int64(len(data)) != e.meta.Length:
		return &refusal{checkLength, fmt.Sprintf("it has %d bytes, and the metadata that refers to it says %d", len(data), limit)}
	case int64(len(data)) > limit:
		return &refusal{checkSize, fmt.Sprintf("it has %d bytes, and clients read %d", len(data), limit)}
	}
	for _, algorithm := range slices.Sorted(maps.Keys(e.meta.Hashes)) {
		sum, known := sumOf(algorithm, data)
		if !known {
			return &refusal{checkHash, fmt.Sprintf("the metadata that refers to it has a hash of unknown algorithm %q", algorithm)}
		}
		if want := hex.EncodeToString(e.meta.Hashes[algorithm]); sum != want {
			return &refusal{checkHash, fmt.Sprintf("its %s is %s, and the metadata that refers to it says %s", algorithm, sum, want)}
		}
	}
	if err != nil {
		return &refusal{checkFormat, err.Error()}
	}
	if e.authority.usable { // otherwise it is what was reported
		if err := e.authority.Verify(doc); err != nil {
			return &refusal{checkSignature, err.Error()}
		}
	}
	if e.meta.Version > 0 && doc.Version() != e.meta.Version {
		return &refusal{checkVersion, fmt.Sprintf("it is version %d, and the metadata that refers to it says %d", doc.Version(), e.meta.Version)}
	}
	return nil
}

// judgeForAll reports what only some clients refuse.
func judgeForAll[T roles.Type](a *auditor, name string, doc *roles.Document[T]) {
	if err := judgeStrictly(doc); err != nil {
		a.errorf(checkFormat, name, "%v", err)
	}
}

// sumOf returns the hash of data in hexadecimal.
func sumOf(algorithm string, data []byte) (sum string, known bool) {
	h := hasher(algorithm)
	if h == nil {
		return "", false
	}
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)), true
}

// spareSignatures warns of an invalid signature of a listed key beside enough
// valid ones: the key's holder signed something else, or the file was mended by
// hand. An empty one waits to be filled, which is usual.
func (a *auditor) spareSignatures(name string, auth roles.Authority, doc interface {
	Canonical() []byte
	Signatures() []roles.Signature
}) {
	signatures := doc.Signatures()
	if len(signatures) <= auth.Threshold {
		return
	}
	for _, s := range signatures {
		for _, key := range auth.Keys {
			if key.ID() == s.KeyID && len(s.Sig) > 0 && key.Verify(doc.Canonical(), s.Sig) != nil {
				a.warnf(checkSignature, name, "the signature by key %s is invalid; the others suffice", s.KeyID)
			}
		}
	}
}

func (a *auditor) expiry(name string, expires time.Time, soon time.Duration) {
	at := expires.UTC().Format(time.RFC3339)
	switch left := expires.Sub(a.now); {
	case left <= 0:
		a.errorf(checkExpiry, name, "it expired at %s", at)
	case left <= soon:
		a.warnf(checkExpiry, name, "it expires at %s", at)
	}
}
