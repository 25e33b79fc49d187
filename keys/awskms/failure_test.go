package awskms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/fakekms"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
)

var throttled = &fakekms.Error{Code: "ThrottlingException", Message: "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."}

// What can become of a key that worked, and what whoever publishes is told.
func TestFailures(t *testing.T) {
	always := func(e *fakekms.Error) func(*testing.T, *service, string) {
		return func(t *testing.T, s *service, arn string) {
			s.Before(func(*http.Request, string) *fakekms.Error { return e })
		}
	}
	for _, test := range []struct {
		name  string
		spoil func(t *testing.T, s *service, arn string)
		calls int // with 2 attempts
		kind  error
		want  string
	}{
		{"disabled", func(t *testing.T, s *service, arn string) {
			_, err := s.admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn})
			require.NoError(t, err)
		}, 1, keys.ErrUnusable, "it is disabled: enable it (aws kms enable-key), or put another key into the root (DisabledException: "},
		{"about to be deleted", func(t *testing.T, s *service, arn string) {
			_, err := s.admin.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &arn, PendingWindowInDays: aws.Int32(7)})
			require.NoError(t, err)
		}, 1, keys.ErrUnusable, "if it is about to be deleted, cancel that (aws kms cancel-key-deletion)"},
		{"deleted", func(t *testing.T, s *service, arn string) { s.Delete(arn) },
			1, keys.ErrUnusable, "there is no such key: is the ARN right, and was the key deleted?"},
		{"another key's signature", func(t *testing.T, s *service, arn string) {
			s.Swap(arn, s.newKey(t, types.KeySpecEccNistP256, types.KeyUsageTypeSignVerify))
		}, 1, keys.ErrSignature, "the service's signature does not verify: is this the name of another key?"},

		{"credentials expired", func(t *testing.T, s *service, arn string) { s.Expire(publisher) },
			1, keys.ErrDenied, "the credentials have expired: renew the credentials"},
		{"no permission", func(t *testing.T, s *service, arn string) { s.Permit(publisher, "kms:DescribeKey") },
			1, keys.ErrDenied, "a policy must permit the action: kms:Sign to publish"},
		{"unknown credentials", always(&fakekms.Error{Code: "UnrecognizedClientException"}),
			1, keys.ErrDenied, "AWS does not know the credentials"},
		{"wrong secret", always(&fakekms.Error{Code: "InvalidSignatureException", Message: "The Canonical String for this request should have been 'POST\n/\nx-amz-security-token:" + sessionToken + "'"}),
			1, keys.ErrDenied, "are secret key, region and clock right? (InvalidSignatureException, request 00000000-"},

		{"throttled", always(throttled), 2, keys.ErrUnavailable, "after 2 attempts: key unavailable for now: throttled: make fewer calls a second (Config.PerSecond)"},
		{"too many requests", always(&fakekms.Error{Status: 429}), 2, keys.ErrUnavailable, "throttled"},
		{"failed inside", always(&fakekms.Error{Status: 500, Code: "KMSInternalException"}), 2, keys.ErrUnavailable, "KMS failed inside"},
		{"key unavailable", always(&fakekms.Error{Status: 500, Code: "KeyUnavailableException"}), 2, keys.ErrUnavailable, "KMS failed inside"},
		{"dependency", always(&fakekms.Error{Status: 503, Code: "DependencyTimeoutException"}), 2, keys.ErrUnavailable, "KMS failed inside"},
		{"bad gateway", always(&fakekms.Error{Status: 502}), 2, keys.ErrUnavailable, "KMS failed inside"},
		{"a proxy's error", always(&fakekms.Error{Status: 520}), 2, keys.ErrUnavailable, "KMS failed inside"},
		{"a proxy's time limit", always(&fakekms.Error{Status: 408}), 2, keys.ErrUnavailable, "KMS failed inside"},
		{"request timed out", always(&fakekms.Error{Code: "RequestTimeoutException"}), 2, keys.ErrUnavailable, "KMS failed inside"},
		{"never answers", func(t *testing.T, s *service, arn string) {
			s.Before(func(r *http.Request, _ string) *fakekms.Error { <-r.Context().Done(); return throttled })
		}, 2, keys.ErrUnavailable, "no answer within 200ms"},
		{"hangs up", func(t *testing.T, s *service, arn string) {
			s.Before(func(*http.Request, string) *fakekms.Error { panic(http.ErrAbortHandler) })
		}, 2, keys.ErrUnavailable, "KMS could not be reached"},

		{"something new", always(&fakekms.Error{Code: "NewlyInventedException", Message: "no"}), 1, nil, "NewlyInventedException: no"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newService(t)
			var log bytes.Buffer
			arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{
				Attempts: 2, CallTimeout: 10 * time.Second, Logger: logTo(&log),
			})
			if test.name == "never answers" {
				cfg := awskms.Config{AWS: account(s.url, publisher), Attempts: 2, CallTimeout: 200 * time.Millisecond, Logger: logTo(&log)}
				var err error
				signer, err = newClient(t, cfg).Signer(arn, signer.Public())
				require.NoError(t, err)
			}
			test.spoil(t, s, arn)
			sig, err := signer.Sign(t.Context(), []byte("message"))
			require.Error(t, err)
			require.Empty(t, sig)
			if test.kind != nil {
				require.ErrorIs(t, err, test.kind)
			}
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, err, "sign with "+arn+" (key ID "+signer.Public().ID()+"): ")
			require.Equal(t, test.calls, s.Calls("Sign"))

			everything := fmt.Sprintf("%v %+v %#v %s", err, err, signer, log.String())
			require.NotContains(t, everything, secretKey)
			require.NotContains(t, everything, sessionToken)
		})
	}
}

