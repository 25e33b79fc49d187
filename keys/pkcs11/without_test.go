//go:build !pkcs11 || !cgo

package pkcs11

import (
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

// A program that was built without the tag says so, and doesn't crash.
func TestWithoutTheTag(t *testing.T) {
	r := keys.Resolver{"pkcs11": Opener(Config{})}
	s, err := r.Open(t.Context(), "pkcs11:token=a;object=b?module-path=/m.so", nil)
	require.Nil(t, s)
	require.ErrorContains(t, err, `this program was built without PKCS#11: build it with cgo and "-tags pkcs11"`)
}
