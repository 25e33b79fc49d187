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
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bindery-tuf/bindery/repository"
)

// MaxSize is the most that Get reads and Create writes, in bytes. No client reads metadata beyond a
// tenth of it.
const MaxSize = 64 << 20

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
	// it wherever clients read from the bucket. Empty: Open can't know what clients see.
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

// Store is a repository.Store in a bucket. It is safe for concurrent use, also by several processes.
type Store struct {
	cfg  Config
	s3   *s3.Client
	wait retry.BackoffDelayer

	mu sync.Mutex
	// swapped has what this Store put under each name that it swapped: one, or few. With the ETag
	// the next Swap needs no reading.
	swapped map[string]version
}

var _ repository.Store = (*Store)(nil)

// version is what a name holds.
type version struct {
	data []byte
	etag string // as the service gave it
}

// open checks the configuration and makes no request.
func open(cfg Config) (*Store, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 3
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var client aws.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 256 // the engine reads and writes many files at once
	})
	if cfg.AWS.HTTPClient != nil {
		client = cfg.AWS.HTTPClient
	}
	return &Store{
		cfg:     cfg,
		wait:    retry.NewExponentialJitterBackoff(retry.DefaultMaxBackoff),
		swapped: map[string]version{},
		s3: s3.NewFromConfig(cfg.AWS, func(o *s3.Options) {
			o.Credentials = credentials{cfg.AWS.Credentials}
			o.HTTPClient = timed{client, cfg.Timeout}
			o.UsePathStyle = cfg.PathStyle
			o.DisableLogOutputChecksumValidationSkipped = true // other services have none
			o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) { r.MaxAttempts = cfg.Attempts })
		}),
	}, nil
}

func (c Config) check() error {
	switch {
	case c.AWS.Credentials == nil:
		return errors.New("config: AWS has no credentials: aws-sdk-go-v2/config.LoadDefaultConfig finds them")
	case c.AWS.Region == "":
		return errors.New("config: AWS has no Region: set that of the bucket; a service without regions takes us-east-1 or auto")
	case c.Bucket == "":
		return errors.New("config: Bucket is empty: name the bucket that clients read")
	case strings.ContainsAny(c.Bucket, "/: "):
		return fmt.Errorf("config: Bucket is %q: want its name alone; what is in front of the names in it is Prefix", c.Bucket)
	case c.Timeout < 0 || c.Attempts < 0:
		return fmt.Errorf("config: Timeout is %v and Attempts %d: neither may be negative", c.Timeout, c.Attempts)
	case c.PublicURL != "" && (!strings.HasPrefix(c.PublicURL, "http://") && !strings.HasPrefix(c.PublicURL, "https://") || !strings.HasSuffix(c.PublicURL, "/")):
		return fmt.Errorf("config: PublicURL is %q: want what clients put in front of a name, as in https://example.org/metadata/, with the slash", c.PublicURL)
	}
	if c.Prefix == "" {
		return nil
	}
	folders, whole := strings.CutSuffix(c.Prefix, "/")
	if !whole || len(c.Prefix) > 512 {
		return fmt.Errorf("config: Prefix is %q: want at most 512 bytes, with a slash at the end, as in metadata/", c.Prefix)
	}
	for folder := range strings.SplitSeq(folders, "/") {
		if err := checkName(folder); err != nil {
			return fmt.Errorf("config: Prefix is %q: %q is %w", c.Prefix, folder, err)
		}
	}
	return nil
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

// Get implements repository.Store. It costs one GET. It verifies the length, and a CRC if the service
// sends one.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	v, err := s.read(ctx, name)
	if err == nil && v == nil {
		err = repository.ErrNotExist
	}
	if err != nil {
		return nil, s.fail(ctx, "get", name, err)
	}
	return v.data, nil
}

