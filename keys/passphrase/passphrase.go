// Package passphrase asks for the passphrases of key files and the PINs of tokens:
// at the terminal, from a file descriptor, or with a function of the program's own.
//
//	signers := keys.Resolver{"file": keys.FileOpener(passphrase.Terminal())}
//	err := keys.WriteFile(name, signer, answer) // of passphrase.Confirmed(passphrase.Terminal())
//
// There is no way to take one from the command line or the environment, because
// other processes of the machine can read these.
//
// From wherever it comes, an empty passphrase is refused, and so is one of more than
// 1,024 bytes. It is never part of an error.
package passphrase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

const maxLength = 1024

// Source returns a passphrase. The prompt says what for, without punctuation at
// its end. When ctx ends first, the error wraps the context's. Any function will
// do; those of this package may be called concurrently, and then ask one after the other.
type Source func(ctx context.Context, prompt string) ([]byte, error)

// Confirmed is for a passphrase that is being set: it asks twice, and it is an
// error if the answers differ.
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
		return first, nil
	}
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
		return fmt.Errorf("the passphrase has more than %d bytes", maxLength)
	}
	return nil
}

// unsupported is the error of what an operating system can't do.
type unsupported string

func (e unsupported) Error() string { return string(e) }

func (unsupported) Is(target error) bool { return target == errors.ErrUnsupported }
