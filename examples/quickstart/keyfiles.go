package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/bindery-tuf/bindery/keys"
)

// passphrase protects nothing: it is printed here for all to read. It is in the
// place of one that an operator would be asked for.
const passphrase = "demonstration only"

const keysReadme = `DEMONSTRATION KEYS. DO NOT USE THEM FOR ANYTHING.

The quickstart of Bindery made these keys. The passphrase of every file is
"` + passphrase + `", as the source of the quickstart says.

root-1.pem, root-2.pem, root-3.pem   offline keys: in earnest each is with another
                                     person and never on this machine
online-bins.pem                      signs the bins
online-snapshot-timestamp.pem        signs snapshot and timestamp; in earnest in a KMS

The four keys of targets and bins signed once and are destroyed: they are in no file.
`

const (
	binsKeyFile  = "online-bins.pem"
	freshKeyFile = "online-snapshot-timestamp.pem"
)

// writeKeys keeps the keys that are not destroyed in a new folder, encrypted.
func writeKeys(dir string, c *ceremony) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "README.txt"), []byte(keysReadme), 0o644); err != nil {
		return err
	}
	files := map[string]*keys.MemorySigner{binsKeyFile: c.online.bins, freshKeyFile: c.online.fresh}
	for i, key := range c.root {
		files[fmt.Sprintf("root-%d.pem", i+1)] = key
	}
	for name, key := range files {
		if err := keys.WriteFile(filepath.Join(dir, name), key, []byte(passphrase)); err != nil {
			return err
		}
	}
	return nil
}

// readKeys reads the online keys: an index that runs needs no others.
func readKeys(dir string) (k onlineKeys, err error) {
	if k.bins, err = keys.ReadFile(filepath.Join(dir, binsKeyFile), []byte(passphrase)); err != nil {
		return k, err
	}
	k.fresh, err = keys.ReadFile(filepath.Join(dir, freshKeyFile), []byte(passphrase))
	return k, err
}
