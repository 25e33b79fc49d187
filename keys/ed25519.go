package keys

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// The field and the curve of Ed25519 (RFC 8032, 5.1): -x² + y² = 1 + dx²y² modulo p.
var (
	fieldP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD = number("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3")

	// The points of order 8 have this y, or its negative. That of the others is -1, 0 or 1.
	eighth = number("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826")
)

func number(hex string) *big.Int {
	n, _ := new(big.Int).SetString(hex, 16)
	return n
}

// checkPoint refuses what isn't the canonical encoding of a point of the curve, and the
// points of small order: for these, crypto/ed25519 accepts signatures that nobody made
// with a private key. See "Taming the Many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020).
//
// A point of another order is accepted even if it has a part of small order. All clients
// verify without the cofactor, so they agree about its signatures.
func checkPoint(key ed25519.PublicKey) error {
	encoded := slices.Clone(key)
	slices.Reverse(encoded) // big-endian
	encoded[0] &= 0x7f      // without the sign of x
	y := new(big.Int).SetBytes(encoded)
	if y.Cmp(fieldP) >= 0 {
		return errors.New("an Ed25519 key that isn't in its canonical encoding: make another key")
	}
	least := new(big.Int).Sub(fieldP, y) // of y and -y
	if y.Cmp(least) < 0 {
		least = y
	}
	if least.Cmp(big.NewInt(1)) <= 0 || least.Cmp(eighth) == 0 {
		return fmt.Errorf("an Ed25519 key of small order (%x): anyone can sign for it: remove it", []byte(key))
	}
	// x² is u/v, with u = y²-1 and v = dy²+1. It exists if uv is a square too.
	u := new(big.Int).Mul(y, y)
	v := new(big.Int).Mul(curveD, u)
	u.Sub(u, big.NewInt(1))
	v.Add(v, big.NewInt(1))
	if big.Jacobi(u.Mul(u, v), fieldP) < 0 {
		return errors.New("an Ed25519 key that is no point of the curve: nobody can sign for it: give the key again")
	}
	return nil
}
