package passphrase_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/passphrase"
)

// A service opens its online key with a passphrase that is in a file. As a unit of systemd it
// would use passphrase.Credential.
func Example() {
	dir, err := os.MkdirTemp("", "bindery-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	secret := passphrase.File(filepath.Join(dir, "passphrase"))
	if err := os.WriteFile(filepath.Join(dir, "passphrase"), []byte("correct horse\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	public, err := makeKey(context.Background(), filepath.Join(dir, "online.key"), secret)
	if err != nil {
		log.Fatal(err)
	}

	signers := keys.Resolver{"file": keys.FileOpener(secret)}
	online, err := signers.Open(context.Background(), "file:"+filepath.Join(dir, "online.key"), public)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(online.Public().Same(public))
	// Output: true
}

// makeKey is done once, by hand: a person would use passphrase.Confirmed(passphrase.Terminal()).
func makeKey(ctx context.Context, name string, secret passphrase.Source) (*keys.PublicKey, error) {
	key, err := keys.GenerateEd25519()
	if err != nil {
		return nil, err
	}
	answer, err := secret(ctx, "New passphrase of "+name)
	if err != nil {
		return nil, err
	}
	return key.Public(), keys.WriteFile(name, key, answer)
}
