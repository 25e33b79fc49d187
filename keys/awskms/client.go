package awskms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/remote"
)

// Config says which account is used, and how much of it. All keys of a Client
// share the limits, because they share the account's quota.
type Config struct {
	// AWS has the credentials, and says how KMS is reached. Module
	// aws-sdk-go-v2/config finds both in the environment. Credentials are
	// required. Its retryer is not used. Its region counts for names that have
	// none: an ARN brings its own.
	AWS aws.Config

	// Concurrent is how many calls may be under way at a time; others wait. Zero: 16.
	Concurrent int
	// PerSecond is how many calls may begin in a second, after a burst of
	// Concurrent ones. Repetitions count. Zero: 100. (An account may make 1,000 a
	// second in a region unless its quota was changed, and others of its programs
	// share that.)
	PerSecond float64
	// CallTimeout is how long one call may take before it is given up and made
	// again. Zero: 10 seconds.
	CallTimeout time.Duration
	// Attempts is how often a call is made before its failure is an error. Zero: 5.
	Attempts int

	// Logger receives a warning for each call that is made again. Nil: nothing is
	// logged.
	Logger *slog.Logger
}

// Client makes the calls. It is safe for concurrent use.
type Client struct {
	kms    *kms.Client
	caller *remote.Caller
}

// New returns a client. It makes no call; the error names the field that is wrong.
func New(cfg Config) (*Client, error) {
	if cfg.AWS.Credentials == nil {
		return nil, errors.New("awskms: config: AWS has no credentials: aws-sdk-go-v2/config.LoadDefaultConfig finds them")
	}
	if cfg.PerSecond == 0 {
		cfg.PerSecond = 100
	}
	caller, err := remote.NewCaller(remote.Limits{
		Concurrent:  cfg.Concurrent,
		PerSecond:   cfg.PerSecond,
		CallTimeout: cfg.CallTimeout,
		Attempts:    cfg.Attempts,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("awskms: config: %w", err)
	}
	client := kms.NewFromConfig(cfg.AWS, func(o *kms.Options) {
		o.Credentials = credentials{cfg.AWS.Credentials}
		o.Retryer = aws.NopRetryer{} // the caller repeats, within its limits
	})
	return &Client{client, caller}, nil
}

// inRegionOf has a call go to the region that an ARN names.
func inRegionOf(name string) func(*kms.Options) {
	return func(o *kms.Options) {
		if parsed, err := arn.Parse(name); err == nil {
			o.Region = parsed.Region
		}
	}
}

// credentials tells a failure to get credentials from one of KMS: the SDK's errors
// don't.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	found, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return found, credentialsError{err}
	}
	return found, nil
}

type credentialsError struct{ cause error }

func (e credentialsError) Error() string {
	cause := e.cause.Error()
	// STS, too, may quote what had to be signed, session token included.
	var answer smithy.APIError
	if errors.As(e.cause, &answer) && meanings[answer.ErrorCode()].silent {
		cause = fmt.Sprintf("%s (%s)", checkSecret, answer.ErrorCode())
	}
	return fmt.Sprintf("%v: there are no AWS credentials, or they could not be renewed: %s", keys.ErrDenied, cause)
}

func (e credentialsError) Unwrap() []error { return []error{keys.ErrDenied, e.cause} }
