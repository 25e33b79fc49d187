package awskms_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bindery-tuf/bindery/keys/awskms"
)

// A key is imported once, and signs at each start without another call. The account is what
// LoadDefaultConfig of the module aws-sdk-go-v2/config finds in the environment.
func Example() {
	var account aws.Config
	ctx := context.Background()
	client, err := awskms.New(awskms.Config{AWS: account})
	if err != nil {
		log.Fatal(err)
	}
	arn, public, err := client.Import(ctx, "alias/tuf-online") // for the ceremony: the root lists public
	if err != nil {
		log.Fatal(err)
	}

	online, err := client.Signer(arn, public)
	if err != nil {
		log.Fatal(err)
	}
	signature, err := online.Sign(ctx, []byte("timestamp"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(public.Verify([]byte("timestamp"), signature))
}
