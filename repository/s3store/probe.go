package s3store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Open opens a bucket, which must exist, after trying it. It writes, swaps, reads, lists and deletes one small
// object of its own, 1.bindery-probe-ID.json, whose random ID no other Open has. The bucket is refused
//
//   - if it ignores a condition: two publishers would overwrite each other's files;
//   - if a missing name isn't 404, for these credentials, or for clients at Config.PublicURL. S3
//     says 403 to those who may not list, and most clients stop on anything but 404;
//   - if what is at Config.PublicURL isn't this bucket, or a cache there keeps a 404;
//   - if the credentials lack a permission, which the error names.
//
// Open logs a warning if the bucket keeps old versions or locks objects, because deleting frees no space
// there then. To know it needs s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration. Without
// them it doesn't ask further.
//
// Open costs some 12 small requests, and 2 at PublicURL. If the process is killed meanwhile, the
// small object stays.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("s3store: %w", err)
	}
	if err := s.probe(ctx); err != nil {
		return nil, fmt.Errorf("s3store: open %s: %w", s, err)
	}
	return s, nil
}

func (s *Store) probe(ctx context.Context) (err error) {
	id := strings.ToLower(rand.Text())
	name := "1.bindery-probe-" + id + ".json"
	one, two, other := []byte(`{"probe":1}`), []byte(`{"probe":2}`), []byte(`{"probe":"other"}`)

	have, err := s.read(ctx, name)
	switch {
	case statusOf(err) == http.StatusForbidden && codeOf(err) == "AccessDenied":
		return fmt.Errorf("a missing name is answered with 403, not 404: grant the credentials %s on %s and %s on %s; or is the bucket somebody else's? %w",
			listBucket, s.resource(listBucket), getObject, s.resource(getObject), errors.Unwrap(err))
	case err != nil:
		return err
	case have != nil:
		return fmt.Errorf("there is a name that nobody made, %s: this answers every name with something", name)
	}
	if err := s.clientsMiss(ctx, name); err != nil {
		return err
	}

	defer func() {
		// Also if ctx ended: the object would stay for ever.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Timeout)
		defer cancel()
		if removed := s.Delete(ctx, name); err == nil {
			err = removed
		}
	}()
	missing := condition{match: `"00000000000000000000000000000000"`}
	if err := s.mustRefuse(ctx, name, other, "If-Match for a missing name", missing); err != nil {
		return err
	}
	if err := s.Create(ctx, name, one); err != nil {
		if statusOf(err) == http.StatusNotImplemented || statusOf(err) == http.StatusBadRequest {
			return fmt.Errorf("the service refuses a conditional PUT with a CRC-32C; if it knows conditions and only the CRC is unknown, "+
				"set Config.AWS.RequestChecksumCalculation to aws.RequestChecksumCalculationWhenRequired: %w", err)
		}
		return err
	}
	if err := s.mustRefuse(ctx, name, other, "If-None-Match: *", ifMissing); err != nil {
		return err
	}
	if err := s.mustRefuse(ctx, name, other, "If-Match", missing); err != nil {
		return err
	}
	if err := s.Swap(ctx, name, one, two); err != nil {
		return fmt.Errorf("If-Match with the ETag that the service gave: %w", err)
	}
	if have, err = s.read(ctx, name); err != nil {
		return err
	}
	if have == nil || !bytes.Equal(have.data, two) {
		return fmt.Errorf("%s doesn't hold what was just written: the service isn't consistent", name)
	}
	if err := s.clientsFind(ctx, name, two); err != nil {
		return err
	}
	if _, err := s.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &s.cfg.Bucket, Prefix: &s.cfg.Prefix, MaxKeys: aws.Int32(1)}); err != nil {
		return fmt.Errorf("list: %w", s.explain(err, listBucket))
	}
	s.mu.Lock()
	clear(s.swapped)
	s.mu.Unlock()
	return s.namesWhatStays(ctx)
}

