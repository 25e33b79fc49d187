package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

func sum(data []byte) [sha256.Size]byte { return sha256.Sum256(data) }

// inspect shows any file of a ceremony. It verifies what the file itself can prove.
func inspect(_ context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() == 0 {
		return nil, errors.New("name a file: ceremony inspect FILE")
	}
	var all []any
	for _, name := range flags.Args() {
		v, err := a.inspect(name)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func (a *app) inspect(name string) (any, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, err
	}
	if err := otherFile(data); err != nil {
		return nil, fmt.Errorf("%s %w", name, err)
	}
	var head struct {
		Format string
		Signed json.RawMessage
	}
	_ = json.Unmarshal(data, &head) // the parsers say what is wrong
	switch kind, _, _ := strings.Cut(head.Format, "/"); kind {
	case "":
		if head.Signed != nil {
			return a.inspectMetadata(name, data)
		}
		return a.inspectOther(name, data)
	case "bindery-ceremony-response":
		return a.inspectResponse(name)
	case "bindery-ceremony-card":
		h, err := readAs(name, parseCard)
		if err != nil {
			return nil, err
		}
		a.title("A card: its author has the private key")
		a.showCard(cardOf(h, name))
		return cardOf(h, name), nil
	case "bindery-ceremony-notebook":
		return a.inspectNotebook(name)
	default:
		r, err := readRequest(name)
		if err != nil {
			return nil, err
		}
		a.showRequest(r)
		return viewRequest(r, name), nil
	}
}

// otherFile returns what a file is that inspect shows nothing of, or nil.
func otherFile(data []byte) error {
	block, _ := pem.Decode(data)
	switch {
	case bytes.HasPrefix(data, []byte("age-encryption.org/")) || block != nil && block.Type == "AGE ENCRYPTED FILE":
		return errors.New("is an archive: ceremony restore -check shows what is in it")
	case block == nil:
		return nil
	case strings.HasPrefix(block.Type, "ENCRYPTED") && strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return errors.New("is a private key, encrypted: nothing in it can be shown without the passphrase, and it belongs on nobody's stick but its holder's. What others may see is in its card (.card.json)")
	}
	return nil
}

// inspectOther shows a public key, and says what any other file is.
func (a *app) inspectOther(name string, data []byte) (any, error) {
	key, err := keys.ParsePublicKeyFile(data)
	if err != nil {
		return nil, fmt.Errorf("%s is no file of a ceremony and no TUF metadata, or it is damaged; and it is %w", name, err)
	}
	a.title("A public key: nothing proves whose it is")
	c := card{KeyID: key.ID(), Scheme: key.Scheme(), File: name}
	rows := append([][]string{{"key", c.Scheme}}, keyRows("key ID", c.KeyID)...)
	a.table(append(rows, []string{"file", c.File})...)
	return c, nil
}

// metadataView is a document for scripts.
type metadataView struct {
	File    string             `json:"file"`
	Type    string             `json:"type"`
	Version int64              `json:"version"`
	Expires time.Time          `json:"expires"`
	Digest  ceremony.Digest    `json:"digest"`
	Signers []ceremony.Signers `json:"signers,omitempty"`
	Signed  []string           `json:"signed"` // key IDs
}

// inspectMetadata shows a finished document. Of its signatures it verifies those that the document
// itself can prove: a root's, by its own keys.
func (a *app) inspectMetadata(name string, data []byte) (any, error) {
	h, err := roles.Peek(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v, proof := metadataView{File: name, Type: h.Type, Version: h.Version}, ""
	switch h.Type {
	case metadata.ROOT:
		var root *roles.Document[metadata.RootType]
		if root, err = roles.Parse[metadata.RootType](data); err == nil {
			proof = v.root(root)
		}
	case metadata.TARGETS:
		var d *roles.Document[metadata.TargetsType]
		if d, err = roles.Parse[metadata.TargetsType](data); err == nil {
			v.fill(d)
			v.delegations(d)
		}
	case metadata.SNAPSHOT:
		var d *roles.Document[metadata.SnapshotType]
		if d, err = roles.Parse[metadata.SnapshotType](data); err == nil {
			v.fill(d)
		}
	default:
		var d *roles.Document[metadata.TimestampType]
		if d, err = roles.Parse[metadata.TimestampType](data); err == nil {
			v.fill(d)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a.title(fmt.Sprintf("TUF metadata: %s version %d", v.Type, v.Version))
	rows := [][]string{{"good", a.until(v.Expires)}}
	rows = append(rows, documentRows("digest", v.Digest)...)
	a.table(append(rows, []string{"file", v.File})...)
	for _, s := range v.Signers {
		a.say("\n  %s can be signed by any %d of:", s.Role, s.Threshold)
		for _, k := range s.Keys {
			a.say("    %s", inGroups(k.KeyID))
		}
	}
	a.say("\n  It is signed by:")
	for _, id := range v.Signed {
		a.say("    %s", inGroups(id))
	}
	if len(v.Signed) == 0 {
		a.say("    nobody")
	}
	if proof == "" {
		proof = "Whether these signatures are good, only the root can tell: ceremony verify -dir."
	}
	a.say("\n  %s", proof)
	return v, nil
}

// inGroups is a key ID on one line, eight by eight if it is a digest.
func inGroups(id string) string {
	if d, err := ceremony.ParseDigest(id); err == nil {
		return d.String()
	}
	return id
}

// signedDocument is what all documents have.
type signedDocument interface {
	roles.Signed
	Expires() time.Time
	Digest() [sha256.Size]byte
}

func (v *metadataView) fill(d signedDocument) {
	v.Expires, v.Digest, v.Signed = d.Expires(), d.Digest(), []string{}
	for _, s := range d.Signatures() {
		v.Signed = append(v.Signed, s.KeyID)
	}
}

func (v *metadataView) signers(role string, a roles.Authority, err error) {
	if err != nil {
		return // others' keys, or no such role: the document has them, and Bindery can't judge
	}
	s := ceremony.Signers{Role: role, Threshold: a.Threshold}
	for _, k := range a.Keys {
		s.Keys = append(s.Keys, ceremony.Who{KeyID: k.ID()})
	}
	v.Signers = append(v.Signers, s)
}

// root returns what the root proves of itself.
func (v *metadataView) root(root *roles.Document[metadata.RootType]) string {
	v.fill(root)
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		a, err := roles.RootAuthority(root, role)
		v.signers(role, a, err)
	}
	own, err := roles.RootAuthority(root, metadata.ROOT)
	if err == nil {
		err = own.Verify(root)
	}
	switch {
	case err != nil:
		return "It is not signed as it demands itself: " + err.Error()
	case root.Version() == 1:
		return "Enough of its own keys signed it. Compare its digest with a record sheet."
	}
	return "Enough of its own keys signed it. Whether enough of the root before it did, ceremony verify -dir finds out."
}

func (v *metadataView) delegations(d *roles.Document[metadata.TargetsType]) {
	if layout, err := delegation.Parse(d); err == nil {
		a, err := roles.DelegatedAuthority(d, layout.Name(0))
		v.signers("each bin", a, err)
		return
	}
	a, err := roles.DelegatedAuthority(d, delegation.BinsRole)
	v.signers(delegation.BinsRole, a, err)
}

func (a *app) inspectResponse(name string) (any, error) {
	r, err := readResponse(name)
	if err != nil {
		return nil, err
	}
	a.title("A response: whether its signatures are good, merge finds out")
	for _, id := range r.KeyIDs() {
		a.table(keyRows("by key", id)...)
	}
	for _, m := range r.Marks() {
		a.table(documentRows(m.String(), m.Digest)...)
	}
	return map[string]any{"file": name, "keyids": r.KeyIDs(), "signed": r.Marks()}, nil
}

func (a *app) inspectNotebook(name string) (any, error) {
	n, err := readAs(name, ceremony.ParseNotebook)
	if err != nil {
		return nil, err
	}
	a.title("A notebook")
	var rows [][]string
	if n.Trusted != nil {
		rows = append(rows, []string{"trusts", n.Trusted.String()})
		rows = append(rows, documentRows("", n.Trusted.Digest)...)
	}
	for _, m := range n.Signed {
		rows = append(rows, []string{"signed", m.String()})
		rows = append(rows, documentRows("", m.Digest)...)
	}
	a.table(rows...)
	return n, nil
}

// newest are the documents in force.
func newest(d ceremony.Documents) ([]inForce, error) {
	var all []inForce
	if n := len(d.Roots); n > 0 {
		root, err := roles.Parse[metadata.RootType](d.Roots[n-1])
		if err != nil {
			return nil, err
		}
		all = append(all, inForce{ceremony.Mark{Role: metadata.ROOT, Version: root.Version(), Digest: ceremony.Digest(root.Digest())}, root.Expires()})
	}
	for i, file := range [][]byte{d.Targets, d.Bins} {
		if file == nil {
			continue
		}
		role := []string{metadata.TARGETS, delegation.BinsRole}[i]
		doc, err := roles.Parse[metadata.TargetsType](file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", role, err)
		}
		all = append(all, inForce{ceremony.Mark{Role: role, Version: doc.Version(), Digest: ceremony.Digest(doc.Digest())}, doc.Expires()})
	}
	return all, nil
}
