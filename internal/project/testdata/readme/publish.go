package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/bindery-tuf/bindery/keys"
)

// main is what a reader writes around the function publish: it takes the folder of an index, and
// the key files and the passphrase of its online keys.
func main() {
	bins, err := keys.ReadFile(os.Args[2], []byte(os.Args[4]))
	if err != nil {
		log.Fatal(err)
	}
	online, err := keys.ReadFile(os.Args[3], []byte(os.Args[4]))
	if err != nil {
		log.Fatal(err)
	}
	generation, err := publish(context.Background(), os.Args[1], bins, online, "demo/demo-1.0.tar.gz", strings.NewReader("hello"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("published in generation", generation)
}
