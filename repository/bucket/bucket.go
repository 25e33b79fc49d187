// Package bucket is what stores in object storage have in common: it makes a repository.Store of a service
// that can write under a condition. Users take repository/s3store or repository/gcsstore. For
// another service, implement Service:
//
//	store, err := bucket.Open(ctx, service, bucket.Config{
//		Place:     "azure://example/index/",
//		Prefix:    "metadata/",
//		PublicURL: "https://cdn.example.org/metadata/", // where clients read
//	})
//
// # Refusals
//
// A refusal says little. The reply to a write may be lost: then its repetition is refused, because the
// first one was done. A name that somebody deletes meanwhile, or is just writing, may be refused too. So
// after each refusal the Store reads what is there, and compares it byte by byte with what it wants.
//
// A write that failed may still be under way, and take place later. Its condition holds then too, so it replaces
// nothing. After a Delete it can bring a name back, with the bytes that it had; nothing refers to that
// name, so this costs only space.
//
// # Durability
//
// A service answers a write once it is durable, and shows nothing before. So what can be read is durable, and
// a Create of bytes that exist already is done.
package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/repository"
)

// MaxSize is the most that Get reads and Create writes, in bytes. No client reads metadata beyond a
// tenth of it.
const MaxSize = 64 << 20

// Service makes requests about the objects of one bucket. It repeats a request while the service is throttling,
// down or out of reach, for a limited time. It is safe for concurrent use. Its errors say what to do.
type Service interface {
	// Read returns what key holds, whole and verified, or an error that wraps repository.ErrNotExist. It refuses
	// more than MaxSize bytes.
	Read(ctx context.Context, key string) (Version, error)

	// Write makes key hold data, durably, under a condition, and returns the new Tag. Readers without
	// credentials get the data with the Content-Type repository.MediaType, the Cache-Control given,
	// and no Content-Encoding. If the service refused because the condition isn't met, or because somebody else
	// is writing key, the error wraps ErrRefused. After an error, the data may have been written.
	Write(ctx context.Context, key string, data []byte, cacheControl string, c Condition) (tag string, err error)

	// List yields the keys that begin with prefix and have no slash behind it, in any order, as the Name of an
	// Info. Others may be among them.
	List(ctx context.Context, prefix string) iter.Seq2[repository.Info, error]

	// Delete durably removes key. A key that doesn't exist is no error.
	Delete(ctx context.Context, key string) error
}

// Version is what a key holds.
type Version struct {
	Data []byte
	// Tag differs if Data differs: an ETag of S3, a generation of Google Cloud Storage. No key has the
	// Tag "1", on which Open has a write depend.
	Tag string
}

// Condition is what a Write depends on: that the key's Tag is this one, or that there is no such key.
type Condition struct{ Tag string }

// Missing is the Condition that there is no such key.
var Missing = Condition{}

// ErrRefused is wrapped by Service.Write if its condition isn't met.
var ErrRefused = errors.New("refused: another content is there, or somebody else is writing it")

// Config is what the stores of all services are told.
type Config struct {
	// Place is the bucket, as errors name it, with a slash at the end: "s3://example-index/". Required.
	Place string

	// Prefix is put in front of each name, and ends with a slash, as in "metadata/". A bucket can
	// so hold several things. Empty: names are at the bucket's top.
	Prefix string

	// PublicURL is where clients read: the URL in front of a name, with a slash at its end, such as
	// "https://cdn.example.org/metadata/". Open then asks there for a name as a client would. Set
	// it wherever clients read from the bucket. Empty: Open can't know what clients see, and logs a
	// warning. A missing name may be 403 for them then, on which go-tuf fails.
	PublicURL string

	// ClientsNeed completes "grant everybody …", for an error about PublicURL.
	ClientsNeed string

	// Caching is for how long caches may serve timestamp.json. Give repository.Config the same value.
	Caching repository.Caching

	// Timeout is how long a request to PublicURL may take. Zero: 30 seconds.
	Timeout time.Duration

	// Attempts is how often a request to PublicURL is made in all. Zero: 3.
	Attempts int

	// Logger receives the warnings of Open. Nil: nothing is logged.
	Logger *slog.Logger
}

