package s3store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/bucket"
)

// Config says which bucket is used, and how.
type Config struct {
	// AWS has the credentials, and says how the service is reached. Module aws-sdk-go-v2/config finds both
	// in the environment. Credentials and Region are required. For another service than AWS,
	// BaseEndpoint is its URL. Its Retryer is not used. Its HTTPClient is used if there is one. If
	// RequestChecksumCalculation is aws.RequestChecksumCalculationWhenRequired, no CRC-32C is
	// sent: some services refuse it.
	AWS aws.Config

	// Bucket is the bucket's name. It must exist.
	Bucket string

	// Prefix is put in front of each name, and ends with a slash, as in "metadata/". A bucket can
	// so hold several things. Empty: names are at the bucket's top.
	Prefix string

	// PathStyle has the bucket in the URL's path and not in the host's name. Most services but AWS
	// need it.
	PathStyle bool

	// PublicURL is where clients read: the URL in front of a name, with a slash at its end, such as
	// "https://cdn.example.org/metadata/". Open then asks there for a name as a client would. Set
	// it wherever clients read from the bucket. Empty: Open can't know what clients see, and logs a
	// warning. A missing name may be 403 for them then, on which go-tuf fails.
	PublicURL string

	// Caching is for how long caches may serve timestamp.json. Give repository.Config the same value.
	Caching repository.Caching

	// Timeout is how long one request may take, with its answer. Zero: 30 seconds.
	Timeout time.Duration

	// Attempts is how often a request is made in all, if the service is throttling or down, or can't be
	// reached. The wait in between doubles each time and is partly random, and at most 20
	// seconds. Zero: 3.
	Attempts int

	// Logger receives the warnings of Open. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store is a repository.Store in a bucket. It is safe for concurrent use, also by several processes. A Get
// costs one GET, a Create one PUT, a Delete one DELETE, and a List one request for each 1,000 names. A Swap
// costs one PUT if this Store swapped the name before, and else a GET and a PUT.
type Store struct{ *bucket.Store }

var _ repository.Store = (*Store)(nil)

// Open opens a bucket, which must exist, after trying it: see bucket.Open. It refuses, too, a bucket in
// which these credentials lack a permission, and names that.
//
// Open logs a warning if Config.PublicURL is empty, because it can't know then what clients see. It logs one, too, if
// the bucket keeps old versions or locks objects, because deleting frees no space
// there then. To know it needs s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration: if it can't ask, it logs a
// warning that says so.
//
// Open costs 12 small requests, and 2 at PublicURL.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := newService(cfg)
	if err != nil {
		return nil, fmt.Errorf("s3store: %w", err)
	}
	store, err := bucket.Open(ctx, s, s.common())
	if err == nil {
		err = s.namesWhatStays(ctx, store.String())
	}
	if err != nil {
		return nil, fmt.Errorf("s3store: %w", err)
	}
	return &Store{store}, nil
}

// service makes the requests.
type service struct {
	cfg Config
	s3  *s3.Client
}

// common is what stores of all services are told.
func (s *service) common() bucket.Config {
	return bucket.Config{
		Place: "s3://" + s.cfg.Bucket + "/", Prefix: s.cfg.Prefix,
		PublicURL: s.cfg.PublicURL, Caching: s.cfg.Caching, Timeout: s.cfg.Timeout, Attempts: s.cfg.Attempts, Logger: s.cfg.Logger,
		ClientsNeed: fmt.Sprintf("%s on %s and %s on %s (a bucket's policy, Principal \"*\")", listBucket, s.resource(listBucket), getObject, s.resource(getObject)),
	}
}

