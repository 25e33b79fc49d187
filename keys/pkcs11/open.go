//go:build pkcs11 && cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/miekg/pkcs11"
)

// Open returns a signer for a key that the token has at this moment, logged in if
// the token requires that. It must be closed.
func Open(ctx context.Context, cfg Config) (Signer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("pkcs11: %w", err)
	}
	s := &signer{cfg: cfg, public: cfg.Public, turn: make(chan struct{}, 1)}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(s.fail("open", err), s.Close())
	}
	return s, nil
}

func (s *signer) open(ctx context.Context) error {
	t, err := s.take(ctx)
	if err != nil {
		return err
	}
	defer t.release()
	err = t.call(ctx, func() error {
		var err error
		s.module, err = load(s.cfg.Module)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.connect(ctx, t); err != nil {
		return err
	}
	var shown *keys.PublicKey
	err = t.call(ctx, func() error {
		var err error
		shown, err = s.session.publicKey(s.cfg)
		return err
	})
	switch {
	case err != nil:
		return err
	case shown == nil && s.public == nil:
		return fmt.Errorf("%w: the token has the private key but no public key object: give the public key", keys.ErrUnusable)
	case s.public == nil:
		s.public = shown
	case shown != nil && !shown.Same(s.public):
		return fmt.Errorf("%w: the token has the key %s under this name, and not %s", keys.ErrUnusable, shown.ID(), s.public.ID())
	}
	s.mechanism, err = mechanismOf(s.public)
	return err
}

// load loads a module into the process and initializes it, or finds that done.
func load(path string) (*pkcs11.Ctx, error) {
	// The loader's own errors don't reach us.
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: the module: %w", keys.ErrUnusable, err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%w: the module %s is not a file", keys.ErrUnusable, path)
	}
	module := pkcs11.New(path)
	if module == nil {
		return nil, fmt.Errorf("%w: %s can't be loaded as a PKCS#11 module (is it one, for this kind of processor?)", keys.ErrUnusable, path)
	}
	err = module.Initialize()
	if err != nil && !is(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		module.Destroy()
		return nil, fmt.Errorf("initialize the module %s: %w", path, explain(err))
	}
	return module, nil
}
