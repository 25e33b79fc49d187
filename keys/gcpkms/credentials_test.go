package gcpkms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/gcpkms"
)

// tokens are credentials as a client has them.
type tokens struct {
	token string
	err   error
}

func (c *tokens) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + c.token}, c.err
}

func (*tokens) RequireTransportSecurity() bool { return false } // there is none within a process

// Credentials that can't be found or renewed are told from a service that is
// down, and used again once they can.
func TestCredentialsMissing(t *testing.T) {
	fake := newFake()
	fake.keys[name] = enabled(p256)
	fake.start(t)
	have := &tokens{err: errors.New("google: could not find default credentials")}
	c, err := gcpkms.New(gcpkms.Config{KMS: fake.client(t, grpc.WithPerRPCCredentials(have))})
	require.NoError(t, err)
	_, err = c.Import(t.Context(), name)
	onlyIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, "the credentials are missing, expired or wrong: renew them")
	require.ErrorContains(t, err, "google: could not find default credentials")
	require.ErrorContains(t, err, name)
	require.Empty(t, fake.took())

	have.err = nil
	s := newSigner(t, fake, c)
	have.err = errors.New("oauth2: token expired and refresh token is not set")
	_, err = s.Sign(t.Context(), []byte("message"))
	onlyIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, "token expired")
	require.ErrorContains(t, err, name)
	require.Empty(t, fake.took())

	have.err = nil
	_, err = s.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
}

// Whatever goes wrong, neither an error nor the log nor a signer printed by
// accident shows the token.
func TestNothingSecretIsShown(t *testing.T) {
	const secret = "ya29.c2VjcmV0"
	for what, c := range faults {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake()
				fake.keys[name] = enabled(p256)
				fake.start(t)
				var shown bytes.Buffer
				client, err := gcpkms.New(gcpkms.Config{
					KMS:    fake.client(t, grpc.WithPerRPCCredentials(&tokens{token: secret})),
					Logger: slog.New(slog.NewTextHandler(&shown, &slog.HandlerOptions{Level: slog.LevelDebug})),
				})
				require.NoError(t, err)
				s := newSigner(t, fake, client)
				fake.set(func() { c.fault(fake) })
				_, err = s.Sign(t.Context(), []byte("message"))
				require.Error(t, err)
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d"} {
					fmt.Fprintf(&shown, verb+"\n", err)
					fmt.Fprintf(&shown, verb+"\n", s)
					fmt.Fprintf(&shown, verb+"\n", client)
				}
				require.Contains(t, shown.String(), name)
				require.NotContains(t, shown.String(), secret)
				fake.set(func() { require.Equal(t, "Bearer "+secret, fake.tokens[0], "it was sent") })
			})
		})
	}
}
