package gcpkms

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	kms "cloud.google.com/go/kms/apiv1"
	"github.com/googleapis/gax-go/v2"

	"github.com/bindery-tuf/bindery/keys/internal/remote"
)

// Config says how the service is reached, and how much of it is used. All keys of
// a Client share the limits, because they share the project's quota.
type Config struct {
	// KMS makes the calls and has the credentials. It is required, and stays the
	// caller's to close. Its own repetitions are not used.
	KMS *kms.KeyManagementClient

	// Concurrent is how many calls may be under way at a time; others wait. Zero: 16.
	Concurrent int
	// PerSecond is how many calls may begin in a second, after a burst of
	// Concurrent ones. Repetitions count. Zero: 50. (That is the quota of a project
	// for asymmetric keys in HSMs unless it was changed; the one for keys in software is
	// 1,000. Other programs of the project share it.)
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
