package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"

	kms "cloud.google.com/go/kms/apiv1"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
	"github.com/bindery-tuf/bindery/keys/passphrase"
	"github.com/bindery-tuf/bindery/keys/pkcs11"
	"github.com/bindery-tuf/bindery/keys/sshagent"
)

// keyring has the online keys open. A standby asks for them every two seconds, so they are opened
// once, and again when they are loaded.
type keyring struct {
	log  *slog.Logger
	aws  func() (*awskms.Client, error) // of the process: all keys share its limits
	gcp  func() (*gcpkms.Client, error)
	mu   sync.Mutex
	keys map[string][]keys.Signer // by role, nil before the first load
	used []io.Closer              // those of keys
}

func newKeyring(log *slog.Logger) *keyring {
	return &keyring{
		log: log,
		aws: sync.OnceValues(func() (*awskms.Client, error) {
			found, err := awsconfig.LoadDefaultConfig(context.Background())
			if err != nil {
				return nil, err
			}
			return awskms.New(awskms.Config{AWS: found, Logger: log})
		}),
		gcp: sync.OnceValues(func() (*gcpkms.Client, error) {
			found, err := kms.NewKeyManagementClient(context.Background())
			if err != nil {
				return nil, err
			}
			return gcpkms.New(gcpkms.Config{KMS: found, Logger: log})
		}),
	}
}

// signers are the keys that were loaded last.
func (k *keyring) signers() map[string][]keys.Signer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.keys)
}

// load opens the keys that the configuration names. If one can't be opened, those that were loaded
// before stay. Once the repository uses the new ones, release closes the earlier ones.
func (k *keyring) load(ctx context.Context, c config) (release func(), err error) {
	resolver := keys.Resolver{
		"file":     keys.FileOpener(secret(c.PassphraseFile, "passphrase_file")),
		"pkcs11":   pkcs11.Opener(pkcs11.Config{PIN: secret(c.PINFile, "pin_file")}),
		"sshagent": sshagent.Opener(sshagent.Config{Socket: os.Getenv("SSH_AUTH_SOCK")}),
		"awskms": func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
			client, err := k.aws()
			if err != nil {
				return nil, err
			}
			return client.Open(ctx, place, public)
		},
		"gcpkms": func(ctx context.Context, place string, public *keys.PublicKey) (keys.Signer, error) {
			client, err := k.gcp()
			if err != nil {
				return nil, err
			}
			return client.Open(ctx, place, public)
		},
	}
	opened, byRole := map[string]keys.Signer{}, map[string][]keys.Signer{}
	var closers []io.Closer
	for _, role := range slices.Sorted(maps.Keys(c.Keys)) {
		for _, uri := range c.Keys[role] {
			if opened[uri] == nil {
				signer, err := resolver.Open(ctx, uri, nil)
				if err != nil {
					closeAll(closers)
					return nil, fmt.Errorf("keys.%s: %w", role, err)
				}
				opened[uri] = signer
				if c, ok := signer.(io.Closer); ok {
					closers = append(closers, c)
				}
			}
			byRole[role] = append(byRole[role], opened[uri])
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	before := k.used
	k.keys, k.used = byRole, closers
	return func() { closeAll(before) }, nil
}

func (k *keyring) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	closeAll(k.used)
	k.keys, k.used = nil, nil
}

func closeAll(all []io.Closer) {
	for _, c := range all {
		_ = c.Close() // nothing is lost
	}
}

// secret reads a passphrase or a PIN from a file each time that it is asked for.
func secret(file, member string) passphrase.Source {
	if file == "" {
		return func(context.Context, string) ([]byte, error) {
			return nil, errors.New("no secret is configured: give " + member)
		}
	}
	return passphrase.File(file)
}
