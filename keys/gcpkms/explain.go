package gcpkms

import (
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/bindery-tuf/bindery/keys"
)

// The ways on.
const (
	fewerCalls = "throttled: make fewer calls a second (Config.PerSecond), or have the project's quota raised"
	inside     = "the service could not be reached or failed inside"
	damaged    = "what was sent was damaged on the way"
	findIt     = "there is no such key: is the name right? Or put another key into the root"
	enableIt   = "only an enabled version signs: wait until it is made, enable or restore it, or put another key into the root"
	otherKind  = "it does not sign, or is of another kind than the public key it was opened with: import it again"
	permit     = "a role must permit the call: cloudkms.cryptoKeyVersions.useToSign to publish, " +
		"cloudkms.cryptoKeyVersions.viewPublicKey to import"
	renew = "the credentials are missing, expired or wrong: renew them"
)

// meanings are what an answer of the service comes down to.
var meanings = map[codes.Code]struct {
	kind   error
	advice string
}{
	codes.ResourceExhausted:  {keys.ErrUnavailable, fewerCalls},
	codes.Unavailable:        {keys.ErrUnavailable, inside},
	codes.DeadlineExceeded:   {keys.ErrUnavailable, inside},
	codes.Aborted:            {keys.ErrUnavailable, inside},
	codes.Canceled:           {keys.ErrUnavailable, inside}, // by a proxy: if by the caller, its context says so
	codes.Internal:           {keys.ErrUnavailable, inside},
	codes.Unknown:            {keys.ErrUnavailable, inside}, // a proxy's HTTP status
	codes.NotFound:           {keys.ErrUnusable, findIt},
	codes.FailedPrecondition: {keys.ErrUnusable, enableIt},
	codes.InvalidArgument:    {keys.ErrUnusable, otherKind},
	codes.PermissionDenied:   {keys.ErrDenied, permit},
	codes.Unauthenticated:    {keys.ErrDenied, renew},
}

// explain returns an error of the SDK's as one of this package's: with its kind,
// the way on, and what the service said.
func explain(err error) error {
	said, ok := status.FromError(err)
	if !ok {
		return err
	}
	err = said.Err() // as one line: the SDK's text has the details on lines of their own
	// The service's data integrity guidelines say to ask again, but only the text
	// tells this error from others. What was sent is right: its checksum is made here.
	if said.Code() == codes.InvalidArgument && strings.Contains(said.Message(), "The checksum in field ") {
		return fmt.Errorf("%w: %s (%w)", keys.ErrUnavailable, damaged, err)
	}
	if m, ok := meanings[said.Code()]; ok {
		return fmt.Errorf("%w: %s (%w)", m.kind, m.advice, err)
	}
	return err
}
