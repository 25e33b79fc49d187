package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
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
		return nil, errors.New("name a file")
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
	var head struct{ Format string }
	_ = json.Unmarshal(data, &head) // the parsers say what is wrong
	switch kind, _, _ := strings.Cut(head.Format, "/"); kind {
	case "bindery-ceremony-response":
		return a.inspectResponse(name)
	case "bindery-ceremony-card":
		h, err := readAs(name, ceremony.ParseCard)
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
