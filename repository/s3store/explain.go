package s3store

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// permission is what a request needs, by its name in a policy.
type permission string

const (
	getObject    permission = "s3:GetObject"
	putObject    permission = "s3:PutObject"
	deleteObject permission = "s3:DeleteObject"
	listBucket   permission = "s3:ListBucket"

	// On the bucket, at Open only.
	getVersioning permission = "s3:GetBucketVersioning"
	getLock       permission = "s3:GetBucketObjectLockConfiguration"
)

const noBucket = "NoSuchBucket"

// statusOf returns the status of the answer that an error of the SDK's is about, or 0.
func statusOf(err error) int {
	var answer *smithyhttp.ResponseError
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}

// codeOf returns the code that S3 gave an error, or "".
func codeOf(err error) string {
	var answer smithy.APIError
	if errors.As(err, &answer) {
		return answer.ErrorCode()
	}
	return ""
}

// explain says what to do about an error of the SDK's.
func (s *service) explain(err error, needs permission) error {
	var denied credentialsError
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &denied):
		return denied
	}
	var unsent *smithyhttp.RequestSendError
	var answer *smithyhttp.ResponseError
	var garbled *smithy.DeserializationError
	switch {
	case errors.As(err, &garbled) && statusOf(err) < 300:
		return fmt.Errorf("the answer isn't one of S3's: is the endpoint right? %w", err)
	case errors.As(err, &unsent):
		return fmt.Errorf("the service could not be reached; is it up, and is the endpoint right? %w", err)
	case !errors.As(err, &answer):
		return err
	}
	status, code := answer.HTTPStatusCode(), codeOf(err)
	if advice, silent := s.advice(answer, status, code, needs); silent {
		// S3 explains a wrong signature with the text that had to be signed, session token included.
		return fmt.Errorf("%s (%s, request %s)", advice, code, requestOf(err))
	} else if advice != "" {
		return fmt.Errorf("%s: %w", advice, err)
	}
	return err
}

func requestOf(err error) string {
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.ServiceRequestID() != "" {
		return answer.ServiceRequestID()
	}
	return "unknown"
}

// advice is what to do next. Silent errors are not quoted.
func (s *service) advice(answer *smithyhttp.ResponseError, status int, code string, needs permission) (advice string, silent bool) {
	region := ""
	if answer.Response != nil {
		region = answer.Response.Header.Get("X-Amz-Bucket-Region")
	}
	switch code {
	case noBucket:
		return fmt.Sprintf("there is no bucket %q: create it, or correct Config.Bucket", s.cfg.Bucket), false
	case "InvalidBucketName":
		return fmt.Sprintf("%q can't be a bucket's name: correct Config.Bucket", s.cfg.Bucket), false
	case "SignatureDoesNotMatch":
		return "the service takes the signature of requests for wrong: are secret key, region and endpoint right?", true
	case "InvalidAccessKeyId":
		return "the service doesn't know the access key: are the credentials of this service, and still valid?", false
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken":
		return "the credentials have expired: renew them", false
	case "RequestTimeTooSkewed", "RequestExpired":
		return "this machine's clock and the service's differ: set the clock", false
	case "QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "NoSpaceLeftOnDevice", "StorageQuotaExceeded":
		return "the bucket or the service is full: delete something, or have the quota raised", false
	case "SlowDown", "ServiceUnavailable", "Throttling", "RequestLimitExceeded", "TooManyRequests":
		return "the service is throttling", false
	}
	switch {
	case status == http.StatusMovedPermanently || status == http.StatusTemporaryRedirect ||
		status == http.StatusBadRequest && region != "" && region != s.cfg.AWS.Region || code == "AuthorizationHeaderMalformed" || code == "IllegalLocationConstraintException":
		if region == "" || region == s.cfg.AWS.Region {
			return fmt.Sprintf("bucket %q is not in region %q, or not at this endpoint: correct Config.AWS.Region or BaseEndpoint", s.cfg.Bucket, s.cfg.AWS.Region), false
		}
		return fmt.Sprintf("bucket %q is in region %q, and Config.AWS.Region is %q: correct that", s.cfg.Bucket, region, s.cfg.AWS.Region), false
	case status == http.StatusForbidden && needs == getObject:
		// S3 says so of a missing name to those who may not list.
		return fmt.Sprintf("not permitted, or the name is missing and that may not be known: grant the credentials %s on %s and %s on %s; or is the bucket somebody else's? Then correct Config.Bucket",
			listBucket, s.resource(listBucket), getObject, s.resource(getObject)), false
	case status == http.StatusForbidden:
		return fmt.Sprintf("not permitted: grant the credentials %s on %s; or is the bucket somebody else's? Then correct Config.Bucket", needs, s.resource(needs)), false
	case (status == http.StatusNotImplemented || status == http.StatusBadRequest) && needs == putObject && s.sendsCRC():
		return "the service refuses a PUT with a condition and a CRC-32C; if it knows conditions and only the CRC is unknown, set Config.AWS.RequestChecksumCalculation to " +
			"aws.RequestChecksumCalculationWhenRequired, and else use another service", false
	case status == http.StatusNotImplemented:
		return "the service doesn't know this kind of request", false
	case status == http.StatusInsufficientStorage:
		return "the service is full: delete something, or have the quota raised", false
	case status == http.StatusTooManyRequests:
		return "the service is throttling", false
	case status >= 500:
		return "the service failed inside", false
	}
	return "", false
}

// resource is what a permission is about, as policies write it.
func (s *service) resource(needs permission) string {
	if needs == listBucket || needs == getVersioning || needs == getLock {
		return "arn:aws:s3:::" + s.cfg.Bucket
	}
	return "arn:aws:s3:::" + s.cfg.Bucket + "/" + s.cfg.Prefix + "*"
}

// credentials tells a failure to get credentials from one of S3: the SDK's errors don't.
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
	if codeOf(e.cause) == "SignatureDoesNotMatch" { // STS, too, may quote what had to be signed
		cause = codeOf(e.cause)
	}
	return "there are no AWS credentials, or they could not be renewed: " + cause
}

func (e credentialsError) Unwrap() error { return e.cause }
