//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/miekg/pkcs11"
)

var errClosed = errors.New("the signer is closed")

type signer struct {
	cfg       Config
	public    *keys.PublicKey
	mechanism mechanism
	module    *pkcs11.Ctx

	// turn holds a value while a call has the right to what follows it.
	turn    chan struct{}
	session *session // nil if one must be opened
	refused error    // a PIN was refused: no other is presented

	stuck  atomic.Bool // a call that was given up has the turn
	closed atomic.Bool
}

// Public implements keys.Signer.
func (s *signer) Public() *keys.PublicKey { return s.public }

// MaxMessage implements keys.Signer.
func (s *signer) MaxMessage() int {
	if s.mechanism.hashed || s.cfg.MaxMessage == 0 {
		return math.MaxInt
	}
	return s.cfg.MaxMessage
}

// Sign implements keys.Signer.
func (s *signer) Sign(ctx context.Context, message []byte) ([]byte, error) {
	signature, err := s.sign(ctx, message)
	if err != nil {
		return nil, s.fail("sign", err)
	}
	return signature, nil
}

func (s *signer) sign(ctx context.Context, message []byte) ([]byte, error) {
	if limit := s.MaxMessage(); len(message) > limit {
		return nil, fmt.Errorf("%w: %d bytes, and Config.MaxMessage is %d", keys.ErrTooLarge, len(message), limit)
	}
	t, err := s.take(ctx)
	if err != nil {
		return nil, err
	}
	defer t.release()
	if err := s.connect(ctx, t); err != nil {
		return nil, err
	}
	signature, err := s.signWith(ctx, t, message)
	if err != nil {
		// Whatever it was: some modules leave the operation open after an error.
		t.drop(err)
	}
	return signature, err
}

func (s *signer) signWith(ctx context.Context, t *turn, message []byte) ([]byte, error) {
	var pin []byte
	if s.session.always {
		var err error
		if pin, err = s.askPIN(ctx, t, ", for one signature"); err != nil {
			return nil, err
		}
	}
	// A call that isn't waited for must not read what the caller has back.
	input := s.mechanism.input(message)
	var raw []byte
	err := t.call(ctx, func() error {
		var err error
		raw, err = s.session.sign(s.mechanism, input, pin)
		return err
	})
	if err != nil {
		return nil, err
	}
	signature, err := s.mechanism.encode(raw)
	if err == nil {
		err = s.public.Verify(message, signature)
	}
	if err != nil {
		return nil, fmt.Errorf("the token's signature does not verify (is it the same token as before?): %w", err)
	}
	return signature, nil
}

// Close implements Signer.
func (s *signer) Close() error {
	s.closed.Store(true)
	s.closeIdle()
	return nil
}

// closeIdle ends the session of a closed signer, unless a call has it, which then
// does so at its end.
func (s *signer) closeIdle() {
	select {
	case s.turn <- struct{}{}:
		s.drop()
		<-s.turn
	default:
	}
}

// drop forgets the session. What a token says to its end is of no interest: it may
// be gone.
func (s *signer) drop() {
	if s.session != nil {
		s.session.close()
		s.session = nil
	}
}

func (s *signer) fail(what string, err error) error {
	id := ""
	if s.public != nil {
		id = " (key ID " + s.public.ID() + ")"
	}
	return fmt.Errorf("pkcs11 %s: %s with %s%s: %w", s.cfg.tokenName(), what, s.cfg.keyName(), id, err)
}

// Format prints the names of token and key and no more, under every verb.
func (s *signer) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "%s of %s (%s, ID %s)", s.cfg.keyName(), s.cfg.tokenName(), s.public.Scheme(), s.public.ID())
}
