//go:build pkcs11 && cgo

package pkcs11

import (
	"errors"
	"fmt"
	"slices"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/miekg/pkcs11"
)

// is reports whether err is one of a module's return values.
func is(err error, values ...uint) bool {
	var value pkcs11.Error
	return errors.As(err, &value) && slices.Contains(values, uint(value))
}

// explain says what a return value of a module means for the user, and wraps the
// kind of error that it is.
func explain(err error) error {
	kind, text := keys.ErrUnavailable, "the token failed"
	switch {
	case is(err, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED, pkcs11.CKR_SLOT_ID_INVALID):
		kind, text = keys.ErrUnusable, "the token was removed: insert it and sign again"
	case is(err, pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED):
		text = "the token ended the session or locked itself: sign again, which logs in anew"
	case is(err, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID):
		kind, text = keys.ErrUnusable, "the token no longer has the key, or was removed or locked in the meantime: sign again, which looks for it anew"
	case is(err, pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE):
		kind, text = keys.ErrDenied, "wrong PIN; the token locks itself after a few wrong ones"
	case is(err, pkcs11.CKR_PIN_LOCKED):
		kind, text = keys.ErrDenied, "the PIN is locked after too many wrong ones: the holder of the token's SO PIN (or PUK) can set a new one"
	case is(err, pkcs11.CKR_PIN_EXPIRED):
		kind, text = keys.ErrDenied, "the PIN has expired: set a new one with the token's own program"
	case is(err, pkcs11.CKR_FUNCTION_CANCELED, pkcs11.CKR_FUNCTION_REJECTED, pkcs11.CKR_CANCEL):
		kind, text = keys.ErrDenied, "the use was declined at the token"
	case is(err, pkcs11.CKR_KEY_FUNCTION_NOT_PERMITTED, pkcs11.CKR_USER_ANOTHER_ALREADY_LOGGED_IN):
		kind, text = keys.ErrDenied, "the token does not permit it"
	case is(err, pkcs11.CKR_DATA_LEN_RANGE, pkcs11.CKR_DATA_INVALID):
		kind, text = keys.ErrTooLarge, "the token does not take a message of this size: set Config.MaxMessage, or use a P-256 key"
	case is(err, pkcs11.CKR_MECHANISM_INVALID, pkcs11.CKR_MECHANISM_PARAM_INVALID, pkcs11.CKR_KEY_TYPE_INCONSISTENT, pkcs11.CKR_KEY_SIZE_RANGE):
		kind, text = keys.ErrUnsupported, "the token can't sign with this key in the way that TUF needs"
	}
	return fmt.Errorf("%w: %s: %w", kind, text, err)
}
