//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/keys"
)

// turn is the right of one caller to the signer's session.
type turn struct {
	s *signer

	// left is true once a call into the module was not waited for. The turn is then
	// that call's, until it returns.
	left bool
}

// take waits for the turn: as long as others use it, but no longer than the
// timeout for a call that was given up and hasn't returned.
func (s *signer) take(ctx context.Context) (*turn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	timeout := time.NewTicker(s.cfg.Timeout)
	defer timeout.Stop()
	for taken := false; !taken; {
		select {
		case s.turn <- struct{}{}:
			taken = true
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout.C:
			if s.stuck.Load() {
				return nil, fmt.Errorf("%w: the module has not yet returned from an earlier call: if it never does, pull the token out, or start the program again", keys.ErrUnavailable)
			}
		}
	}
	t := &turn{s: s}
	if s.closed.Load() {
		t.release()
		return nil, errClosed
	}
	return t, nil
}

func (t *turn) release() {
	if !t.left {
		t.s.giveBack()
	}
}

func (s *signer) giveBack() {
	<-s.turn
	// A Close that found the turn taken relies on this.
	if s.closed.Load() {
		s.closeIdle()
	}
}

// call calls into the module, and does not wait for longer than ctx and the
// timeout allow. do may no longer be running when call returns nil or an error of
// do's; otherwise it goes on, and nobody else has the turn until it is done.
func (t *turn) call(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- do() }()
	timeout := time.NewTimer(t.s.cfg.Timeout)
	defer timeout.Stop()
	var err error
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C:
		err = fmt.Errorf("%w: the token did not answer within %v: does it wait for a touch?", keys.ErrUnavailable, t.s.cfg.Timeout)
	}
	t.left = true
	t.s.stuck.Store(true)
	go func() {
		t.s.note(<-done)
		t.s.drop()
		t.s.stuck.Store(false)
		t.s.giveBack()
	}()
	return err
}

// drop ends the session after an error in it: the next caller begins anew.
func (t *turn) drop(err error) {
	if !t.left {
		t.s.note(err)
		t.s.drop()
	}
}

// note keeps in mind that a PIN was refused.
func (s *signer) note(err error) {
	if errors.Is(err, errPIN) {
		s.refused = err
	}
}
