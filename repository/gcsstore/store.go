package gcsstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/googleapis/gax-go/v2"
	"google.golang.org/api/iterator"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/bucket"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// Config says which bucket is used, and how.
type Config struct {
	// Client makes the requests: storage.NewClient finds credentials in the environment, and takes
	// an HTTP client as an option. Its own retries are not used. Required.
	Client *storage.Client

	// Bucket is the bucket's name. It must exist.
	Bucket string

	// Prefix is put in front of each name, and ends with a slash, as in "metadata/". A bucket can
	// so hold several things. Empty: names are at the bucket's top.
	Prefix string

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
	// reached. The wait in between is up to 1 second, doubles each time, and is partly random. Zero: 3.
	Attempts int

	// Logger receives the warnings of Open. Nil: nothing is logged.
	Logger *slog.Logger
}

// Store is a repository.Store in a bucket. It is safe for concurrent use, also by several processes. A Get
// costs one request, and two for a timestamp.json that caches may serve. A Create or a Delete costs one, and a
// List one for each 1,000 names. A Swap costs one if this Store swapped the name before, and else two or
// three.
type Store struct{ *bucket.Store }

var _ repository.Store = (*Store)(nil)

// MinInterval is the least time between two generations: the service takes one write a second under the same
// name, and more only for a moment.
func (*Store) MinInterval() time.Duration { return time.Second }

// Open opens a bucket, which must exist, after trying it: see bucket.Open. It refuses, too, a bucket whose
// retention policy or default event-based hold keeps timestamp.json from being replaced, and one in which these
// credentials lack a permission, and names that.
//
// Open logs a warning if Config.PublicURL is empty, because it can't know then what clients see. It logs one, too, if
// the bucket keeps old versions, deleted objects (soft delete, which new buckets
// have), or objects that somebody locks (object retention), because deleting frees no space at once there. To know it
// needs storage.buckets.get: without that it logs a warning that it can't ask.
//
// Open costs 11 small requests, and 2 at PublicURL. It writes the same name twice, so it may take some
// seconds.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s, err := newService(cfg)
	if err != nil {
		return nil, fmt.Errorf("gcsstore: %w", err)
	}
	if err := s.namesWhatStays(ctx); err != nil {
		return nil, fmt.Errorf("gcsstore: open %s: %w", s.place(), err)
	}
	store, err := bucket.Open(ctx, s, s.common())
	if err != nil {
		return nil, fmt.Errorf("gcsstore: %w", err)
	}
	return &Store{store}, nil
}

// service makes the requests.
type service struct {
	cfg    Config
	bucket *storage.BucketHandle
}

func (s *service) place() string { return "gs://" + s.cfg.Bucket + "/" + s.cfg.Prefix }

// common is what stores of all services are told.
func (s *service) common() bucket.Config {
	return bucket.Config{
		Place: "gs://" + s.cfg.Bucket + "/", Prefix: s.cfg.Prefix,
		PublicURL: s.cfg.PublicURL, Caching: s.cfg.Caching, Timeout: s.cfg.Timeout, Attempts: s.cfg.Attempts, Logger: s.cfg.Logger,
		ClientsNeed: fmt.Sprintf("%s and %s on gs://%s (roles/storage.objectViewer for allUsers; legacyObjectReader may not list)", getObject, listObjects, s.cfg.Bucket),
	}
}

