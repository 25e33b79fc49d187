// Package material recognises one key in two entries of metadata.
package material

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
)

// Of is the same for two texts of which a client reads the same key: securesystemslib takes
// RSA keys in three encodings, and points of a curve that are compressed or not. A key is known by the
// number that the private one belongs to, whatever is around it: the modulus of RSA, the x of a point.
func Of(value string) string {
	for rest := []byte(value); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return strings.ToLower(strings.TrimSpace(value)) // mostly hex
		}
		if strings.HasSuffix(block.Type, "PUBLIC KEY") {
			return ofDER(block.Bytes)
		}
	}
}

func ofDER(der []byte) string {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	key := der // PKCS#1
	if _, err := asn1.Unmarshal(der, &info); err == nil {
		key = info.Key.Bytes
	}
	var modulus struct{ N, E *big.Int }
	if _, err := asn1.Unmarshal(key, &modulus); err == nil {
		return "RSA " + modulus.N.Text(16)
	}
	if n := len(key); n > 1 && (key[0] == 2 || key[0] == 3) {
		return "EC " + hex.EncodeToString(key[1:]) // compressed
	} else if n > 2 && n%2 == 1 && (key[0] == 4 || key[0] == 6 || key[0] == 7) {
		return "EC " + hex.EncodeToString(key[1:1+n/2]) // x and y
	}
	return hex.EncodeToString(key)
}