// mustRefuse makes a PUT whose condition isn't met.
func (s *Store) mustRefuse(ctx context.Context, name string, data []byte, header string, c condition) error {
	_, err := s.put(ctx, name, data, c)
	switch {
	case err == nil:
		return fmt.Errorf("the service ignores %s of a PUT: two publishers would overwrite each other's files, so use another service (see the table in s3store's documentation)", header)
	case refused(err):
		return nil
	case statusOf(err) == http.StatusNotImplemented:
		return fmt.Errorf("the service doesn't know %s of a PUT, so use another service: %w", header, err)
	}
	return s.explain(err, putObject)
}

// namesWhatStays warns if deleting frees nothing. What it may not ask, or the service doesn't know, it
// leaves.
func (s *Store) namesWhatStays(ctx context.Context) error {
	versioning, err := s.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.cfg.Bucket})
	if err == nil && versioning.Status == types.BucketVersioningStatusEnabled {
		s.cfg.Logger.WarnContext(ctx, "the bucket keeps old versions, so deleting frees no space: have a lifecycle rule delete noncurrent versions, or suspend versioning",
			"bucket", s.String())
	}
	lock, err := s.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.cfg.Bucket})
	if err == nil && lock.ObjectLockConfiguration != nil && lock.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled {
		s.cfg.Logger.WarnContext(ctx, "the bucket can lock objects, so deleting frees no space before their retention ends: use a bucket without Object Lock",
			"bucket", s.String())
	}
	return ctx.Err()
}

// clientsMiss asks for a missing name as clients do.
func (s *Store) clientsMiss(ctx context.Context, name string) error {
	if s.cfg.PublicURL == "" {
		return nil
	}
	status, _, err := s.asClient(ctx, name)
	switch {
	case err != nil:
		return err
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return fmt.Errorf("clients get %d, not 404, for a missing name at %s, and most stop on anything but 404: grant everybody %s on %s and %s on %s (a bucket's policy, Principal \"*\")",
			status, s.cfg.PublicURL, listBucket, s.resource(listBucket), getObject, s.resource(getObject))
	case status != http.StatusNotFound:
		return fmt.Errorf("clients get %d, not 404, for a missing name at %s: have it answer 404 (see Config.PublicURL)", status, s.cfg.PublicURL)
	}
	return nil
}

// clientsFind asks for a name that clientsMiss asked for before it existed.
func (s *Store) clientsFind(ctx context.Context, name string, data []byte) error {
	if s.cfg.PublicURL == "" {
		return nil
	}
	status, body, err := s.asClient(ctx, name)
	switch {
	case err != nil:
		return err
	case status == http.StatusNotFound:
		return fmt.Errorf("clients at %s don't find a name that was just written: a cache there keeps the 404 that it got before (it must keep none of any metadata), or it isn't this bucket (Config.PublicURL)", s.cfg.PublicURL)
	case status != http.StatusOK:
		return fmt.Errorf("clients get %d at %s for a name that exists: grant everybody %s on %s", status, s.cfg.PublicURL, getObject, s.resource(getObject))
	case !bytes.Equal(body, data):
		return fmt.Errorf("clients at %s get other bytes than the bucket has: is it this bucket (Config.PublicURL)?", s.cfg.PublicURL)
	}
	return nil
}

func (s *Store) asClient(ctx context.Context, name string) (status int, body []byte, err error) {
	client := &http.Client{Timeout: s.cfg.Timeout}
	for try := 1; ; try++ {
		status, body, err = get(ctx, client, s.cfg.PublicURL+name)
		if err == nil && status < 500 || try >= s.cfg.Attempts {
			break
		}
		if err := s.pause(ctx, try); err != nil {
			return 0, nil, err
		}
	}
	if err != nil {
		err = fmt.Errorf("ask as clients do (Config.PublicURL): %w", err)
	}
	return status, body, err
}

func get(ctx context.Context, client *http.Client, url string) (int, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	return response.StatusCode, body, err
}
