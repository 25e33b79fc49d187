//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/miekg/pkcs11"
)

// errPIN is wrapped by the error of a PIN that a token has refused.
var errPIN = errors.New("the token refused the PIN")

// askPIN returns the PIN to present; the prompt says the purpose.
func (s *signer) askPIN(ctx context.Context, t *turn, purpose string) ([]byte, error) {
	var token pkcs11.TokenInfo
	err := t.call(ctx, func() error {
		var err error
		if token, err = s.module.GetTokenInfo(s.session.slot); err != nil {
			return explain(err)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case token.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0:
		return nil, fmt.Errorf("%w: the token has no user PIN yet: set one with the token's own program", keys.ErrDenied)
	case token.Flags&pkcs11.CKF_USER_PIN_LOCKED != 0:
		return nil, fmt.Errorf("%w: the PIN is locked after too many wrong ones: the holder of the token's SO PIN (or PUK) can set a new one", keys.ErrDenied)
	case token.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0 && !s.cfg.FinalTry:
		return nil, fmt.Errorf("%w: one more wrong PIN would lock the token, so none is presented: enter the right one with the token's own program, or set Config.FinalTry", keys.ErrDenied)
	case s.cfg.PIN == nil:
		return nil, fmt.Errorf("%w: the token requires a PIN, and the program has no way to ask for it (Config.PIN is nil)", keys.ErrDenied)
	}
	prompt := "PIN of " + s.cfg.tokenName() + purpose
	switch {
	case token.Flags&pkcs11.CKF_USER_PIN_FINAL_TRY != 0:
		prompt += " (a wrong one LOCKS the token)"
	case token.Flags&pkcs11.CKF_USER_PIN_COUNT_LOW != 0:
		prompt += " (the last one was wrong; the token locks itself after a few)"
	}
	pin, err := s.cfg.PIN(ctx, prompt)
	switch {
	case err != nil:
		return nil, fmt.Errorf("PIN: %w", err)
	case len(pin) == 0:
		return nil, fmt.Errorf("%w: the PIN is empty, and was not presented", keys.ErrDenied)
	case token.MaxPinLen > 0 && (uint(len(pin)) < token.MinPinLen || uint(len(pin)) > token.MaxPinLen):
		return nil, fmt.Errorf("%w: the token's PINs have from %d to %d bytes, so this one was not presented", keys.ErrDenied, token.MinPinLen, token.MaxPinLen)
	}
	return pin, nil
}

// present presents a PIN, once.
func (s *session) present(pin []byte, user uint) error {
	err := s.module.Login(s.handle, user, string(pin))
	switch {
	case err == nil || is(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	case is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_LOCKED, pkcs11.CKR_PIN_EXPIRED):
		return fmt.Errorf("%w: %w", errPIN, explain(err))
	default:
		return explain(err)
	}
}
