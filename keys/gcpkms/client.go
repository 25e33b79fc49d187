package gcpkms

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	kms "cloud.google.com/go/kms/apiv1"
	"github.com/googleapis/gax-go/v2"

	"github.com/bindery-tuf/bindery/keys/remote"
)

// Config says how the service is reached, and how much of it is used. All keys of
// a Client share the limits, because they share the project's quota.
type Config struct {
	// KMS has the credentials, and says how the service is reached. It is required,
	// is made by kms.NewKeyManagementClient, which uses gRPC, and stays the
	// caller's to close. Its own repetitions, which would pass by the limits and leave
	// out what was throttled, are not used.
	KMS *kms.KeyManagementClient

	// Concurrent is how many calls may be under way at a time; others wait. Zero: 16.
	Concurrent int
	// PerSecond is how many calls may begin in a second, after a burst of
	// Concurrent ones. Repetitions count. Zero: 50. (Quotas are those of a project in a
	// region, which its other programs share, and smallest for keys in HSMs.)
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
	kms    *kms.KeyManagementClient
	caller *remote.Caller
}

// New returns a client. It makes no call; the error names the field that is wrong.
func New(cfg Config) (*Client, error) {
	if cfg.KMS == nil {
		return nil, errors.New("gcpkms: config: KMS is missing: kms.NewKeyManagementClient makes one, with the credentials it finds")
	}
	//lint:ignore SA1019 nothing else tells gRPC from REST, whose errors explain would not understand
	if cfg.KMS.Connection() == nil {
		return nil, errors.New("gcpkms: config: KMS uses REST: kms.NewKeyManagementClient makes one that uses gRPC")
	}
	if cfg.PerSecond == 0 {
		cfg.PerSecond = 50
	}
	caller, err := remote.NewCaller(remote.Limits{
		Concurrent:  cfg.Concurrent,
		PerSecond:   cfg.PerSecond,
		CallTimeout: cfg.CallTimeout,
		Attempts:    cfg.Attempts,
		Logger:      cfg.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("gcpkms: config: %w", err)
	}
	return &Client{cfg.KMS, caller}, nil
}

// once has the SDK make a call once: the caller repeats, within its limits.
var once = gax.WithRetry(func() gax.Retryer { return nil })
