package sshagent_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/sshagent"
)

// A key is found by the fingerprint that "ssh-add -l" prints. Once the root lists its public key,
// that finds it as well.
func Example() {
	ctx := context.Background()
	signers := keys.Resolver{
		"sshagent": sshagent.Opener(sshagent.Config{Socket: os.Getenv("SSH_AUTH_SOCK")}),
	}
	key, err := signers.Open(ctx, "sshagent:?key=SHA256:I4CCGQ2TwMZzTGVYcUkv1Q1W8SvOIcMV0CdkKLMCUYs", nil)
	if err != nil {
		log.Fatal(err)
	}
	signature, err := key.Sign(ctx, []byte("root"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(key.Public().Verify([]byte("root"), signature))
}
