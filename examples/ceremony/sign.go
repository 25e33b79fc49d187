package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// signOptions are the flags of sign.
type signOptions struct {
	key, card        string
	notebook, out    string
	trust, trustRoot string
	confirm          string
	givenUp          list
	clockIsRight     bool
	noNotebook       bool
	pass             *passphrases
	at               place  // of the key
	request          string // the file
}

func sign(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	var o signOptions
	flags.StringVar(&o.key, "key", "", "your `key`: "+keyUsage)
	flags.StringVar(&o.card, "card", "", "your card, a `file`: the key must be the one in it. A key that is in no file needs it")
	flags.StringVar(&o.notebook, "notebook", "", "the `file` that remembers what the key signed; \"\" for one beside the key file, or beside the card")
	flags.StringVar(&o.out, "out", "", "the `file` for the response; \"\" for one beside the request")
	flags.StringVar(&o.trust, "trust", "", "the root that you trust, as `VERSION:DIGEST`, if your notebook has none")
	flags.StringVar(&o.trustRoot, "trust-root", "", "the same, as a `file`")
	flags.StringVar(&o.confirm, "confirm", "", "one `group` of the digest, from paper, instead of being asked for it")
	flags.Var(&o.givenUp, "given-up", "of a document that you signed and that was given up, the `group` of its digest that was asked for; once for each")
	flags.BoolVar(&o.noNotebook, "no-notebook", false, "there is no notebook, and you know that the key signed no other document of the versions asked for")
	flags.BoolVar(&o.clockIsRight, "clock-is-right", false, "don't ask about a clock that looks wrong")
	o.pass = passphraseFlag(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if o.key == "" || flags.NArg() != 1 {
		return nil, errors.New("name your key with -key, and one request")
	}
	o.request = flags.Arg(0)
	var err error
	if o.at, err = parsePlace(o.key); err != nil {
		return nil, fmt.Errorf("-key: %w", err)
	}
	switch {
	case o.at.file == "" && o.card == "":
		return nil, errors.New("a key that is in no file is found by its card: name that with -card (ceremony card makes it)")
	case o.notebook != "":
	case o.at.file != "":
		o.notebook = o.at.file + ".notebook.json"
	default:
		o.notebook = strings.TrimSuffix(o.card, ".card.json") + ".notebook.json"
	}
	return a.sign(ctx, o)
}

// signed is the result for scripts.
type signed struct {
	Response string          `json:"response"`
	KeyID    string          `json:"keyid"`
	Digest   ceremony.Digest `json:"digest"`
	Signed   []ceremony.Mark `json:"signed"`
}

func (a *app) sign(ctx context.Context, o signOptions) (any, error) {
	r, err := readRequest(o.request)
	if err != nil {
		return nil, err
	}
	var public *keys.PublicKey // nil: any that the request asks
	if o.card != "" {
		holder, err := readAs(o.card, parseCard)
		if err != nil {
			return nil, err
		}
		public = holder.Key
	}
	if err := o.checkKeyFile(); err != nil {
		return nil, fmt.Errorf("-key: %w", err)
	}
	notebook, err := readNotebook(o.notebook)
	if err != nil {
		return nil, err
	}
	if notebook, err = o.trusting(notebook); err != nil {
		return nil, err
	}
	if notebook, err = o.forgetting(notebook, r); err != nil {
		return nil, err
	}
	if notebook, err = a.askTrust(ctx, notebook, r); err != nil {
		return nil, err
	}
	a.showSignedBefore(r, notebook)
	if err := r.Check(notebook, a.now()); err != nil {
		return nil, explain(err, notebook, r)
	}
	hide := 0
	if o.confirm == "" {
		hide = 1 + rand.IntN(8)
	}
	own, err := o.ownKey(public)
	if err != nil {
		return nil, err
	}
	holder := reader{notebook.Trusted, idsOf(own, r)}
	a.showChanges(r, holder)
	if err := a.checkClock(ctx, r, o.clockIsRight); err != nil {
		return nil, err
	}
	a.showAgain(r, holder)
	a.showDigest(r.Digest(), hide)
	if err := a.confirm(ctx, r, o.confirm, hide); err != nil {
		return nil, err
	}
	key, err := a.openKey(ctx, o.at, public, o.pass)
	if err != nil {
		return nil, fmt.Errorf("nothing was signed: %w", err)
	}
	defer closeKey(key)
	if own != nil && !own.Same(key.Public()) {
		return nil, fmt.Errorf("nothing was signed: %s is the card of another key than %s, which the screen marked as yours: put the right card there, or name it with -card",
			besideKey(o.at), o.at.file)
	}
	if err := a.askNotebook(ctx, r, key.Public(), o); err != nil {
		return nil, err
	}
	response, notebook, err := r.Sign(ctx, key, notebook, a.now())
	if err != nil {
		return nil, fmt.Errorf("nothing was signed: %w", err)
	}
	out := o.out
	if out == "" {
		out = strings.TrimSuffix(o.request, ".json") + "." + key.Public().ID()[:8] + ".response.json"
	}
	if err := isFree(out, response); err != nil {
		return nil, fmt.Errorf("nothing was signed: %w", err)
	}
	// The notebook first: a signature that got out must be in it.
	if err := replace(o.notebook, notebook.Bytes()); err != nil {
		return nil, fmt.Errorf("nothing was signed: the notebook: %w", err)
	}
	if err := replace(out, response.Bytes()); err != nil {
		return nil, fmt.Errorf("the response: %w; sign once more", err)
	}
	return a.showSigned(r, response, key, out), nil
}

// checkKeyFile refuses what can be no key before somebody has read all pages for it.
func (o signOptions) checkKeyFile() error {
	if o.at.file != o.key { // what a URI names is its opener's
		return nil
	}
	data, err := readFile(o.at.file)
	var head struct{ Format string }
	if err == nil && json.Unmarshal(data, &head) == nil {
		if kind, ok := strings.CutPrefix(head.Format, "bindery-ceremony-"); ok {
			kind, _, _ = strings.Cut(kind, "/")
			err = fmt.Errorf("%s is a %s, and the file with your private key is wanted", o.at.file, kind)
		}
	}
	return err
}

// ownKey returns the public key of the holder before the private one is opened: that of the card
// that was named, or of the one that keygen put beside the key. It is nil if there is none.
func (o signOptions) ownKey(named *keys.PublicKey) (*keys.PublicKey, error) {
	if named != nil || o.at.file == "" {
		return named, nil
	}
	h, err := readAs(besideKey(o.at), parseCard)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return h.Key, err
}

func besideKey(at place) string { return at.file + ".card.json" }

// idsOf returns the IDs that a request has for a key.
func idsOf(key *keys.PublicKey, r *ceremony.Request) map[string]bool {
	if key == nil {
		return nil
	}
	ids := map[string]bool{key.ID(): true}
	p := r.Proposal()
	docs := p.Current
	for _, d := range p.New {
		if d.Role == metadata.ROOT {
			docs.Roots = append(slices.Clip(docs.Roots), d.File)
		}
	}
	all, _ := authorities(docs) // a request has no document that can't be read
	for _, authority := range all {
		for _, k := range authority.Keys {
			if k.Same(key) {
				ids[k.ID()] = true
			}
		}
	}
	return ids
}

// isFree makes sure that a file isn't there, or is another response by the same
// key: some keys never make the same signature twice.
func isFree(name string, response *ceremony.Response) error {
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	there, err := readResponse(name)
	if err != nil || !slices.Equal(there.KeyIDs(), response.KeyIDs()) {
		return fmt.Errorf("%s exists already, and is not a response by this key: name another file with -out", name)
	}
	return nil
}

func (a *app) showSigned(r *ceremony.Request, response *ceremony.Response, key keys.Signer, out string) signed {
	s := signed{Response: out, KeyID: key.Public().ID(), Digest: r.Digest(), Signed: response.Marks()}
	a.title("Signed")
	rows := [][]string{}
	for _, m := range s.Signed {
		rows = append(rows, documentRows(m.String(), m.Digest)...)
	}
	a.table(rows...)
	a.say("\n  Take %s back to the person who prepares the ceremony.", out)
	return s
}

// confirm has the digest compared with paper.
func (a *app) confirm(ctx context.Context, r *ceremony.Request, given string, group int) error {
	all := onPaper(r)
	var err error
	if given != "" {
		if !r.Digest().Confirms(0, given) {
			err = notGroup(given, 0, all)
		}
	} else {
		err = a.askGroup(ctx, fmt.Sprintf("\nGroup %d is left out above. Type it from your paper copy to sign:", group), group, all...)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("nothing was signed: %w", err)
	case errors.Is(err, errNobody) || errors.Is(err, errNoScreen):
		return fmt.Errorf("nothing was signed: the digest (-confirm answers this): %w", err)
	case errors.Is(err, errSlip):
		return fmt.Errorf("nothing was signed: %w", err)
	}
	return fmt.Errorf("nothing was signed: %w. If that is what your paper copy has under \"Digest of this request\", the request is not the one on paper: stop, and call the others", err)
}

// onPaper are the digests on the record sheet of a request. The first is what signers compare.
func onPaper(r *ceremony.Request) []namedDigest {
	all := []namedDigest{{"this request's digest", r.Digest()}}
	marks := r.Marks()
	if based := r.Based(); based != nil {
		marks = append(marks, *based)
	}
	for _, m := range marks {
		all = append(all, namedDigest{"the digest of " + m.String(), m.Digest})
	}
	return all
}

// trusting is the notebook with the root that the flags name.
func (o signOptions) trusting(n ceremony.Notebook) (ceremony.Notebook, error) {
	var mark ceremony.Mark
	switch {
	case o.trust == "" && o.trustRoot == "":
		return n, nil
	case o.trustRoot != "":
		root, err := readAs(o.trustRoot, roles.Parse[metadata.RootType])
		if err != nil {
			return n, err
		}
		mark = ceremony.Mark{Role: metadata.ROOT, Version: root.Version(), Digest: ceremony.Digest(root.Digest())}
	default:
		version, digest, _ := strings.Cut(o.trust, ":")
		var err error
		if mark.Version, err = strconv.ParseInt(version, 10, 64); err == nil {
			mark.Digest, err = ceremony.ParseDigest(digest)
		}
		if err != nil {
			return n, fmt.Errorf("-trust %q is not VERSION:DIGEST: %w", o.trust, err)
		}
		mark.Role = metadata.ROOT
	}
	if n.Trusted != nil && *n.Trusted != mark {
		return n, fmt.Errorf("your notebook %s trusts root version %d already: leave the flag away, or name another notebook with -notebook", o.notebook, n.Trusted.Version)
	}
	n.Trusted = &mark
	return n, nil
}

// askTrust asks a holder who trusts no root yet about the one in force.
func (a *app) askTrust(ctx context.Context, n ceremony.Notebook, r *ceremony.Request) (ceremony.Notebook, error) {
	based := r.Based()
	if n.Trusted != nil || based == nil {
		return n, nil
	}
	group := 1 + rand.IntN(8)
	all := append([]namedDigest{{"the digest of " + based.String(), based.Digest}}, onPaper(r)...)
	a.say("\nYour notebook trusts no root yet. This request is based on %s.", based)
	a.say("An older record sheet has that root's digest under the heading \"%s\". The digest at the top of a sheet is another one.", strings.ToUpper(based.String()))
	err := a.askGroup(ctx, fmt.Sprintf("Type group %d of the digest of %s from a record sheet:", group, based), group, all...)
	switch {
	case err == nil:
		n.Trusted = based
		return n, nil
	case ctx.Err() != nil:
		return n, fmt.Errorf("nothing was signed: %w", err)
	case errors.Is(err, errNobody) || errors.Is(err, errNoScreen):
		return n, fmt.Errorf("nothing was signed: which root do you trust (-trust or -trust-root answers this): %w", err)
	case errors.Is(err, errSlip):
		return n, fmt.Errorf("nothing was signed: %w", err)
	}
	return n, fmt.Errorf("nothing was signed: %w: %w. If a sheet has that under \"%s\", the request is based on another root than the one on paper: stop, and call the others",
		ceremony.ErrUntrusted, err, strings.ToUpper(based.String()))
}
