//go:build !pkcs11 || !cgo

package main

import "testing"

// Without the build tag, the program says how to be built.
func TestNoTokens(t *testing.T) {
	s := asked(t)
	uri := "pkcs11:token=ada;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so"
	const want = `this program was built without PKCS#11: build it with cgo and "-tags pkcs11"`
	s.refuse("no card was made: open key "+uri+": pkcs11: "+want, "", "card", "-name", "Eve", "-key", uri, s.path("eve.card.json"))
	s.refuse("nothing was signed: open key "+uri+": pkcs11: "+want, "", s.signAt(uri)...)
}
