//go:build !pkcs11 || !cgo

package pkcs11

import (
	"context"
	"errors"
	"fmt"
)

// Open fails: this is what a program has that was built without the tag pkcs11.
func Open(_ context.Context, cfg Config) (Signer, error) {
	if _, err := cfg.withDefaults(); err != nil {
		return nil, fmt.Errorf("pkcs11: %w", err)
	}
	return nil, errors.New(`pkcs11: this program was built without PKCS#11: build it with cgo and "-tags pkcs11"`)
}
