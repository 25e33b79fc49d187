package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/bindery-tuf/bindery/internal/interrupt"
)

// maxWork is how much work (2^maxWork of scrypt, 1 GiB of memory) an archive that
// somebody else made may ask for; age itself uses 18.
const maxWork = 20

// secrecy is how an archive is locked or unlocked: by a passphrase, or by the keys in
// a file of age's.
type secrecy struct {
	pass     *passphrases
	keysFile string // recipients to encrypt, identities to decrypt; or ""
}

// encrypt makes an age file.
func (s secrecy) encrypt(ctx context.Context, a *app, plain []byte) ([]byte, error) {
	recipients, err := s.recipients(ctx, a)
	if err != nil {
		return nil, err
	}
	// An interrupt doesn't wait for scrypt.
	return interrupt.Await(ctx, func() ([]byte, error) {
		var file bytes.Buffer
		w, err := age.Encrypt(&file, recipients...)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(plain); err != nil {
			return nil, err
		}
		err = w.Close()
		return file.Bytes(), err
	})
}

func (s secrecy) recipients(ctx context.Context, a *app) ([]age.Recipient, error) {
	if s.keysFile != "" {
		return readAs(s.keysFile, func(data []byte) ([]age.Recipient, error) {
			return age.ParseRecipients(bytes.NewReader(data))
		})
	}
	passphrase, err := s.pass.get(ctx, a, "the archive", true)
	if err != nil {
		return nil, err
	}
	r, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, err
	}
	return []age.Recipient{r}, nil
}

// errAltered is wrapped where age finds that a file isn't what was encrypted.
var errAltered = errors.New("the archive is damaged: it is cut off, or was altered. Take another copy")

// decrypt reads an age file with read, which must read to the end: until then nothing
// is known of the whole.
func decrypt[T any](ctx context.Context, a *app, s secrecy, file []byte, read func(io.Reader) (T, error)) (T, error) {
	var none T
	ask := &asking{ctx: ctx, a: a, pass: s.pass}
	identities := []age.Identity{ask}
	if s.keysFile != "" {
		var err error
		identities, err = readAs(s.keysFile, func(data []byte) ([]age.Identity, error) {
			return age.ParseIdentities(bytes.NewReader(data))
		})
		if err != nil {
			return none, err
		}
	}
	plain, err := age.Decrypt(bytes.NewReader(file), identities...)
	switch {
	case ask.err != nil:
		return none, ask.err
	case err != nil:
		return none, s.explain(file, err)
	}
	watched := &watchedReader{Reader: plain}
	v, err := read(watched)
	if watched.err != nil {
		return none, fmt.Errorf("%w (%w)", errAltered, watched.err)
	}
	return v, err
}

// explain says what it means that the beginning of an age file can't be read.
func (s secrecy) explain(file []byte, err error) error {
	var none *age.NoIdentityMatchError
	switch {
	case !bytes.HasPrefix(file, []byte("age-encryption.org/")):
		return errors.New("not an archive: it doesn't begin as an age file does")
	case !errors.As(err, &none) || len(none.StanzaTypes) == 0:
		return fmt.Errorf("%w (%w)", errAltered, err)
	case strings.Join(none.StanzaTypes, " ") == "scrypt" && s.keysFile != "":
		return errors.New("a passphrase opens this archive, and no key: leave -identity away")
	case strings.Join(none.StanzaTypes, " ") == "scrypt":
		return errors.New("the passphrase is wrong, or the first lines of the archive were altered")
	case s.keysFile != "":
		return fmt.Errorf("no key in %s opens this archive", s.keysFile)
	}
	return errors.New("keys open this archive, and no passphrase: name the file of your age key with -identity")
}

// asking is a passphrase that is asked for only if the file needs one.
type asking struct {
	ctx  context.Context
	a    *app
	pass *passphrases
	err  error // why there is no passphrase
}

// Unwrap implements age.Identity.
func (i *asking) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != "scrypt" {
		return nil, age.ErrIncorrectIdentity
	}
	var key []byte
	err := i.pass.retry(i.a, age.ErrIncorrectIdentity, func() (err error) {
		key, err = i.unwrap(stanzas)
		return err
	})
	if errors.Is(err, age.ErrIncorrectIdentity) {
		i.err = nil
	}
	return key, err
}

func (i *asking) unwrap(stanzas []*age.Stanza) ([]byte, error) {
	passphrase, err := i.pass.get(i.ctx, i.a, "the archive", false)
	if err != nil {
		i.err = err
		return nil, err
	}
	identity, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		i.err = err
		return nil, err
	}
	identity.SetMaxWorkFactor(maxWork)
	key, err := interrupt.Await(i.ctx, func() ([]byte, error) { return identity.Unwrap(stanzas) })
	if i.ctx.Err() != nil {
		i.err = i.ctx.Err()
	}
	return key, err
}

// watchedReader remembers why reading failed.
type watchedReader struct {
	io.Reader
	err error // other than io.EOF
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}
