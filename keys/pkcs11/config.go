package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/keys"
)

const defaultTimeout = time.Minute

// Config says which key of which token signs. Strings that are empty match
// everything.
type Config struct {
	// Module is the absolute path of the module, a shared library that runs inside
	// this process. It must be given.
	Module string

	// Token is the label of the token, Serial its serial number. At least one
	// must be given.
	Token, Serial string

	// Manufacturer and Model are the token's as well.
	Manufacturer, Model string

	// Object is the label of the private key (CKA_LABEL), ID its CKA_ID, of which
	// nil matches everything. At least one must be given.
	Object string
	ID     []byte

	// Public is the key, as metadata lists it. nil means what the token says, under
	// the ID that the specification defines.
	Public *keys.PublicKey

	// PIN returns the user's PIN. It is called with a prompt that names the token,
	// each time a PIN is to be presented, and never concurrently. nil means that
	// the token needs none. Package passphrase has functions for it.
	PIN func(ctx context.Context, prompt string) ([]byte, error)

	// FinalTry lets a PIN be presented even where the token says that it locks itself
	// if that one is wrong. False is for programs that start by themselves, which
	// would otherwise lock a token by being restarted.
	FinalTry bool

	// MaxMessage is the largest message in bytes that the token signs with an
	// Ed25519 key. 0 means that it isn't known: the token decides. Other keys have no
	// limit.
	MaxMessage int

	// Timeout ends a call that the token does not answer; that it waits to be
	// touched counts. 0 means a minute.
	Timeout time.Duration
}

// Signer is a keys.Signer that holds a session with a token.
type Signer interface {
	keys.Signer

	// Close ends the session, and after it Sign fails. It does not wait for a
	// Sign under way, after which the session ends then.
	Close() error
}

// withDefaults returns cfg with its defaults, or says what is wrong with it.
func (cfg Config) withDefaults() (Config, error) {
	switch {
	case cfg.Module == "":
		return cfg, errors.New("the module is not given (module-path in a URI)")
	case !filepath.IsAbs(cfg.Module):
		return cfg, fmt.Errorf("the path of the module, %q, is not absolute", cfg.Module)
	case cfg.Token == "" && cfg.Serial == "":
		return cfg, errors.New("neither label nor serial number of the token is given")
	case cfg.Object == "" && len(cfg.ID) == 0:
		return cfg, errors.New("neither label nor ID of the key is given")
	case cfg.MaxMessage < 0:
		return cfg, fmt.Errorf("Config.MaxMessage is below zero: %d", cfg.MaxMessage)
	case cfg.Timeout < 0:
		return cfg, fmt.Errorf("Config.Timeout is below zero: %v", cfg.Timeout)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return cfg, nil
}