// newService checks the configuration and makes no request.
func newService(cfg Config) (*service, error) {
	switch {
	case cfg.Client == nil:
		return nil, errors.New("config: Client is nil: storage.NewClient makes one")
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
	// Its own retries know no limit of time for one request.
	return &service{cfg, cfg.Client.Bucket(cfg.Bucket).Retryer(storage.WithPolicy(storage.RetryNever))}, nil
}

// attempt makes a request, again if that may help.
func (s *service) attempt(ctx context.Context, needs permission, request func(ctx context.Context) error) error {
	pauses := gax.Backoff{Initial: time.Second, Max: 30 * time.Second, Multiplier: 2}
	for try := 1; ; try++ {
		err := s.once(ctx, request)
		if err == nil || ctx.Err() != nil || try == s.cfg.Attempts || !storage.ShouldRetry(err) {
			return s.explain(err, needs)
		}
		if err := gax.Sleep(ctx, pauses.Pause()); err != nil {
			return err
		}
	}
}

func (s *service) once(ctx context.Context, request func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	err := request(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return &timeoutError{s.cfg.Timeout, err}
	}
	return err
}

// timeoutError is not the context's error, because it isn't the caller's context that ended.
type timeoutError struct {
	timeout time.Duration
	cause   error
}

func (e *timeoutError) Error() string {
	return fmt.Sprintf("no answer within %v (Config.Timeout): %v", e.timeout, e.cause)
}

// Temporary is for storage.ShouldRetry.
func (e *timeoutError) Temporary() bool { return true }

// Read verifies the length and the CRC-32C.
func (s *service) Read(ctx context.Context, key string) (v bucket.Version, err error) {
	err = s.attempt(ctx, getObject, func(ctx context.Context) (err error) {
		object := s.bucket.Object(key)
		if path.Base(key) == ledger.Timestamp && s.cfg.Caching != (repository.Caching{}) {
			v, err = readNewest(ctx, object)
		} else {
			v, err = read(ctx, object)
		}
		return err
	})
	return v, err
}

// readNewest asks for the object's attributes first. The service has caches of its own for what everybody may
// read, and they honor its Cache-Control. They have no attributes, and answer for each generation alone.
func readNewest(ctx context.Context, object *storage.ObjectHandle) (v bucket.Version, err error) {
	for {
		attrs, err := object.Attrs(ctx)
		if err != nil {
			return v, err
		}
		v, err = read(ctx, object.Generation(attrs.Generation))
		if !errors.Is(err, storage.ErrObjectNotExist) { // it was replaced meanwhile
			return v, err
		}
	}
}

func read(ctx context.Context, object *storage.ObjectHandle) (v bucket.Version, err error) {
	r, err := object.NewReader(ctx)
	if err != nil {
		return v, err
	}
	defer r.Close()
	if r.Attrs.Size > bucket.MaxSize {
		return v, fmt.Errorf("%d bytes are no metadata: the limit is %d", r.Attrs.Size, bucket.MaxSize)
	}
	buffer := bytes.NewBuffer(make([]byte, 0, max(r.Attrs.Size, 0)+bytes.MinRead))
	n, err := buffer.ReadFrom(io.LimitReader(r, bucket.MaxSize+1))
	switch {
	case err != nil:
		return v, fmt.Errorf("after %d of %d bytes: %w", n, r.Attrs.Size, err)
	case n > bucket.MaxSize:
		return v, fmt.Errorf("more than %d bytes are no metadata: that is the limit", bucket.MaxSize)
	case n != r.Attrs.Size:
		return v, fmt.Errorf("%d bytes of %d arrived: %w", n, r.Attrs.Size, io.ErrUnexpectedEOF)
	}
	return bucket.Version{Data: buffer.Bytes(), Tag: tagOf(r.Attrs.Generation)}, nil
}

// tagOf returns "" for a generation that the service didn't tell.
func tagOf(generation int64) string {
	if generation == 0 {
		return ""
	}
	return strconv.FormatInt(generation, 10)
}

func (s *service) Write(ctx context.Context, key string, data []byte, cacheControl string, c bucket.Condition) (tag string, err error) {
	conditions := storage.Conditions{DoesNotExist: true}
	if c != bucket.Missing {
		generation, err := strconv.ParseInt(c.Tag, 10, 64)
		if err != nil {
			return "", fmt.Errorf("generation: %w", err)
		}
		conditions = storage.Conditions{GenerationMatch: generation}
	}
	err = s.attempt(ctx, createObject, func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // without it, a Writer that failed might still store what it has
		w := s.bucket.Object(key).If(conditions).NewWriter(ctx)
		w.ChunkSize = 0 // one request
		w.ContentType, w.CacheControl = repository.MediaType, cacheControl
		w.CRC32C, w.SendCRC32C = crc32.Checksum(data, castagnoli), true
		if _, err := w.Write(data); err != nil {
			cancel()
			// The Writer's end is the request's: nothing may be under way once Write has returned.
			return errors.Join(err, w.Close())
		}
		if err := w.Close(); err != nil {
			return err
		}
		tag = tagOf(w.Attrs().Generation)
		return nil
	})
	switch status := statusOf(err); {
	case status == http.StatusPreconditionFailed, status == http.StatusConflict,
		status == http.StatusNotFound && c != bucket.Missing && !noBucket(err):
		return "", fmt.Errorf("%w: %w", bucket.ErrRefused, err)
	}
	return tag, err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// List costs one request for each 1,000 names.
func (s *service) List(ctx context.Context, prefix string) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		query := &storage.Query{Prefix: prefix, Delimiter: "/", Projection: storage.ProjectionNoACL}
		err := query.SetAttrSelection([]string{"Name", "Size"})
		for token := ""; err == nil; {
			var page []*storage.ObjectAttrs
			var next string
			err = s.attempt(ctx, listObjects, func(ctx context.Context) (err error) {
				page = nil
				next, err = iterator.NewPager(s.bucket.Objects(ctx, query), 1000, token).NextPage(&page)
				return err
			})
			if err != nil {
				break
			}
			for _, attrs := range page {
				if attrs.Name == "" { // a folder
					continue
				}
				if !yield(repository.Info{Name: attrs.Name, Size: attrs.Size}, nil) {
					return
				}
			}
			if token = next; token == "" {
				return
			}
		}
		yield(repository.Info{}, err)
	}
}

