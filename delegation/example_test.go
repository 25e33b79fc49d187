package delegation_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/roles"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The documents of PEP 458 are made and signed, and the role of a path is found.
func Example() {
	ctx := context.Background()
	expires := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	signer, err := keys.GenerateEd25519()
	if err != nil {
		log.Fatal(err)
	}
	one := roles.Authority{Keys: []*keys.PublicKey{signer.Public()}, Threshold: 1}
	root, err := roles.NewRoot(roles.RootSpec{Version: 1, Expires: expires, Root: one, Targets: one, Snapshot: one, Timestamp: one})
	if err != nil {
		log.Fatal(err)
	}

	bins, err := delegation.New("bins", 16384, delegation.Succinct)
	if err != nil {
		log.Fatal(err)
	}
	targets, err := delegation.NewTargets(1, expires, one)
	if err == nil {
		targets, err = targets.Sign(ctx, signer)
	}
	if err != nil {
		log.Fatal(err)
	}
	document, err := bins.NewRole(1, expires, one)
	if err == nil {
		document, err = document.Sign(ctx, signer)
	}
	if err != nil {
		log.Fatal(err)
	}

	tree, err := delegation.NewTree(root, map[string]*roles.Document[metadata.TargetsType]{
		"targets": targets, "bins": document,
	})
	if err != nil {
		log.Fatal(err)
	}
	role, ok := tree.Owner("packages/demo-1.0.tar.gz")
	fmt.Println(role.Name, ok)
	// Output: bins-15e0 true
}