// newService checks the configuration and makes no request.
func newService(cfg Config) (*service, error) {
	switch {
	case cfg.AWS.Credentials == nil:
		return nil, errors.New("config: AWS has no credentials: aws-sdk-go-v2/config.LoadDefaultConfig finds them")
	case cfg.AWS.Region == "":
		return nil, errors.New("config: AWS has no Region: set that of the bucket; a service without regions takes us-east-1 or auto")
	case cfg.Bucket == "":
		return nil, errors.New("config: Bucket is empty: name the bucket that clients read")
	case strings.ContainsAny(cfg.Bucket, "/: "):
		return nil, fmt.Errorf("config: Bucket is %q: want its name alone; what is in front of the names in it is Prefix", cfg.Bucket)
	}
	complete, err := (&service{cfg: cfg}).common().WithDefaults()
	if err != nil {
		return nil, err
	}
	cfg.Timeout, cfg.Attempts, cfg.Logger = complete.Timeout, complete.Attempts, complete.Logger
	var client aws.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 256 // the engine reads and writes many files at once
	})
	if cfg.AWS.HTTPClient != nil {
		client = cfg.AWS.HTTPClient
	}
	return &service{cfg, s3.NewFromConfig(cfg.AWS, func(o *s3.Options) {
		o.Credentials = credentials{cfg.AWS.Credentials}
		o.HTTPClient = timed{client, cfg.Timeout}
		o.UsePathStyle = cfg.PathStyle
		o.DisableLogOutputChecksumValidationSkipped = true // other services have none
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts = cfg.Attempts })
	})}, nil
}

// timed limits the time of a request, until its answer is read.
type timed struct {
	client  aws.HTTPClient
	timeout time.Duration
}

func (t timed) Do(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(r.Context(), t.timeout)
	explain := func(err error) error {
		if err != nil && err != io.EOF && ctx.Err() != nil && r.Context().Err() == nil {
			// Not the context's error, because it isn't the caller's context that ended.
			return fmt.Errorf("no answer within %v (Config.Timeout): %v", t.timeout, err)
		}
		return err
	}
	response, err := t.client.Do(r.WithContext(ctx))
	if err != nil {
		defer cancel()
		return response, explain(err)
	}
	response.Body = &timedBody{response.Body, cancel, explain}
	return response, nil
}

type timedBody struct {
	io.ReadCloser
	cancel  context.CancelFunc
	explain func(error) error
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	return n, b.explain(err)
}

func (b *timedBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// Read repeats the reading of an answer, which the SDK doesn't. It verifies the length, and a CRC if the
// service sends one.
func (s *service) Read(ctx context.Context, key string) (bucket.Version, error) {
	for try := 1; ; try++ {
		v, err := s.readOnce(ctx, key)
		var cut *cutError
		if !errors.As(err, &cut) || try >= s.cfg.Attempts {
			return v, err
		}
		select {
		case <-ctx.Done():
			return bucket.Version{}, ctx.Err()
		case <-time.After(time.Duration(try) * rand.N(time.Second)):
		}
	}
}

func (s *service) readOnce(ctx context.Context, key string) (v bucket.Version, err error) {
	out, err := s.s3.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled,
	})
	switch {
	case statusOf(err) == http.StatusNotFound && codeOf(err) != noBucket:
		return v, repository.ErrNotExist
	case err != nil:
		return v, s.explain(err, getObject)
	}
	defer out.Body.Close()
	size := aws.ToInt64(out.ContentLength)
	if size > bucket.MaxSize {
		return v, fmt.Errorf("%d bytes are no metadata: the limit is %d", size, bucket.MaxSize)
	}
	buffer := bytes.NewBuffer(make([]byte, 0, max(size, 0)+bytes.MinRead))
	n, err := buffer.ReadFrom(io.LimitReader(out.Body, bucket.MaxSize+1))
	switch {
	case err != nil:
		return v, &cutError{fmt.Errorf("after %d of %d bytes: %w", n, size, err)}
	case n > bucket.MaxSize:
		return v, fmt.Errorf("more than %d bytes are no metadata: that is the limit", bucket.MaxSize)
	case out.ContentLength != nil && n != size:
		return v, &cutError{fmt.Errorf("%d bytes of %d arrived", n, size)}
	}
	return bucket.Version{Data: buffer.Bytes(), Tag: aws.ToString(out.ETag)}, nil
}

// cutError is why an answer didn't arrive whole.
type cutError struct{ cause error }

func (e *cutError) Error() string { return e.cause.Error() }
func (e *cutError) Unwrap() error { return e.cause }

// refused reports whether a conditional PUT was refused because of its condition.
func refused(err error) bool {
	switch statusOf(err) {
	case http.StatusPreconditionFailed, http.StatusConflict:
		return true
	case http.StatusNotFound: // with If-Match, and there is no such name
		return codeOf(err) != noBucket
	}
	return false
}

