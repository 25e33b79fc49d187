package repository

import (
	"context"
	"errors"
	"time"

	"github.com/bindery-tuf/bindery/keys"
)

// How often a signature is tried, and how long the pause before the second try is. Each later pause
// is four times as long. One call that fails must not throw away the thousands that a generation takes.
const (
	signTries      = 4
	firstSignPause = 100 * time.Millisecond
)

// patientSigner tries a signature again when that may help.
type patientSigner struct{ keys.Signer }

// patient returns a signer that tries again. One in memory never needs to.
func patient(s keys.Signer) keys.Signer {
	if _, ok := s.(*keys.MemorySigner); ok {
		return s
	}
	return patientSigner{s}
}

// Sign implements keys.Signer.
func (s patientSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	wait := firstSignPause
	for try := 1; ; try++ {
		signature, err := s.Signer.Sign(ctx, message)
		if err == nil || try == signTries || ctx.Err() != nil || isPermanent(err) || !sleep(ctx, wait) {
			return signature, err
		}
		wait *= 4
	}
}

// isPermanent reports whether the same call would fail again. An unknown error may pass: it may come
// from a signer of the embedder's own.
func isPermanent(err error) bool {
	for _, permanent := range []error{keys.ErrTooLarge, keys.ErrUnusable, keys.ErrDenied, keys.ErrUnsupported} {
		if errors.Is(err, permanent) {
			return true
		}
	}
	return false
}