func (s *service) Delete(ctx context.Context, key string) error {
	err := s.attempt(ctx, deleteObject, s.bucket.Object(key).Delete)
	if errors.Is(err, repository.ErrNotExist) {
		return nil
	}
	return err
}

// namesWhatStays warns if deleting frees nothing at once, and if that may not be asked.
func (s *service) namesWhatStays(ctx context.Context) error {
	var attrs *storage.BucketAttrs
	err := s.attempt(ctx, getBucket, func(ctx context.Context) (err error) {
		attrs, err = s.bucket.Attrs(ctx)
		return err
	})
	switch {
	case statusOf(err) == http.StatusForbidden:
		s.cfg.Logger.WarnContext(ctx, fmt.Sprintf("it could not be asked whether the bucket keeps old versions or locks objects, where deleting frees no space: grant the credentials %s on gs://%s (roles/storage.legacyBucketReader), or make sure that it doesn't", getBucket, s.cfg.Bucket),
			"bucket", s.place())
		return nil
	case err != nil:
		return err
	}
	if attrs.DefaultEventBasedHold {
		return errors.New("the bucket's default event-based hold keeps each new object from being replaced, and timestamp.json with them: turn it off and release the holds that there are, or use another bucket")
	}
	if attrs.RetentionPolicy != nil && attrs.RetentionPolicy.RetentionPeriod > 0 {
		return fmt.Errorf("the bucket's retention policy keeps each object from being replaced for %v, and timestamp.json with them: remove the policy, or use another bucket", attrs.RetentionPolicy.RetentionPeriod)
	}
	if attrs.ObjectRetentionMode == "Enabled" {
		s.cfg.Logger.WarnContext(ctx, "the bucket can lock objects, so deleting frees no space before their retention ends, if somebody sets one: use a bucket without object retention",
			"bucket", s.place())
	}
	if attrs.VersioningEnabled {
		s.cfg.Logger.WarnContext(ctx, "the bucket keeps old versions, so deleting frees no space: have a lifecycle rule delete noncurrent versions, or turn versioning off",
			"bucket", s.place())
	}
	if p := attrs.SoftDeletePolicy; p != nil && p.RetentionDuration > 0 {
		s.cfg.Logger.WarnContext(ctx, "the bucket keeps deleted objects for a while, so deleting frees no space before: set its soft delete policy to 0 if you don't want to pay for that",
			"bucket", s.place(), "kept", p.RetentionDuration)
	}
	return nil
}