func (s *service) Write(ctx context.Context, key string, data []byte, cacheControl string, c bucket.Condition) (etag string, err error) {
	in := &s3.PutObjectInput{
		Bucket: &s.cfg.Bucket, Key: &key,
		Body:          bytes.NewReader(data),
		ContentLength: aws.Int64(int64(len(data))),
		ContentType:   aws.String(repository.MediaType),
		CacheControl:  &cacheControl,
	}
	if s.sendsCRC() {
		// Computed here: the SDK would send its own behind the content, with a Content-Encoding that
		// some services keep.
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
		in.ChecksumCRC32C = aws.String(base64.StdEncoding.EncodeToString(sum))
	}
	switch {
	case c == bucket.Missing:
		in.IfNoneMatch = aws.String("*")
	case strings.Contains(c.Tag, `"`):
		in.IfMatch = &c.Tag
	default:
		in.IfMatch = aws.String(`"` + c.Tag + `"`)
	}
	out, err := s.s3.PutObject(ctx, in)
	if refused(err) {
		return "", fmt.Errorf("%w: %w", bucket.ErrRefused, err)
	}
	if err != nil {
		return "", s.explain(err, putObject)
	}
	return aws.ToString(out.ETag), nil
}

func (s *service) sendsCRC() bool {
	return s.cfg.AWS.RequestChecksumCalculation != aws.RequestChecksumCalculationWhenRequired
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// List costs one request for each 1,000 names.
func (s *service) List(ctx context.Context, prefix string) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.s3, &s3.ListObjectsV2Input{
			Bucket: &s.cfg.Bucket, Prefix: &prefix, Delimiter: aws.String("/"),
		}, func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(repository.Info{}, s.explain(err, listBucket))
				return
			}
			for _, object := range page.Contents {
				if !yield(repository.Info{Name: aws.ToString(object.Key), Size: aws.ToInt64(object.Size)}, nil) {
					return
				}
			}
		}
	}
}

func (s *service) Delete(ctx context.Context, key string) error {
	_, err := s.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: &key})
	if statusOf(err) == http.StatusNotFound && codeOf(err) != noBucket {
		return nil
	}
	return s.explain(err, deleteObject)
}

// namesWhatStays warns if deleting frees nothing, and if that can't be known. A service that doesn't know the question has
// nothing of the kind.
func (s *service) namesWhatStays(ctx context.Context, place string) error {
	var denied []string
	asked := func(err error, needs permission) bool {
		switch status := statusOf(err); {
		case err == nil:
			return true
		case status == http.StatusForbidden:
			denied = append(denied, string(needs))
		case status == 0 || status == http.StatusTooManyRequests || status >= 500 && status != http.StatusNotImplemented:
			s.cfg.Logger.WarnContext(ctx, "whether deleting frees space in the bucket could not be asked: it is asked again at the next start",
				"bucket", place, "err", s.explain(err, needs))
		}
		return false
	}
	versioning, err := s.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.cfg.Bucket})
	if asked(err, getVersioning) && versioning.Status == types.BucketVersioningStatusEnabled {
		s.cfg.Logger.WarnContext(ctx, "the bucket keeps old versions, so deleting frees no space: have a lifecycle rule delete noncurrent versions, or suspend versioning",
			"bucket", place)
	}
	lock, err := s.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.cfg.Bucket})
	if asked(err, getLock) && lock.ObjectLockConfiguration != nil && lock.ObjectLockConfiguration.ObjectLockEnabled == types.ObjectLockEnabledEnabled {
		s.cfg.Logger.WarnContext(ctx, "the bucket can lock objects, so deleting frees no space before their retention ends: use a bucket without Object Lock",
			"bucket", place)
	}
	if len(denied) > 0 {
		s.cfg.Logger.WarnContext(ctx, fmt.Sprintf("it could not be asked whether the bucket keeps old versions or locks objects, where deleting frees no space: grant the credentials %s on %s, or make sure that it doesn't",
			strings.Join(denied, " and "), s.resource(listBucket)), "bucket", place)
	}
	return ctx.Err()
}
