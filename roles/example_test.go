package roles_test

import (
	"context"
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

var exampleExpires = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// A root is made and signed, and a timestamp is verified under it.
func Example() {
	ctx := context.Background()
	signer, err := keys.GenerateEd25519()
	if err != nil {
		log.Fatal(err)
	}
	one := roles.Authority{Keys: []*keys.PublicKey{signer.Public()}, Threshold: 1}
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: exampleExpires,
		Root: one, Targets: one, Snapshot: one, Timestamp: one,
	})
	if err == nil {
		root, err = root.Sign(ctx, signer)
	}
	if err != nil {
		log.Fatal(err)
	}

	timestamp, err := roles.NewTimestamp(7, exampleExpires, 7, []byte("the snapshot's file"))
	if err == nil {
		timestamp, err = timestamp.Sign(ctx, signer)
	}
	if err != nil {
		log.Fatal(err)
	}

	// A client has the files.
	received, err := roles.Parse[metadata.TimestampType](timestamp.Bytes())
	if err != nil {
		log.Fatal(err)
	}
	authority, err := roles.RootAuthority(root, metadata.TIMESTAMP)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(received.Version(), authority.Verify(received))
	// Output: 7 <nil>
}

// An index that hasn't length and hashes of a file makes its target of the content.
func ExampleReadTarget() {
	target, err := roles.ReadTarget("packages/demo-1.0.tar.gz", strings.NewReader("hello"), "sha512")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(target.Path, target.Length, target.Hashes["sha256"][:8], target.Hashes["sha512"][:8])
	// Output: packages/demo-1.0.tar.gz 5 2cf24dba 9b71d224
}

// A target is added to a bin.
func ExampleBin() {
	ctx := context.Background()
	signer, err := keys.GenerateEd25519()
	if err != nil {
		log.Fatal(err)
	}
	target := roles.Target{
		Path:   "packages/demo-1.0.tar.gz",
		Length: 11,
		Hashes: map[string]string{"sha256": "5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99"},
	}
	bin, err := roles.NewBin().Edit(1, exampleExpires, []roles.TargetEdit{{Path: target.Path, Target: &target}})
	if err != nil {
		log.Fatal(err)
	}
	file, err := bin.Sign(ctx, signer)
	if err != nil {
		log.Fatal(err)
	}

	opened, err := roles.OpenBin(file)
	if err != nil {
		log.Fatal(err)
	}
	for target, err := range opened.Targets() {
		fmt.Println(target.Path, target.Length, err)
	}
	// Output: packages/demo-1.0.tar.gz 11 <nil>
}
