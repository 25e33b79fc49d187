package pkcs11_test

import (
	"context"
	"fmt"
	"log"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/passphrase"
	"github.com/bindery-tuf/bindery/keys/pkcs11"
)

// A root key on a token signs once its holder has typed the PIN. The program is built with
// -tags pkcs11.
func Example() {
	ctx := context.Background()
	signers := keys.Resolver{
		"file": keys.FileOpener(passphrase.Terminal()),
		"pkcs11": pkcs11.Opener(pkcs11.Config{
			Module: "/usr/lib/softhsm/libsofthsm2.so",
			PIN:    passphrase.Terminal(),
		}),
	}
	root, err := signers.Open(ctx, "pkcs11:token=bindery;object=root", nil)
	if err != nil {
		log.Fatal(err)
	}
	signature, err := root.Sign(ctx, []byte("root"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(root.Public().Verify([]byte("root"), signature))
}
