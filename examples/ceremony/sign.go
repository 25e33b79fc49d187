package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
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
		holder, err := readAs(o.card, ceremony.ParseCard)
		if err != nil {
			return nil, err
		}
		public = holder.Key
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
	a.showRequest(r, showOptions{trusted: notebook.Trusted, hide: hide})
	if err := a.checkClock(ctx, r, o.clockIsRight); err != nil {
		return nil, err
	}
	if err := a.confirm(ctx, r, o.confirm, hide); err != nil {
		return nil, err
	}
	key, err := a.openKey(ctx, o.at, public, o.pass)
	if err != nil {
		return nil, fmt.Errorf("nothing was signed: %w", err)
	}
	defer closeKey(key)
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
		rows = append(rows, digestRows(m.String(), m.Digest)...)
	}
	a.table(rows...)
	a.say("\n  Take %s back to whoever prepares the ceremony.", filepath.Base(out))
	a.say("  It is in %s.", out)
	return s
}

// confirm has the digest compared with paper.
func (a *app) confirm(ctx context.Context, r *ceremony.Request, given string, group int) error {
	if given == "" {
		var err error
		if given, err = a.ask(ctx, fmt.Sprintf("\nGroup %d is left out above. Type it from your paper copy to sign:", group)); err != nil {
			return fmt.Errorf("nothing was signed: the digest (-confirm answers this): %w", err)
		}
	}
	if !r.Digest().Confirms(group, given) {
		return errors.New("nothing was signed: that is not this request's digest. If your paper copy says so, the request is not the one on paper: stop, and call the others")
	}
	return nil
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
	a.say("\nYour notebook trusts no root yet. This request is based on root version %d.", based.Version)
	typed, err := a.ask(ctx, fmt.Sprintf("Type group %d of the digest of root version %d from a record sheet:", group, based.Version))
	if err != nil {
		return n, fmt.Errorf("which root do you trust (-trust or -trust-root answers this): %w", err)
	}
	if !based.Digest.Confirms(group, typed) {
		return n, fmt.Errorf("%w: the root version %d of this request is another than that on your paper", ceremony.ErrUntrusted, based.Version)
	}
	n.Trusted = based
	return n, nil
}
