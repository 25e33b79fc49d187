//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/miekg/pkcs11"
)

// session is one with the token, with the key found in it.
type session struct {
	module *pkcs11.Ctx
	handle pkcs11.SessionHandle
	slot   uint
	login  bool // a PIN must be presented

	key    pkcs11.ObjectHandle
	always bool // and once more for each signature
}

func (s *session) close() { s.module.CloseSession(s.handle) }

// connect makes sure that the signer has a session with the key in it.
func (s *signer) connect(ctx context.Context, t *turn) error {
	if s.session != nil {
		return nil
	}
	if s.refused != nil {
		return fmt.Errorf("no other PIN is presented after this one, so that the token is not locked; open the signer anew with the right PIN: %w", s.refused)
	}
	err := s.begin(ctx, t)
	if err != nil {
		t.drop(err)
	}
	return err
}

func (s *signer) begin(ctx context.Context, t *turn) error {
	err := t.call(ctx, func() error {
		var err error
		s.session, err = openSession(s.module, s.cfg)
		return err
	})
	if err != nil {
		return err
	}
	var pin []byte
	if s.session.login {
		if pin, err = s.askPIN(ctx, t, ""); err != nil {
			return err
		}
	}
	return t.call(ctx, func() error {
		if s.session.login {
			if err := s.session.present(pin, pkcs11.CKU_USER); err != nil {
				return err
			}
		}
		return s.session.find(s.cfg)
	})
}

// openSession opens a session with the token that cfg describes.
func openSession(module *pkcs11.Ctx, cfg Config) (*session, error) {
	slots, err := module.GetSlotList(true)
	if err != nil {
		return nil, explain(err)
	}
	var matches []uint
	var token pkcs11.TokenInfo
	var serials string
	for _, slot := range slots {
		info, err := module.GetTokenInfo(slot)
		if err != nil || info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 || !cfg.isToken(info) {
			continue // one that was just removed, too
		}
		matches, token = append(matches, slot), info
		serials += fmt.Sprintf(" %q", info.SerialNumber)
	}
	switch {
	case len(matches) == 0:
		return nil, fmt.Errorf("%w: no such token is there (tokens in all slots: %d): insert it, or correct its label or serial number", keys.ErrUnusable, len(slots))
	case len(matches) > 1:
		return nil, fmt.Errorf("%w: %d tokens match, with the serial numbers%s: name one by its serial number", keys.ErrUnusable, len(matches), serials)
	}
	handle, err := module.OpenSession(matches[0], pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, explain(err)
	}
	s := &session{module: module, handle: handle, slot: matches[0]}
	// A log-in counts for all sessions of the process with the token.
	info, err := module.GetSessionInfo(handle)
	if err != nil {
		s.close()
		return nil, explain(err)
	}
	in := info.State == pkcs11.CKS_RO_USER_FUNCTIONS || info.State == pkcs11.CKS_RW_USER_FUNCTIONS
	s.login = token.Flags&pkcs11.CKF_LOGIN_REQUIRED != 0 && !in
	return s, nil
}

func (cfg Config) isToken(info pkcs11.TokenInfo) bool {
	match := func(want, got string) bool { return want == "" || want == got }
	return match(cfg.Token, info.Label) && match(cfg.Serial, info.SerialNumber) &&
		match(cfg.Manufacturer, info.ManufacturerID) && match(cfg.Model, info.Model)
}

// find finds the private key.
func (s *session) find(cfg Config) error {
	handles, err := s.objects(pkcs11.CKO_PRIVATE_KEY, cfg.Object, cfg.ID)
	switch {
	case err != nil:
		return err
	case len(handles) == 0:
		return fmt.Errorf("%w: the token has no such private key: correct its label or ID, or insert the token that has it", keys.ErrUnusable)
	case len(handles) > 1:
		return fmt.Errorf("%w: %d or more private keys match: name one by both its label and its ID", keys.ErrUnusable, len(handles))
	}
	s.key = handles[0]
	if may, err := s.attribute(s.key, pkcs11.CKA_SIGN); err == nil && !isTrue(may) {
		return fmt.Errorf("%w: the key may not sign (CKA_SIGN is false)", keys.ErrDenied)
	}
	always, err := s.attribute(s.key, pkcs11.CKA_ALWAYS_AUTHENTICATE)
	s.always = err == nil && isTrue(always) // older tokens don't know it
	return nil
}

func isTrue(value []byte) bool { return len(value) == 1 && value[0] != 0 }

// objects returns the token's objects of a class, at most two.
func (s *session) objects(class uint, label string, id []byte) ([]pkcs11.ObjectHandle, error) {
	template := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
	}
	if label != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	}
	if len(id) > 0 {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	}
	if err := s.module.FindObjectsInit(s.handle, template); err != nil {
		return nil, explain(err)
	}
	var handles []pkcs11.ObjectHandle
	for len(handles) < 2 {
		more, _, err := s.module.FindObjects(s.handle, 2)
		if err != nil {
			return nil, errors.Join(explain(err), s.module.FindObjectsFinal(s.handle))
		}
		if len(more) == 0 {
			break
		}
		handles = append(handles, more...)
	}
	if err := s.module.FindObjectsFinal(s.handle); err != nil {
		return nil, explain(err)
	}
	return handles, nil
}

func (s *session) attribute(o pkcs11.ObjectHandle, kind uint) ([]byte, error) {
	values, err := s.module.GetAttributeValue(s.handle, o, []*pkcs11.Attribute{{Type: kind}})
	if err != nil {
		return nil, explain(err)
	}
	return values[0].Value, nil
}

// sign makes a signature over input. pin is presented for it if it isn't nil.
func (s *session) sign(m mechanism, input, pin []byte) ([]byte, error) {
	if err := s.module.SignInit(s.handle, []*pkcs11.Mechanism{m.parameters()}, s.key); err != nil {
		return nil, explain(err)
	}
	if pin != nil {
		if err := s.present(pin, pkcs11.CKU_CONTEXT_SPECIFIC); err != nil {
			return nil, err
		}
	}
	signature, err := s.module.Sign(s.handle, input)
	if err != nil {
		return nil, explain(err)
	}
	return signature, nil
}