// A key of another kind than the public key says.
func TestOtherKind(t *testing.T) {
	s := newService(t)
	arn, _ := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	_, rsa := s.newSigner(t, types.KeySpecRsa2048, awskms.Config{})
	signer, err := newClient(t, awskms.Config{AWS: account(s.url, publisher)}).Signer(arn, rsa.Public())
	require.NoError(t, err)
	_, err = signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnusable)
	require.ErrorContains(t, err, "it is of another kind than the public key it was opened with: import it again (InvalidKeyUsageException")
}

// The error of KMS is there to be looked at.
func TestCauseIsKept(t *testing.T) {
	s := newService(t)
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	_, err := s.admin.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	_, err = signer.Sign(t.Context(), []byte("message"))
	var disabled *types.DisabledException
	require.ErrorAs(t, err, &disabled)
	require.Equal(t, arn+" is disabled.", disabled.ErrorMessage())
}

// Nothing listens.
func TestUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	_, signer := newService(t).newSigner(t, types.KeySpecEccNistP256, awskms.Config{AWS: account(url, publisher), Attempts: 2})
	_, err = signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorContains(t, err, "after 2 attempts: key unavailable for now: KMS could not be reached: ")
	require.ErrorContains(t, err, "connection refused")
}

// The connection breaks in the middle of the answer.
func TestAnswerIsCutOff(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte(`{"KeyId": "`))
	}))
	defer server.Close()
	_, signer := newService(t).newSigner(t, types.KeySpecEccNistP256, awskms.Config{AWS: account(server.URL, publisher), Attempts: 2})
	_, err := signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.Equal(t, int32(2), calls.Load())
}

// A name that can't be resolved may be so for a moment only.
func TestNoSuchHost(t *testing.T) {
	cfg := account("http://kms.invalid", publisher)
	cfg.HTTPClient = doer(func(*http.Request) (*http.Response, error) {
		return nil, &net.DNSError{Err: "no such host", Name: "kms.invalid", IsNotFound: true}
	})
	_, signer := newService(t).newSigner(t, types.KeySpecEccNistP256, awskms.Config{AWS: cfg, Attempts: 1})
	_, err := signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrUnavailable)
	require.ErrorContains(t, err, "KMS could not be reached: ")
	require.ErrorContains(t, err, "no such host")
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// There are no credentials, or their source fails: KMS is not even asked.
func TestNoCredentials(t *testing.T) {
	s := newService(t)
	gone := errors.New("the token file is gone")
	cfg := account(s.url, publisher)
	cfg.Credentials = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, gone
	}))
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{AWS: cfg})
	_, err := signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrDenied)
	require.ErrorIs(t, err, gone)
	require.ErrorContains(t, err, arn)
	require.ErrorContains(t, err, "use of the key denied: there are no AWS credentials, or they could not be renewed: ")
	require.ErrorContains(t, err, gone.Error())

	// The same with what the SDK finds in an environment that has nothing.
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	cfg, err = config.LoadDefaultConfig(t.Context(), config.WithRegion(region), config.WithBaseEndpoint(s.url))
	require.NoError(t, err)
	_, signer = s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{AWS: cfg})
	_, err = signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrDenied)
	require.Zero(t, s.Calls("Sign"))
}

// Who gives out credentials may quote the session token they are renewed with.
func TestCredentialsRefusedQuotingSecret(t *testing.T) {
	s := newService(t)
	cfg := account(s.url, publisher)
	cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, fmt.Errorf("failed to refresh cached credentials, %w", &smithy.GenericAPIError{
			Code: "SignatureDoesNotMatch", Message: "The Canonical String for this request should have been 'POST\n/\nx-amz-security-token:" + sessionToken + "'"})
	})
	arn, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{AWS: cfg})
	_, err := signer.Sign(t.Context(), []byte("message"))
	require.ErrorIs(t, err, keys.ErrDenied)
	require.ErrorContains(t, err, arn)
	require.ErrorContains(t, err, "could not be renewed: are secret key, region and clock right? (SignatureDoesNotMatch)")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), sessionToken)
}

// The context ends while KMS is waited for.
func TestContextEndsWhileWaiting(t *testing.T) {
	s := newService(t)
	_, signer := s.newSigner(t, types.KeySpecEccNistP256, awskms.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	s.Before(func(r *http.Request, _ string) *fakekms.Error {
		cancel()
		<-r.Context().Done()
		return throttled
	})
	_, err := signer.Sign(ctx, []byte("message"))
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, keys.ErrUnavailable)
	require.Equal(t, 1, s.Calls("Sign"))
}
