package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/pkcs11"
	"github.com/bindery-tuf/bindery/keys/sshagent"
	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// keyUsage says how a flag names a key.
const keyUsage = "a file; or a URI: sshagent: for a key in an ssh-agent, pkcs11:… for one on a token, file:/…"

// place is where a key is, as a person names it: a file, or a URI.
type place struct {
	uri  string
	file string // "" if the key is in no file
}

// uriForm is how URIs begin, in contrast to a drive's letter. A file of such a name is
// named with "./" before it.
var uriForm = regexp.MustCompile(`^(?i)[a-z][a-z0-9+.-]+:`)

func parsePlace(s string) (place, error) {
	if !uriForm.MatchString(s) {
		name, err := filepath.Abs(s)
		return place{fileURI(runtime.GOOS, name), s}, err
	}
	escaped, isFile := strings.CutPrefix(s, "file:")
	if !isFile {
		return place{uri: s}, nil
	}
	name, err := url.PathUnescape(strings.TrimPrefix(escaped, "//"))
	return place{s, fileName(runtime.GOOS, name)}, err
}

// fileURI is the URI of the file with an absolute path.
func fileURI(goos, name string) string {
	if goos == "windows" {
		name = "/" + strings.ReplaceAll(name, `\`, "/")
	}
	return "file:" + (&url.URL{Path: name}).EscapedPath()
}

// fileName is the file that the path of a URI names: on Windows there is a slash before
// its drive.
func fileName(goos, path string) string {
	if goos == "windows" {
		return strings.TrimPrefix(path, "/")
	}
	return path
}

// openKey opens the key at a place, which must be public if that isn't nil. The caller
// calls closeKey.
func (a *app) openKey(ctx context.Context, at place, public *keys.PublicKey, pass *passphrases) (keys.Signer, error) {
	ask := pass.source(a)
	resolver := keys.Resolver{
		"file":     a.fileOpener(ask),
		"sshagent": sshagent.Opener(sshagent.Config{Socket: os.Getenv("SSH_AUTH_SOCK")}),
		// Who types the PIN is told that it is the last try; a script isn't.
		"pkcs11": pkcs11.Opener(pkcs11.Config{PIN: ask, FinalTry: pass.fd < 0}),
	}
	var key keys.Signer
	open := func() (err error) {
		key, err = resolver.Open(ctx, at.uri, public)
		return err
	}
	var err error
	if at.file == "" {
		err = open() // a wrong PIN may lock a token
	} else {
		err = pass.retry(a, keys.ErrPassphrase, open)
	}
	return key, err
}

// closeKey ends the session with a token, which at the latest ends with the process.
func closeKey(key keys.Signer) {
	if c, ok := key.(io.Closer); ok {
		_ = c.Close()
	}
}

// makeCard makes the card of a key that exists already.
func makeCard(ctx context.Context, a *app, flags *flag.FlagSet, args []string) (any, error) {
	name := flags.String("name", "", "the holder's `name`, as all will see it")
	keyName := flags.String("key", "", "the `key`: "+keyUsage)
	publicFile := flags.String("public", "", "a `file` with the public key (PEM, DER or OpenSSH), for a token that doesn't show it")
	pass := passphraseFlag(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if *keyName == "" || flags.NArg() != 1 {
		return nil, errors.New("name the key with -key, and one file for the card")
	}
	file := flags.Arg(0)
	if _, err := os.Lstat(file); err == nil {
		return nil, fmt.Errorf("%s exists already: name another file, nothing is ever replaced", file)
	}
	at, err := parsePlace(*keyName)
	if err != nil {
		return nil, fmt.Errorf("-key: %w", err)
	}
	var public *keys.PublicKey
	if *publicFile != "" {
		if public, err = readAs(*publicFile, keys.ParsePublicKeyFile); err != nil {
			return nil, err
		}
	}
	key, err := a.openKey(ctx, at, public, pass)
	if err != nil {
		return nil, fmt.Errorf("no card was made: %w", err)
	}
	defer closeKey(key)
	data, err := ceremony.NewCard(ctx, key, *name)
	if err != nil {
		return nil, fmt.Errorf("no card was made: %w", err)
	}
	if err := writeNew(file, data); err != nil {
		return nil, err
	}
	c := cardOf(ceremony.Holder{Name: *name, Key: key.Public()}, file)
	a.title("The card of a key")
	a.showCard(c)
	a.say("\n  The key stays where it is: nothing in the card is secret. Keep it, to sign with -card. Give a copy of %s to the person who prepares the ceremony, and read the key ID aloud to the others from this screen.", file)
	return c, nil
}