// WithDefaults returns a complete copy, or what is wrong with the configuration. Open calls it.
func (c Config) WithDefaults() (Config, error) {
	if err := c.check(); err != nil {
		return c, err
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Attempts == 0 {
		c.Attempts = 3
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func (c Config) check() error {
	switch {
	case !strings.HasSuffix(c.Place, "/"):
		return fmt.Errorf("config: Place is %q: want the bucket, with a slash at the end", c.Place)
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

// Store is a repository.Store in a bucket. It is safe for concurrent use, also by several processes.
type Store struct {
	cfg     Config
	service Service

	mu sync.Mutex
	// swapped has what this Store put under each name that it swapped: one, or few. Its Tag spares the
	// next Swap a request.
	swapped map[string]Version
}

var _ repository.Store = (*Store)(nil)

func newStore(service Service, cfg Config) (*Store, error) {
	cfg, err := cfg.WithDefaults()
	if err != nil {
		return nil, err
	}
	return &Store{cfg: cfg, service: service, swapped: map[string]Version{}}, nil
}

// Get implements repository.Store. It costs one request.
func (s *Store) Get(ctx context.Context, name string) ([]byte, error) {
	err := check(ctx, name)
	var v Version
	if err == nil {
		v, err = s.service.Read(ctx, s.key(name))
	}
	if err != nil {
		return nil, s.fail(ctx, "get", name, err)
	}
	return v.Data, nil
}

// Create implements repository.Store. It costs one request, and two if the name exists.
func (s *Store) Create(ctx context.Context, name string, data []byte) error {
	_, err := s.settle(ctx, name, data, &Missing, func(have *Version) (Condition, error) {
		if have != nil {
			return Condition{}, repository.ErrConflict
		}
		return Missing, nil
	})
	return s.fail(ctx, "create", name, err)
}

// Swap implements repository.Store. It costs one request if this Store swapped the name before, and else
// two.
func (s *Store) Swap(ctx context.Context, name string, old, new []byte) error {
	var first *Condition
	s.mu.Lock()
	if last, ok := s.swapped[name]; ok && old != nil && bytes.Equal(last.Data, old) {
		first = &Condition{last.Tag}
	}
	s.mu.Unlock()
	tag, err := s.settle(ctx, name, new, first, func(have *Version) (Condition, error) {
		switch {
		case have == nil && old == nil:
			return Missing, nil
		case have == nil:
			return Condition{}, fmt.Errorf("%w: there is no such name", repository.ErrConflict)
		case old == nil || !bytes.Equal(have.Data, old):
			return Condition{}, repository.ErrConflict
		case have.Tag == "":
			return Condition{}, errors.New("the service sends no ETag or generation, on which a swap could depend: use another service")
		}
		return Condition{have.Tag}, nil
	})
	s.mu.Lock()
	delete(s.swapped, name)
	if err == nil && tag != "" {
		s.swapped[name] = Version{bytes.Clone(new), tag}
	}
	s.mu.Unlock()
	return s.fail(ctx, "swap", name, err)
}

// settleAttempts is how often settle writes. Each time somebody else was writing the name.
const settleAttempts = 8

// settle makes name hold data, and returns the Tag that it then has. The first write depends on first; if that is
// nil, settle reads before it writes. After a refusal it reads too. If name holds data then, settle is
// done. Otherwise decide says what the next write depends on, or why there is none.
func (s *Store) settle(ctx context.Context, name string, data []byte, first *Condition, decide func(have *Version) (Condition, error)) (tag string, err error) {
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
			have, err := s.look(ctx, name)
			if err != nil {
				return "", err
			}
			if have != nil && bytes.Equal(have.Data, data) {
				return have.Tag, nil
			}
			decided, err := decide(have)
			if err != nil {
				return "", err
			}
			next = &decided
		}
		if try == settleAttempts {
			return "", fmt.Errorf("the service refused it %d times, each time without another content that explains that: %w", try, refusal)
		}
		if try > 0 {
			if err := pause(ctx, try); err != nil {
				return "", err
			}
		}
		tag, err := s.write(ctx, name, data, *next)
		if err == nil {
			return tag, nil
		}
		if !errors.Is(err, ErrRefused) {
			return "", err
		}
		refusal, next = err, nil
	}
}

// look returns nil if there is no such name.
func (s *Store) look(ctx context.Context, name string) (*Version, error) {
	v, err := s.service.Read(ctx, s.key(name))
	if errors.Is(err, repository.ErrNotExist) {
		return nil, nil
	}
	return &v, err
}

func (s *Store) write(ctx context.Context, name string, data []byte, c Condition) (tag string, err error) {
	return s.service.Write(ctx, s.key(name), data, s.cfg.Caching.CacheControl(name), c)
}

// List implements repository.Store. Names that no Store makes are left out, and so is what lies in folders
// below the prefix.
func (s *Store) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(repository.Info{}, s.fail(ctx, "list", "", err))
			return
		}
		for info, err := range s.service.List(ctx, s.cfg.Prefix) {
			if err != nil {
				yield(repository.Info{}, s.fail(ctx, "list", "", err))
				return
			}
			name, ok := strings.CutPrefix(info.Name, s.cfg.Prefix)
			if !ok || checkName(name) != nil {
				continue
			}
			if !yield(repository.Info{Name: name, Size: info.Size}, nil) {
				return
			}
		}
	}
}

// Delete implements repository.Store. It costs one request. In a bucket that keeps old versions it hides the
// name and frees nothing.
func (s *Store) Delete(ctx context.Context, name string) error {
	err := check(ctx, name)
	if err == nil {
		err = s.service.Delete(ctx, s.key(name))
	}
	return s.fail(ctx, "delete", name, err)
}

// pause waits before another try: longer each time, partly at random, at most 3 seconds.
func pause(ctx context.Context, try int) error {
	limit := min(20*time.Millisecond<<try, 3*time.Second)
	timer := time.NewTimer(limit/2 + rand.N(limit/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func (s *Store) key(name string) string { return s.cfg.Prefix + name }

// String is the place, as in "s3://example-index/metadata/".
func (s *Store) String() string { return s.cfg.Place + s.cfg.Prefix }

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
