package dirstore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// A file is stored before it is added to the repository, so that clients with the new metadata find it.
func ExampleTargets() {
	dir, err := os.MkdirTemp("", "bindery-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	targets, err := dirstore.OpenOrCreateTargets(filepath.Join(dir, "targets"))
	if err != nil {
		log.Fatal(err)
	}

	upload := strings.NewReader("hello")
	target, err := targets.Put(context.Background(), "demo/demo-1.0.tar.gz", upload)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(target.Length, target.Hashes["sha256"][:8])
	content, err := os.ReadFile(filepath.Join(dir, "targets", "demo", target.Hashes["sha256"]+".demo-1.0.tar.gz"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(content))
	// Output:
	// 5 2cf24dba
	// hello
}
