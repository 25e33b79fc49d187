//go:build !pkcs11 || !cgo

package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Without the build tag, the program says how to be built.
func TestNoTokens(t *testing.T) {
	s := newSite(t)
	uri := "pkcs11:token=index;object=online?module-path=/usr/lib/softhsm/libsofthsm2.so"
	s.config["keys"] = map[string]any{"bins-*": "file:" + s.path("online.pem"), "snapshot": uri, "timestamp": uri}
	const want = `keys.snapshot: open key pkcs11:token=index;object=online?module-path=/usr/lib/softhsm/libsofthsm2.so: ` +
		`pkcs11: this program was built without PKCS#11: build it with cgo and "-tags pkcs11"`
	_, err := start(t.Context(), s.configFile(), discard)
	require.ErrorContains(t, err, want)
	require.ErrorContains(t, checkConfig(t.Context(), s.configFile(), &output{}), want)
}
