package awskms

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bindery-tuf/bindery/keys"
)

// The ways on.
const (
	enableIt       = "enable it (aws kms enable-key), or put another key into the root"
	cancelDeletion = "cancel that (aws kms cancel-key-deletion) and enable it, or put another key into the root"
	findIt         = "is the ARN right, and was the key deleted? Then put another key into the root"
	otherKind      = "it is of another kind than the public key it was opened with: import it again"
	renew          = "renew the credentials"
	permit         = "a policy must permit the action: kms:Sign to publish, kms:DescribeKey and kms:GetPublicKey to import"
	checkSecret    = "are secret key, region and clock right?"
	fewerCalls     = "throttled: make fewer calls a second (Config.PerSecond), or have the account's quota raised"
	inside         = "KMS failed inside"
)

// meaning is what an error of KMS comes down to.
type meaning struct {
	kind   error
	advice string
	// silent errors are not quoted. KMS may explain a wrong signature of the
	// request with the text that had to be signed, session token included.
	silent bool
}

// meanings are by the code of the error. What the SDK takes for throttling needs
// no entry, nor does any status of 500 and more.
var meanings = map[string]meaning{
	"DisabledException":             {keys.ErrUnusable, "it is disabled: " + enableIt, false},
	"KMSInvalidStateException":      {keys.ErrUnusable, "if it is about to be deleted, " + cancelDeletion, false},
	"NotFoundException":             {keys.ErrUnusable, "there is no such key: " + findIt, false},
	"InvalidArnException":           {keys.ErrUnusable, "there can be no such key: " + findIt, false},
	"InvalidKeyUsageException":      {keys.ErrUnusable, otherKind, false},
	"UnsupportedOperationException": {keys.ErrUnusable, otherKind, false},

	"KeyUnavailableException":    {keys.ErrUnavailable, inside, false},
	"KMSInternalException":       {keys.ErrUnavailable, inside, false},
	"DependencyTimeoutException": {keys.ErrUnavailable, inside, false},

	"AccessDeniedException":               {keys.ErrDenied, permit, false},
	"NotAuthorized":                       {keys.ErrDenied, permit, false},
	"OptInRequired":                       {keys.ErrDenied, "the account is not subscribed to KMS", false},
	"ExpiredTokenException":               {keys.ErrDenied, "the credentials have expired: " + renew, false},
	"ExpiredToken":                        {keys.ErrDenied, "the credentials have expired: " + renew, false},
	"AuthFailure":                         {keys.ErrDenied, "AWS does not know the credentials: " + renew, false},
	"RequestTimeTooSkewed":                {keys.ErrDenied, checkSecret, true},
	"RequestExpired":                      {keys.ErrDenied, checkSecret, true},
	"UnrecognizedClientException":         {keys.ErrDenied, "AWS does not know the credentials: " + renew, false},
	"InvalidClientTokenId":                {keys.ErrDenied, "AWS does not know the credentials: " + renew, false},
	"MissingAuthenticationToken":          {keys.ErrDenied, "the credentials are missing", false},
	"MissingAuthenticationTokenException": {keys.ErrDenied, "the credentials are missing", false},
	"InvalidSignatureException":           {keys.ErrDenied, checkSecret, true},
	"SignatureDoesNotMatch":               {keys.ErrDenied, checkSecret, true},
	"IncompleteSignature":                 {keys.ErrDenied, checkSecret, true},
	"IncompleteSignatureException":        {keys.ErrDenied, checkSecret, true},
}

var retryable = retry.IsErrorRetryables(retry.DefaultRetryables)

// explain returns an error of the SDK's as one of this package's: with its kind,
// the way on, and what KMS said.
func explain(err error) error {
	var denied credentialsError
	if errors.As(err, &denied) {
		return denied
	}
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return explainAnswer(err, answer)
	}
	var unsent *smithyhttp.RequestSendError
	var garbled *smithy.DeserializationError
	if errors.As(err, &unsent) || errors.As(err, &garbled) {
		return fmt.Errorf("%w: KMS could not be reached: %w", keys.ErrUnavailable, err)
	}
	return err
}

func explainAnswer(err error, answer smithy.APIError) error {
	m, ok := meanings[answer.ErrorCode()]
	if !ok {
		status := 0
		var response *smithyhttp.ResponseError
		if errors.As(err, &response) {
			status = response.HTTPStatusCode()
		}
		_, throttled := retry.DefaultThrottleErrorCodes[answer.ErrorCode()]
		switch {
		case throttled || status == http.StatusTooManyRequests:
			m = meaning{keys.ErrUnavailable, fewerCalls, false}
		case status >= 500 || status == http.StatusRequestTimeout || retryable.IsErrorRetryable(err) == aws.TrueTernary:
			m = meaning{keys.ErrUnavailable, inside, false}
		default:
			return err
		}
	}
	request := "unknown"
	var response *awshttp.ResponseError
	if errors.As(err, &response) && response.ServiceRequestID() != "" {
		request = response.ServiceRequestID()
	}
	if m.silent {
		return fmt.Errorf("%w: %s (%s, request %s)", m.kind, m.advice, answer.ErrorCode(), request)
	}
	return fmt.Errorf("%w: %s (%w, request %s)", m.kind, m.advice, answer, request)
}
