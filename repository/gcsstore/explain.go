package gcsstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"github.com/bindery-tuf/bindery/repository"
)

// permission is what a request needs, by its name in IAM.
type permission string

const (
	getObject    permission = "storage.objects.get"
	createObject permission = "storage.objects.create"
	deleteObject permission = "storage.objects.delete"
	listObjects  permission = "storage.objects.list"
	getBucket    permission = "storage.buckets.get"
)

// statusOf returns the status of the answer that an error of the SDK's is about, or 0.
func statusOf(err error) int {
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		return answer.Code
	}
	return 0
}

// noBucket reports whether it is the bucket that is missing. The SDK says that only of some requests.
func noBucket(err error) bool {
	if errors.Is(err, storage.ErrBucketNotExist) {
		return true
	}
	var answer *googleapi.Error
	if !errors.As(err, &answer) {
		return false
	}
	said := answer.Message + answer.Body
	return strings.Contains(said, "bucket does not exist") || strings.Contains(said, "NoSuchBucket")
}

// explain says what to do about an error of the SDK's.
func (s *service) explain(err error, needs permission) error {
	status := statusOf(err)
	var unsent *url.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case noBucket(err):
		return fmt.Errorf("there is no bucket %q: create it, or correct Config.Bucket: %w", s.cfg.Bucket, err)
	case errors.Is(err, storage.ErrObjectNotExist):
		return fmt.Errorf("%w: %w", repository.ErrNotExist, err)
	case status == http.StatusForbidden && needs == createObject:
		// Replacing needs both.
		return fmt.Errorf("not permitted: grant the credentials %s and %s on gs://%s (roles/storage.objectUser); or is the bucket somebody else's? Then correct Config.Bucket: %w", createObject, deleteObject, s.cfg.Bucket, err)
	case status == http.StatusForbidden:
		return fmt.Errorf("not permitted: grant the credentials %s on gs://%s (roles/storage.objectUser); or is the bucket somebody else's? Then correct Config.Bucket: %w", needs, s.cfg.Bucket, err)
	case status == http.StatusUnauthorized:
		return fmt.Errorf("the service takes the credentials for none or expired: renew them: %w", err)
	case status == http.StatusTooManyRequests:
		return fmt.Errorf("the service is throttling (it takes one write a second under the same name): %w", err)
	case status >= 500:
		return fmt.Errorf("the service failed inside: %w", err)
	case errors.As(err, &unsent):
		return fmt.Errorf("the service could not be reached, or the credentials could not be renewed: %w", err)
	}
	return err
}