// read returns nil if there is no such name. The SDK repeats a request, but not the reading of its
// answer.
func (s *Store) read(ctx context.Context, name string) (*version, error) {
	if err := check(ctx, name); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		v, err := s.readOnce(ctx, name)
		var cut *cutError
		if !errors.As(err, &cut) || try >= s.cfg.Attempts {
			return v, err
		}
		if err := s.pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

func (s *Store) readOnce(ctx context.Context, name string) (*version, error) {
	out, err := s.s3.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &s.cfg.Bucket, Key: s.key(name), ChecksumMode: types.ChecksumModeEnabled,
	})
	switch {
	case statusOf(err) == http.StatusNotFound && codeOf(err) != noBucket:
		return nil, nil
	case err != nil:
		return nil, s.explain(err, getObject)
	}
	defer out.Body.Close()
	size := aws.ToInt64(out.ContentLength)
	if size > MaxSize {
		return nil, fmt.Errorf("%d bytes are no metadata: the limit is %d", size, MaxSize)
	}
	buffer := bytes.NewBuffer(make([]byte, 0, max(size, 0)+bytes.MinRead))
	n, err := buffer.ReadFrom(io.LimitReader(out.Body, MaxSize+1))
	switch {
	case err != nil:
		return nil, &cutError{fmt.Errorf("after %d of %d bytes: %w", n, size, err)}
	case n > MaxSize:
		return nil, fmt.Errorf("more than %d bytes are no metadata: that is the limit", MaxSize)
	case out.ContentLength != nil && n != size:
		return nil, &cutError{fmt.Errorf("%d bytes of %d arrived", n, size)}
	}
	return &version{data: buffer.Bytes(), etag: aws.ToString(out.ETag)}, nil
}

// cutError is why an answer didn't arrive whole.
type cutError struct{ cause error }

func (e *cutError) Error() string { return e.cause.Error() }
func (e *cutError) Unwrap() error { return e.cause }

// Create implements repository.Store. It costs one PUT, and one GET if the name exists.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	_, err := s.settle(ctx, name, data, func(have *version) (condition, error) {
		if have != nil && !bytes.Equal(have.data, data) {
			return condition{}, repository.ErrConflict
		}
		return ifMissing, nil
	}, &ifMissing)
	return s.fail(ctx, "create", name, err)
}

// Swap implements repository.Store. It costs one PUT if this Store swapped the name before, and else a
// GET and a PUT.
func (s *Store) Swap(ctx context.Context, name string, old, new []byte) error {
	var first *condition
	s.mu.Lock()
	if last, ok := s.swapped[name]; ok && old != nil && bytes.Equal(last.data, old) {
		first = &condition{match: last.etag}
	}
	s.mu.Unlock()
	etag, err := s.settle(ctx, name, new, func(have *version) (condition, error) {
		switch {
		case have == nil && old == nil:
			return ifMissing, nil
		case have == nil:
			return condition{}, fmt.Errorf("%w: there is no such name", repository.ErrConflict)
		case old == nil || !bytes.Equal(have.data, old):
			return condition{}, repository.ErrConflict
		case have.etag == "":
			return condition{}, errors.New("the service sends no ETag, on which a swap could depend: use another service")
		}
		return condition{match: have.etag}, nil
	}, first)
	s.mu.Lock()
	delete(s.swapped, name)
	if err == nil && etag != "" {
		s.swapped[name] = version{bytes.Clone(new), etag}
	}
	s.mu.Unlock()
	return s.fail(ctx, "swap", name, err)
}

// condition is under which a PUT takes place: the name is missing, or has an ETag.
type condition struct{ match string }

var ifMissing = condition{}

// settleAttempts is how often settle writes. Each time somebody else was writing the name.
const settleAttempts = 8

// settle makes name hold data, and returns the ETag that it then has.
//
// A refusal says little. The reply to a PUT may be lost: then the SDK sends it again, and the second
// one is refused because the first was done. A name that somebody deletes meanwhile, or is just
// writing, is refused too (404, 409). So after each refusal settle reads what is there. If that is data,
// settle is done. Otherwise decide says what the next PUT depends on, or why there is none.
//
// The first PUT depends on first. If first is nil, settle reads before it writes.
func (s *Store) settle(ctx context.Context, name string, data []byte, decide func(have *version) (condition, error), first *condition) (etag string, err error) {
	if err := check(ctx, name); err != nil {
		return "", err
	}
	if len(data) > MaxSize {
		return "", fmt.Errorf("%d bytes are no metadata: the limit is %d", len(data), MaxSize)
	}
	var refusal error
	next := first
	for try := 0; ; try++ {
		if next == nil {
			have, err := s.read(ctx, name)
			if err != nil {
				return "", err
			}
			if have != nil && bytes.Equal(have.data, data) {
				return have.etag, nil
			}
			decided, err := decide(have)
			if err != nil {
				return "", err
			}
			next = &decided
		}
		if try > 0 {
			if try == settleAttempts {
				return "", fmt.Errorf("the service refused it %d times, each time without another content that explains that: %w", try, refusal)
			}
			if err := s.pause(ctx, try); err != nil {
				return "", err
			}
		}
		etag, err := s.put(ctx, name, data, *next)
		if err == nil {
			return etag, nil
		}
		if !refused(err) {
			return "", s.explain(err, putObject)
		}
		refusal, next = err, nil
	}
}

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

