// Package passphrase asks for the passphrases of key files and the PINs of tokens. It
// asks at the terminal or reads a file descriptor:
//
//	signers := keys.Resolver{"file": keys.FileOpener(passphrase.Terminal())}
//
// A service, which nobody attends, has a file or a credential of systemd's:
//
//	signers := keys.Resolver{"file": keys.FileOpener(passphrase.Credential("online"))}
//
// A passphrase for a new key file is asked for twice:
//
//	secret, err := passphrase.Confirmed(passphrase.Terminal())(ctx, "Passphrase for root.key")
//	...
//	err = keys.WriteFile("root.key", signer, secret)
//
// A passphrase can't come from the command line or the environment, because other
// processes on the machine can read both. An empty passphrase is refused, and so is one of
// more than 1,024 bytes. No error shows a passphrase.
package passphrase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

const maxLength = 1024

// Source returns a passphrase. The prompt says what it is for, without punctuation at the
// end. When ctx ends first, the error wraps the context's. A program may use a function of
// its own. The Sources of this package may be called concurrently; they ask one question
// at a time.
type Source func(ctx context.Context, prompt string) ([]byte, error)

// Confirmed returns a Source that asks twice, for a passphrase that is being set. Two
// different answers are an error, and so is what CheckNew refuses.
func Confirmed(ask Source) Source {
	return func(ctx context.Context, prompt string) ([]byte, error) {
		first, err := ask(ctx, prompt)
		if err != nil {
			return nil, err
		}
		if err := check(first); err != nil {
			return nil, err
		}
		second, err := ask(ctx, prompt+", once more")
		switch {
		case err != nil:
			return nil, err
		case !bytes.Equal(first, second):
			return nil, errors.New("the two passphrases differ")
		}
		if err := CheckNew(first); err != nil {
			return nil, err
		}
		return first, nil
	}
}

// minNew is how many characters a new passphrase has at least (NIST SP 800-63B, 5.1.1.1).
const minNew = 8

// CheckNew refuses a passphrase for a new key file that has fewer than 8 characters, or one
// character again and again: who copies the file would soon find it. Confirmed calls it. A
// program that sets a passphrase without Confirmed should call it too.
func CheckNew(passphrase []byte) error {
	characters := []rune(string(passphrase))
	switch err := check(passphrase); {
	case err != nil:
		return err
	case len(characters) < minNew:
		return fmt.Errorf("the passphrase has fewer than %d characters, and who copies the key file would soon guess it: take several words", minNew)
	case len(slices.Compact(characters)) == 1:
		return errors.New("the passphrase is one character again and again: take several words")
	}
	return nil
}

// inTurn has concurrent calls wait for each other, and fail once ctx has ended.
func inTurn(ask Source) Source {
	turn := make(chan struct{}, 1)
	return func(ctx context.Context, prompt string) ([]byte, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
			return ask(ctx, prompt)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func check(answer []byte) error {
	switch {
	case len(answer) == 0:
		return errors.New("the passphrase is empty")
	case len(answer) > maxLength:
		return fmt.Errorf("the passphrase is longer than %d bytes", maxLength)
	}
	return nil
}

// unsupported is an error that wraps errors.ErrUnsupported.
type unsupported string

func (e unsupported) Error() string { return string(e) }

func (unsupported) Is(target error) bool { return target == errors.ErrUnsupported }
