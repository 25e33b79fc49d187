package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// card is what is shown of a holder.
type card struct {
	Name   string `json:"name"`
	KeyID  string `json:"keyid"`
	Scheme string `json:"scheme"`
	File   string `json:"file,omitempty"`
}

func cardOf(h ceremony.Holder, file string) card {
	return card{h.Name, h.Key.ID(), h.Key.Scheme(), file}
}

func (a *app) showCard(c card) {
	rows := [][]string{{"name", c.Name}, {"key", c.Scheme}}
	rows = append(rows, keyRows("key ID", c.KeyID)...)
	a.table(append(rows, []string{"file", c.File})...)
}

// keyRows are rows with a key ID, eight by eight if it is a digest.
func keyRows(first, id string) [][]string {
	d, err := ceremony.ParseDigest(id)
	if err != nil {
		return [][]string{{first, id}}
	}
	return digestRows(first, d)
}

func keygen(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	name := flags.String("name", "", "the holder's `name`, as all will see it")
	kind := flags.String("type", "ed25519", "the `kind` of key: ed25519, p256 or rsa")
	cardName := flags.String("card", "", "the `file` for the card; \"\" for KEYFILE with .card.json behind it")
	pass := passphraseFlag(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() != 1 {
		return nil, errors.New("name one file for the key: ceremony keygen -name NAME KEYFILE")
	}
	if *name == "" {
		return nil, errors.New("give the holder's name with -name")
	}
	keyFile := flags.Arg(0)
	if *cardName == "" {
		*cardName = keyFile + ".card.json"
	}
	for _, file := range []string{keyFile, *cardName} {
		if _, err := os.Lstat(file); err == nil {
			return nil, fmt.Errorf("%s exists already: name another file, nothing is ever replaced", file)
		}
	}
	generate, ok := map[string]func() (*keys.MemorySigner, error){
		"ed25519": keys.GenerateEd25519, "p256": keys.GenerateP256, "rsa": keys.GenerateRSA,
	}[*kind]
	if !ok {
		return nil, fmt.Errorf("-type %q: it can be ed25519, p256 or rsa", *kind)
	}
	key, err := generate()
	if err != nil {
		return nil, err
	}
	file, err := ceremony.NewCard(ctx, key, *name)
	if err != nil {
		return nil, fmt.Errorf("-name %q: %w", *name, err)
	}
	secret, err := pass.get(ctx, a, "the new key", true)
	if err != nil {
		return nil, fmt.Errorf("no key was made: %w", err)
	}
	if err := keys.WriteFile(keyFile, key, secret); err != nil {
		return nil, err
	}
	if err := writeNew(*cardName, file); err != nil {
		return nil, errors.Join(err, os.Remove(keyFile))
	}
	c := cardOf(ceremony.Holder{Name: *name, Key: key.Public()}, *cardName)
	a.title("A new key")
	a.showCard(c)
	a.say("\n  The key is in %s, encrypted. Keep a copy of it in a second place, and the passphrase in neither. Give %s to the person who prepares the ceremony, and read the key ID aloud to the others from this screen.", keyFile, *cardName)
	return c, nil
}

func passphraseFlag(flags *flag.FlagSet) *passphrases {
	p := &passphrases{}
	flags.IntVar(&p.fd, "passphrase-fd", -1, "read the passphrase or PIN from this file `descriptor` instead of asking")
	return p
}

// readCard reads a card, or a public key as NAME=FILE, which has no proof: for keys in a KMS.
func readCard(arg string) (ceremony.Holder, error) {
	name, file, named := strings.Cut(arg, "=")
	if _, err := os.Lstat(arg); err == nil || !named { // a path may hold "="
		return readAs(arg, parseCard)
	}
	key, err := readAs(file, keys.ParsePublicKeyFile)
	if err != nil {
		if h, cerr := readAs(file, parseCard); cerr == nil {
			err = fmt.Errorf("%s is a card, which has the name %q in it: give it without %q", file, h.Name, name+"=")
		}
	}
	return ceremony.Holder{Name: name, Key: key}, err
}

// byteOrderMark is what programs on Windows write at the beginning of a text file.
const byteOrderMark = "\xef\xbb\xbf"

// parseCard is ceremony.ParseCard, and says what another file is that people take for a card.
func parseCard(data []byte) (ceremony.Holder, error) {
	h, err := ceremony.ParseCard(bytes.TrimPrefix(data, []byte(byteOrderMark)))
	if err == nil || bytes.Contains(data, []byte(`"bindery-ceremony-`)) {
		return h, err
	}
	if _, err = keys.ParsePublicKeyFile(data); err == nil {
		return h, errors.New("a public key, and a card is wanted: have its holder make one (ceremony card), or give it as NAME=FILE, without a proof")
	}
	return h, fmt.Errorf("no card, and %w", err)
}

// readNames reads what to call the keys.
func readNames(file string) (map[string]string, error) {
	return readAs(file, func(data []byte) (map[string]string, error) {
		var names map[string]string
		err := json.Unmarshal(bytes.TrimPrefix(data, []byte(byteOrderMark)), &names)
		if err == nil && names == nil {
			err = errors.New("it must be a JSON object of names by key ID: {\"KEYID\": \"NAME\"}")
		}
		return names, err
	})
}

func encodeNames(names map[string]string) []byte {
	data, _ := json.MarshalIndent(names, "", "  ") // strings can't fail
	return append(data, '\n')
}
