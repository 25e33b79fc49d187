package remote_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/remote"
)

// vault is a service that has one key, and is busy at first.
type vault struct {
	private *ecdsa.PrivateKey
	calls   int
}

var errBusy = errors.New("too many requests")

func (v *vault) sign(_ context.Context, digest []byte) ([]byte, error) {
	if v.calls++; v.calls == 1 {
		return nil, errBusy
	}
	return v.private.Sign(nil, digest, crypto.SHA256)
}

func Example() {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	root, err := keys.NewSigner(private)
	if err != nil {
		panic(err)
	}
	service := &vault{private: private}
	signer, err := open(service, root.Public())
	if err != nil {
		panic(err)
	}
	signature, err := signer.Sign(context.Background(), []byte("timestamp"))
	fmt.Println(err, signer.Public().Verify([]byte("timestamp"), signature), service.calls)
	// Output: <nil> <nil> 2
}

func open(vault *vault, public *keys.PublicKey) (keys.Signer, error) {
	account, err := remote.NewCaller(remote.Limits{PerSecond: 100})
	if err != nil {
		return nil, err
	}
	return account.Signer(remote.Key{
		Name:   "vault:transit/online",
		Public: public, // as the root lists it
		Sign: func(ctx context.Context, digest []byte) ([]byte, error) {
			signature, err := vault.sign(ctx, digest)
			if errors.Is(err, errBusy) {
				err = fmt.Errorf("%w: %w", keys.ErrUnavailable, err) // is tried again
			}
			return signature, err
		},
	}), nil
}