func (s *Store) put(ctx context.Context, name string, data []byte, c condition) (etag string, err error) {
	in := &s3.PutObjectInput{
		Bucket: &s.cfg.Bucket, Key: s.key(name),
		Body:          bytes.NewReader(data),
		ContentLength: aws.Int64(int64(len(data))),
		ContentType:   aws.String(repository.MediaType),
		CacheControl:  aws.String(s.cfg.Caching.CacheControl(name)),
	}
	if s.cfg.AWS.RequestChecksumCalculation != aws.RequestChecksumCalculationWhenRequired {
		// Computed here: the SDK would send its own behind the content, with a Content-Encoding that
		// some services keep.
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
		in.ChecksumCRC32C = aws.String(base64.StdEncoding.EncodeToString(sum))
	}
	if c == ifMissing {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = aws.String(c.match)
	}
	out, err := s.s3.PutObject(ctx, in)
	if err != nil {
		return "", err
	}
	return aws.ToString(out.ETag), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// List implements repository.Store. It costs one request for each 1,000 names. Names that no Store makes
// are left out, and so is what lies in folders below the prefix.
func (s *Store) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		pages := s3.NewListObjectsV2Paginator(s.s3, &s3.ListObjectsV2Input{
			Bucket: &s.cfg.Bucket, Prefix: &s.cfg.Prefix, Delimiter: aws.String("/"),
		}, func(o *s3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
		for pages.HasMorePages() {
			err := ctx.Err()
			var page *s3.ListObjectsV2Output
			if err == nil {
				page, err = pages.NextPage(ctx)
			}
			if err != nil {
				yield(repository.Info{}, s.fail(ctx, "list", "", s.explain(err, listBucket)))
				return
			}
			for _, object := range page.Contents {
				name, ok := strings.CutPrefix(aws.ToString(object.Key), s.cfg.Prefix)
				if !ok || checkName(name) != nil {
					continue
				}
				if !yield(repository.Info{Name: name, Size: aws.ToInt64(object.Size)}, nil) {
					return
				}
			}
		}
	}
}

// Delete implements repository.Store. It costs one DELETE. In a bucket that keeps versions it hides the
// name and frees nothing: Open warns of such a bucket.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := check(ctx, name)
	if err == nil {
		_, err = s.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.cfg.Bucket, Key: s.key(name)})
		if statusOf(err) == http.StatusNotFound && codeOf(err) != noBucket {
			err = nil
		}
		err = s.explain(err, deleteObject)
	}
	return s.fail(ctx, "delete", name, err)
}

// pause waits before another try.
func (s *Store) pause(ctx context.Context, try int) error {
	d, err := s.wait.BackoffDelay(try-1, nil)
	if err != nil {
		return err
	}
	timer := time.NewTimer(d/10 + rand.N(time.Millisecond)) // a refusal needs less patience than an outage
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (s *Store) key(name string) *string { return aws.String(s.cfg.Prefix + name) }

// String is the place, as in "s3://bucket/metadata/".
func (s *Store) String() string { return "s3://" + s.cfg.Bucket + "/" + s.cfg.Prefix }

// fail wraps the error of a call, and returns nil for nil.
func (s *Store) fail(ctx context.Context, call, name string, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w: %w", ended, err)
	}
	if name == "" {
		return fmt.Errorf("%s %s: %w", call, s, err)
	}
	return fmt.Errorf("%s %q in %s: %w", call, name, s, err)
}

func check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return fmt.Errorf("name: %w", err)
	}
	return nil
}

// checkName accepts only plain file names of [A-Za-z0-9_.-] without a leading dot. Clients, caches and
// file systems agree on these.
func checkName(name string) error {
	if name == "" || name[0] == '.' || len(name) > 255 {
		return errors.New("not 1 to 255 bytes without a leading dot")
	}
	for i := range len(name) {
		c := name[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '.', c == '-':
		default:
			return fmt.Errorf("byte %d is %q: want letters, digits, and _ . -", i, c)
		}
	}
	return nil
}
