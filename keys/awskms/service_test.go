package awskms_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/fakekms"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
)

const (
	region       = "eu-central-1"
	operator     = "AKIAOPERATOR"  // may do everything
	publisher    = "AKIAPUBLISHER" // may sign
	secretKey    = "VerySecretAccessKey"
	sessionToken = "VerySecretSessionToken"
)

// service is a KMS of our own, reached over the loopback interface.
type service struct {
	*fakekms.KMS
	url   string
	admin *kms.Client
}

func newService(t *testing.T) *service {
	s := &service{KMS: fakekms.New()}
	server := httptest.NewServer(s.KMS)
	t.Cleanup(server.Close)
	s.url = server.URL
	s.Permit(operator)
	s.Permit(publisher, "kms:Sign")
	s.admin = kms.NewFromConfig(account(s.url, operator))
	return s
}

// account is the configuration of the SDK for a service at url.
func account(url, accessKey string) aws.Config {
	return aws.Config{
		BaseEndpoint: &url,
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(accessKey, secretKey, sessionToken),
	}
}

// newKey returns the ARN of a new key.
func (s *service) newKey(t *testing.T, spec types.KeySpec, usage types.KeyUsageType) string {
	t.Helper()
	out, err := s.admin.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
	require.NoError(t, err)
	return *out.KeyMetadata.Arn
}

func newClient(t *testing.T, cfg awskms.Config) *awskms.Client {
	t.Helper()
	if cfg.PerSecond == 0 {
		cfg.PerSecond = 1e6
	}
	c, err := awskms.New(cfg)
	require.NoError(t, err)
	return c
}

// newSigner makes a key of a kind, imports it as the operator, and returns a
// signer for who may only sign.
func (s *service) newSigner(t *testing.T, spec types.KeySpec, cfg awskms.Config) (arn string, signer keys.Signer) {
	t.Helper()
	arn, public, err := newClient(t, awskms.Config{AWS: account(s.url, operator)}).
		Import(t.Context(), s.newKey(t, spec, types.KeyUsageTypeSignVerify))
	require.NoError(t, err)
	if cfg.AWS.Credentials == nil {
		cfg.AWS = account(s.url, publisher)
	}
	signer, err = newClient(t, cfg).Signer(arn, public)
	require.NoError(t, err)
	return arn, signer
}

// answering is a service that gives the same answer to each operation named, in
// the way KMS does.
func answering(t *testing.T, answers map[string]string) *awskms.Client {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.Write([]byte(answers[r.Header.Get("X-Amz-Target")]))
	}))
	t.Cleanup(server.Close)
	return newClient(t, awskms.Config{AWS: account(server.URL, operator), Attempts: 1})
}

func logTo(b *bytes.Buffer) *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }
