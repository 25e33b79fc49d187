package keystest_test

import (
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/keystest"
)

// The test of a signer of one's own calls the suite.
func ExampleTestSigner() {
	_ = func(t *testing.T) { // func TestSigner(t *testing.T) {
		keystest.TestSigner(t, func(t *testing.T) keys.Signer {
			signer, err := openVault("vault:transit/online", "s3cr3t-t0k3n")
			if err != nil {
				t.Fatal(err)
			}
			return signer
		}, "s3cr3t-t0k3n") // which no error may show
	}
}

// openVault stands for one's own.
func openVault(place, token string) (keys.Signer, error) {
	return keys.GenerateP256()
}
