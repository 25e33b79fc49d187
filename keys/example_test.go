package keys_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/keys"
)

// A key is made, kept in a file, and opened by its URI.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	signer, err := keys.GenerateEd25519()
	if err != nil {
		log.Fatal(err)
	}
	name := filepath.Join(dir, "online.key")
	if err := keys.WriteFile(name, signer, []byte("correct horse")); err != nil {
		log.Fatal(err)
	}

	ask := func(context.Context, string) ([]byte, error) { return []byte("correct horse"), nil }
	signers := keys.Resolver{"file": keys.FileOpener(ask)}
	opened, err := signers.Open(ctx, "file:"+name, signer.Public())
	if err != nil {
		log.Fatal(err)
	}
	message := []byte("metadata")
	signature, err := keys.SignVerified(ctx, opened, message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signer.Public().Verify(message, signature))
	// Output: <nil>
}
