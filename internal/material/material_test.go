package material_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/material"
)

// Different keys are told apart, and text around one makes no difference.
func TestOf(t *testing.T) {
	text := func() string {
		key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		require.NoError(t, err)
		der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
		require.NoError(t, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	a, b := text(), text()
	require.NotEqual(t, material.Of(a), material.Of(b))
	other := string(pem.EncodeToMemory(&pem.Block{Type: "NOTE", Bytes: []byte("x")}))
	require.Equal(t, material.Of(a), material.Of("a key\n"+other+a+b))
	require.Equal(t, "00ab", material.Of(" 00AB\n"))
	for _, odd := range []string{"", "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", other} {
		require.NotPanics(t, func() { material.Of(odd) })
	}
}
