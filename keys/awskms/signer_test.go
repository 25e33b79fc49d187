package awskms_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/fakekms"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
	"github.com/bindery-tuf/bindery/keys/keystest"
)

// The whole suite passes with the permission to sign and no other.
func TestSigner(t *testing.T) {
	s := newService(t)
	for _, spec := range []types.KeySpec{
		types.KeySpecEccNistP256, types.KeySpecRsa2048, types.KeySpecRsa3072, types.KeySpecEccNistEdwards25519,
	} {
		t.Run(string(spec), func(t *testing.T) {
			_, signer := s.newSigner(t, spec, awskms.Config{})
			keystest.TestSigner(t, func(*testing.T) keys.Signer { return signer }, secretKey, sessionToken)
		})
	}
}

// Opening makes no call, a signature one, a message that is too large none.
func TestCalls(t *testing.T) {
	s := newService(t)
	_, signer := s.newSigner(t, types.KeySpecEccNistEdwards25519, awskms.Config{})
	require.Equal(t, 4096, signer.MaxMessage())
	_, err := signer.Sign(t.Context(), make([]byte, 4097))
	require.ErrorIs(t, err, keys.ErrTooLarge)
	require.Zero(t, s.Calls("Sign"))
	for n := range 3 {
		_, err := signer.Sign(t.Context(), make([]byte, 4096))
		require.NoError(t, err)
		require.Equal(t, n+1, s.Calls("Sign"))
	}
	require.Equal(t, 1, s.Calls("DescribeKey"))
	require.Equal(t, 1, s.Calls("GetPublicKey"))
}

func TestSignerRefuses(t *testing.T) {
	s := newService(t)
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	c := newClient(t, awskms.Config{AWS: account(s.url, publisher)})
	const noARN = "not the ARN of a key, arn:aws:kms:REGION:ACCOUNT:key/ID, which Import returns"
	const isAlias = "an alias may come to mean another key: use the ARN of the key itself, which Import returns"
	for name, want := range map[string]string{
		"":              noARN,
		"alias/publish": isAlias,
		"arn:aws:kms:eu-central-1:111122223333:alias/publish": isAlias,
		"1234abcd-12ab-34cd-56ef-1234567890ab":                noARN,
		"arn:aws:s3:eu-central-1:111122223333:key/1":          noARN,
		"arn:aws:kms:eu-central-1:111122223333:grant/1":       noARN,
		"arn:aws:kms:eu-central-1:111122223333:key/":          noARN,
		"arn:aws:kms:eu-central-1:111122223333:key/1/2":       noARN,
		"arn:aws:kms:eu-central-1:111122223333:key/1\n":       noARN,
		"arn:aws:kms:eu-central-1:1111:key/1":                 noARN,
		"arn:aws:kms:elsewhere.example:111122223333:key/1":    noARN,
		"arn:aws:kms::111122223333:key/1":                     noARN,
	} {
		_, err := c.Signer(name, signer.Public())
		require.EqualError(t, err, fmt.Sprintf("AWS KMS key %q: %s", name, want))
	}
	for _, name := range []string{
		"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/mrk-1234abcd12ab34cd56ef1234567890ab",
		"arn:aws-cn:kms:cn-north-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
	} {
		_, err := c.Signer(name, signer.Public())
		require.NoError(t, err)
	}
	_, err := c.Signer(arn, nil)
	require.EqualError(t, err, `AWS KMS key "`+arn+`": its public key is missing: Import returns it`)
}

// A public key read from metadata made by others may bear ecdsa's old name.
func TestOldKeytype(t *testing.T) {
	s := newService(t)
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	old, err := keys.ParsePublicKey("any", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", signer.Public().Value())
	require.NoError(t, err)
	signer, err = newClient(t, awskms.Config{AWS: account(s.url, publisher)}).Signer(arn, old)
	require.NoError(t, err)
	_, err = signer.Sign(t.Context(), make([]byte, 100_000))
	require.NoError(t, err)
}

func TestNewRefuses(t *testing.T) {
	_, err := awskms.New(awskms.Config{})
	require.EqualError(t, err, "awskms: config: AWS has no credentials: aws-sdk-go-v2/config.LoadDefaultConfig finds them")
	for want, cfg := range map[string]awskms.Config{
		"awskms: config: limit Concurrent is -1: it must not be negative (0 means 16)":            {Concurrent: -1},
		"awskms: config: limit PerSecond is -1: it must be above zero, what the account may call": {PerSecond: -1},
		"awskms: config: limit CallTimeout is -1ns: it must not be negative (0 means 10 seconds)": {CallTimeout: -1},
		"awskms: config: limit Attempts is -1: it must not be negative (0 means 5)":               {Attempts: -1},
	} {
		cfg.AWS = account("http://localhost", operator)
		_, err := awskms.New(cfg)
		require.EqualError(t, err, want)
	}
}

// The zero values of the limits let a publisher work.
func TestDefaultLimits(t *testing.T) {
	s := newService(t)
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	client, err := awskms.New(awskms.Config{AWS: account(s.url, publisher)})
	require.NoError(t, err)
	signer, err = client.Signer(arn, signer.Public())
	require.NoError(t, err)
	for range 20 { // the first 16 would be a burst in any case
		_, err := signer.Sign(t.Context(), []byte("message"))
		require.NoError(t, err)
	}
	require.Equal(t, 20, s.Calls("Sign"))
}

// KMS throttles and recovers: the caller sees a signature, the log which key it
// was, and KMS one call for each attempt, none made by the SDK on its own.
func TestThrottledForAWhile(t *testing.T) {
	s := newService(t)
	var log bytes.Buffer
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{Logger: logTo(&log), Attempts: 3})
	s.Before(func(*http.Request, string) *fakekms.Error {
		if s.Calls("Sign") < 3 {
			return throttled
		}
		return nil
	})
	_, err := signer.Sign(t.Context(), []byte("message"))
	require.NoError(t, err)
	require.Equal(t, 3, s.Calls("Sign"))
	require.Equal(t, 2, strings.Count(log.String(), "KMS call failed, trying again"))
	require.Equal(t, 2, strings.Count(log.String(), "key="+arn))
	require.Equal(t, 2, strings.Count(log.String(), "ThrottlingException"))
}

func TestConcurrencyIsBounded(t *testing.T) {
	s := newService(t)
	_, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{Concurrent: 1})
	errs := make(chan error)
	for range 8 {
		go func() {
			_, err := signer.Sign(t.Context(), []byte("message"))
			errs <- err
		}()
	}
	for range 8 {
		require.NoError(t, <-errs)
	}
	require.Equal(t, 8, s.Calls("Sign"))
	require.Equal(t, 1, s.MostAtOnce())
}
