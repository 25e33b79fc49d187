package gcpkms_test

import (
	"context"
	"fmt"
	"log"

	kms "cloud.google.com/go/kms/apiv1"

	"github.com/bindery-tuf/bindery/keys/gcpkms"
)

// A key version is imported once, and signs at each start without another call.
func Example() {
	const name = "projects/index/locations/europe-west3/keyRings/tuf/cryptoKeys/online/cryptoKeyVersions/1"
	ctx := context.Background()
	service, err := kms.NewKeyManagementClient(ctx)
	if err != nil {
		log.Fatal(err)
	}
	client, err := gcpkms.New(gcpkms.Config{KMS: service})
	if err != nil {
		log.Fatal(err)
	}
	public, err := client.Import(ctx, name) // for the ceremony: the root lists public
	if err != nil {
		log.Fatal(err)
	}

	online, err := client.Signer(name, public)
	if err != nil {
		log.Fatal(err)
	}
	signature, err := online.Sign(ctx, []byte("timestamp"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(public.Verify([]byte("timestamp"), signature))
}
