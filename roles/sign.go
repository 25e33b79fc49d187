package roles

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/keys"
)

// Signature is one signature over the canonical form of a document (TUF
// specification, 4.2.1).
type Signature struct {
	KeyID string
	Sig   []byte // empty in files that keep a place for a signature still to come
}

// Sign returns signer's signature over message, once it has verified under the signer's
// public key. So no client sees what a faulty token or a swapped KMS key signed. Sign
// calls signer.Sign once, or not at all if the message is larger than the signer takes.
// Every error names the key ID and wraps its cause.
func Sign(ctx context.Context, signer keys.Signer, message []byte) (Signature, error) {
	id := signer.Public().ID()
	if limit := signer.MaxMessage(); len(message) > limit {
		return Signature{}, fmt.Errorf("key %s: %w: %d bytes, it signs at most %d", id, keys.ErrTooLarge, len(message), limit)
	}
	sig, err := keys.SignVerified(ctx, signer, message)
	if err != nil {
		return Signature{}, namedOnce(id, err)
	}
	return Signature{KeyID: id, Sig: sig}, nil
}

// namedOnce says that signing failed, and names the key in front. Many signers name it too: there
// it is left out.
func namedOnce(id string, err error) error {
	text := err.Error()
	for _, again := range []string{"sign with key " + id + ": ", "key " + id + ": ", " (key ID " + id + ")", ", ID " + id} {
		text = strings.ReplaceAll(text, again, "")
	}
	return signError{"key " + id + ": sign: " + text, err}
}

type signError struct {
	text  string
	cause error
}

func (e signError) Error() string { return e.text }

func (e signError) Unwrap() error { return e.cause }

// check refuses what no file may hold as a new signature.
func (s Signature) check() error {
	if s.KeyID == "" {
		return errors.New("a signature without a key ID")
	}
	if !utf8.ValidString(s.KeyID) {
		return fmt.Errorf("key %q: an ID that is not valid UTF-8", s.KeyID)
	}
	if len(s.Sig) == 0 {
		return fmt.Errorf("key %s: an empty signature", s.KeyID)
	}
	return nil
}

// byKeyID orders signatures as they stand in a file.
func byKeyID(a, b Signature) int { return cmp.Compare(a.KeyID, b.KeyID) }

// fileOf returns the file of a document: the signatures, ordered by key ID, and the
// signed part, which is JSON.
func fileOf(signed []byte, signatures ...Signature) []byte {
	size := len(`{"signatures":[],"signed":}`) + len(signed)
	for _, s := range signatures {
		size += len(`{"keyid":"","sig":""},`) + len(s.KeyID) + hex.EncodedLen(len(s.Sig))
	}
	file := append(make([]byte, 0, size), `{"signatures":[`...)
	for i, s := range slices.SortedFunc(slices.Values(signatures), byKeyID) {
		if i > 0 {
			file = append(file, ',')
		}
		file = appendSignature(file, s)
	}
	file = append(file, `],"signed":`...)
	file = append(file, signed...)
	return append(file, '}')
}

func appendSignature(dst []byte, s Signature) []byte {
	dst = append(dst, `{"keyid":`...)
	dst = cjson.AppendJSON(dst, cjson.AppendString(nil, s.KeyID))
	dst = append(dst, `,"sig":"`...)
	dst = hex.AppendEncode(dst, s.Sig)
	return append(dst, `"}`...)
}
