package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

func readNotebook(name string) (ceremony.Notebook, error) {
	n, err := readAs(name, ceremony.ParseNotebook)
	if errors.Is(err, fs.ErrNotExist) {
		return ceremony.Notebook{}, nil
	}
	return n, err
}

// askNotebook asks a holder whose key was in use before, and who has no notebook file,
// whether the key signed another document of a version that is asked for: here
// nobody can know.
func (a *app) askNotebook(ctx context.Context, r *ceremony.Request, key *keys.PublicKey, o signOptions) error {
	if _, err := os.Lstat(o.notebook); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	used, err := authorities(r.Proposal().Current)
	if err != nil {
		return err
	}
	first := true
	for _, authority := range used {
		first = first && !slices.ContainsFunc(authority.Keys, key.Same)
	}
	if first {
		return nil // as far as can be told
	}
	asked := markNames(r.Marks())
	a.title("There is no notebook")
	a.say("  There is no file %s. It would tell what your key has signed. Your key was in use before this request, so this program can't know whether it has signed another %s.", o.notebook, asked)
	a.say("  If you never signed with this key, there is none yet, and nothing is wrong.")
	a.say("  If you have the notebook, or a copy of it: stop, and bring it.")
	if o.noNotebook {
		return nil
	}
	answer, err := a.ask(ctx, "Do you know that your key has signed no other "+asked+"? Type yes, or anything else to stop:")
	if err == nil && strings.TrimSpace(answer) != "yes" {
		err = errors.New("name it with -notebook, or ask the others what you signed")
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("nothing was signed: %w", err)
	}
	return fmt.Errorf("nothing was signed: the notebook is missing (-no-notebook answers this): %w", err)
}

// showSignedBefore says what the key has signed already, and that a request is outdated.
func (a *app) showSignedBefore(r *ceremony.Request, n ceremony.Notebook) {
	same, newer := r.SignedBefore(n)
	if len(same) > 0 {
		a.say("\nYour key has signed %s of this request already, as it is here.", markNames(same))
	}
	if len(newer) > 0 {
		a.say("It has signed %s since. So this request is OUTDATED:", markNames(newer))
		a.say("signing it once more is of no use. Ask for the request that is open.")
	}
}

// markNames is such as "root version 2, targets version 2".
func markNames(marks []ceremony.Mark) string {
	var all []string
	for _, m := range marks {
		all = append(all, m.String())
	}
	return strings.Join(all, ", ")
}

// conflicts are what the key has signed of versions that the request asks for with other
// contents.
func conflicts(n ceremony.Notebook, r *ceremony.Request) []ceremony.Mark {
	var all []ceremony.Mark
	for _, m := range n.Signed {
		if slices.ContainsFunc(r.Marks(), func(other ceremony.Mark) bool {
			return m.Role == other.Role && m.Version == other.Version && m.Digest != other.Digest
		}) {
			all = append(all, m)
		}
	}
	return all
}

// withheld is the group of the digest of a document that was given up which the program
// doesn't show, so that somebody has to look the document up.
func withheld(d ceremony.Digest) int { return 1 + int(d[0])%8 }

// forgetting takes out of the notebook what was given up.
func (o signOptions) forgetting(n ceremony.Notebook, r *ceremony.Request) (ceremony.Notebook, error) {
	signed, differ := n.Signed, conflicts(n, r)
	for _, group := range o.givenUp {
		given := func(m ceremony.Mark) bool {
			return slices.Contains(differ, m) && m.Digest.Confirms(withheld(m.Digest), group)
		}
		if !slices.ContainsFunc(signed, given) {
			return n, fmt.Errorf("-given-up %s: no such group is asked for. Run it without -given-up: the error says which one is", group)
		}
		n.Signed = slices.DeleteFunc(slices.Clone(n.Signed), given)
	}
	if r.Based() == nil && n.Trusted != nil && !slices.Contains(n.Signed, *n.Trusted) && slices.Contains(signed, *n.Trusted) {
		n.Trusted = nil // it was the first root, and never came to be
	}
	return n, nil
}

// explain adds the way on to an error of Request.Check.
func explain(err error, n ceremony.Notebook, r *ceremony.Request) error {
	differ := conflicts(n, r)
	first := r.Based() == nil && errors.Is(err, ceremony.ErrUntrusted)
	if len(differ) == 0 || !first && !errors.Is(err, ceremony.ErrSigned) {
		return fmt.Errorf("nothing was signed: %w", err)
	}
	text := ""
	for _, m := range differ {
		hide := withheld(m.Digest)
		lines := numbered(m.Digest, hide)
		text += fmt.Sprintf("\n%s had the digest\n  %s\n  %s\nIf it was given up by all, say so with -given-up and group %d of that digest, from its record sheet",
			m, lines[0], lines[1], hide)
	}
	return fmt.Errorf("nothing was signed: %w%s", ceremony.ErrSigned, text)
}
