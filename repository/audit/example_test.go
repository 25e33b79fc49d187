package audit_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/audit"
	"github.com/bindery-tuf/bindery/roles"
)

// Any folder of metadata can be checked, also one that other software published. This one has a root that is about to
// expire, and nothing else.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "bindery-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := writeRoot(ctx, filepath.Join(dir, "1.root.json"), time.Now().Add(20*24*time.Hour)); err != nil {
		log.Fatal(err)
	}

	for finding, err := range audit.Run(ctx, audit.FS(os.DirFS(dir)), audit.Config{}) {
		if err != nil {
			log.Fatal(err) // the audit could not be done
		}
		fmt.Println(finding.Severity, finding.Check, finding.Name)
	}
	// Output:
	// warning expiry 1.root.json
	// error missing timestamp.json
}

func writeRoot(ctx context.Context, name string, expires time.Time) error {
	key, err := keys.GenerateEd25519()
	if err != nil {
		return err
	}
	one := roles.Authority{Keys: []*keys.PublicKey{key.Public()}, Threshold: 1}
	root, err := roles.NewRoot(roles.RootSpec{
		Version: 1, Expires: expires.UTC().Truncate(time.Second),
		Root: one, Targets: one, Snapshot: one, Timestamp: one,
	})
	if err == nil {
		root, err = root.Sign(ctx, key)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(name, root.Bytes(), 0o644)
}
