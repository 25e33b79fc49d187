package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
	"github.com/bindery-tuf/bindery/repository/s3store"
)

// The bucket's name, and the prefixes of what Bindery writes and of what the limits write.
const (
	bucketName  = "index"
	prefix      = "metadata/"
	limitPrefix = "limit/"
)

// wire makes the requests to the bucket. It can delay them, and record those that succeed.
type wire struct {
	client *http.Client

	mu       sync.Mutex
	delay    time.Duration
	requests *[]request       // nil: not recorded
	visible  chan<- time.Time // is told when timestamp.json was written; nil: is not
}

// request is a GET or PUT of a name, of as many bytes.
type request struct {
	method, name string
	size         int64
}

func newWire() *wire {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 256 // as s3store has it
	return &wire{client: &http.Client{Transport: t}}
}

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	delay := w.delay
	w.mu.Unlock()
	if delay > 0 {
		if err := sleep(r.Context(), delay); err != nil {
			return nil, err
		}
	}
	response, err := w.client.Do(r)
	now := time.Now()
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	name := path.Base(r.URL.Path)
	if w.requests != nil {
		*w.requests = append(*w.requests, request{r.Method, name, max(r.ContentLength, 0)})
	}
	if w.visible != nil && r.Method == http.MethodPut && name == ledger.Timestamp {
		w.visible <- now
	}
	return response, nil
}

// set sets the delay, and what is recorded.
func (w *wire) set(delay time.Duration, requests *[]request, visible chan<- time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay, w.requests, w.visible = delay, requests, visible
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// slow is a signer that waits, as for a KMS.
type slow struct {
	keys.Signer
	delay time.Duration
}

func (s slow) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := sleep(ctx, s.delay); err != nil {
		return nil, err
	}
	return s.Signer.Sign(ctx, message)
}

// shared is a repository with its journal in a database, and its files in a bucket.
type shared struct {
	*benchmark.Site
	e        *env
	database string
	wire     *wire
	store    *s3store.Store
	s3       *s3.Client // with the same wire, for the limits
	limits   int        // how often a limit wrote
}

// storeConfig is how the bucket is reached, with a client or the SDK's own.
func storeConfig(endpoint, prefix string, client aws.HTTPClient) s3store.Config {
	return s3store.Config{
		AWS: aws.Config{
			BaseEndpoint: &endpoint, Region: s3test.Region, HTTPClient: client,
			Credentials: credentials.NewStaticCredentialsProvider(s3test.AccessKey, s3test.SecretKey, ""),
		},
		Bucket: bucketName, PathStyle: true, Prefix: prefix,
	}
}

// startServer starts versitygw, with an empty bucket, if it isn't running.
func (e *env) startServer(ctx context.Context) error {
	if e.server != nil {
		return nil
	}
	s, err := s3test.Start(ctx, e.dir)
	if err != nil {
		return err
	}
	e.server = s
	return s.CreateBucket(ctx, bucketName, true)
}

// shared makes the repository at first.
func (e *env) shared(ctx context.Context) (*shared, error) {
	if e.buckets != nil {
		return e.buckets, nil
	}
	if err := e.startServer(ctx); err != nil {
		return nil, err
	}
	bins, err := keys.GenerateEd25519()
	if err != nil {
		return nil, err
	}
	online, err := keys.GenerateP256()
	if err != nil {
		return nil, err
	}
	s := &shared{e: e, wire: newWire()}
	if s.Site, err = benchmark.NewSite(e.bins, bins, online); err != nil {
		return nil, err
	}
	cfg := storeConfig(e.server.URL, prefix, s.wire)
	if s.store, err = s3store.Open(ctx, cfg); err != nil {
		return nil, err
	}
	s.s3 = s3.NewFromConfig(cfg.AWS, func(o *s3.Options) {
		o.UsePathStyle = true
		o.DisableLogOutputChecksumValidationSkipped = true
	})
	if s.database, err = e.newDatabase(ctx); err != nil {
		return nil, err
	}
	journal, err := e.journal(ctx, s.database)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(e.log, "making a repository of %d bins of %d targets\n", e.bins, e.targets)
	err = s.Fill(ctx, benchmark.Filling{
		Store: s.store, Journal: journal, Targets: e.targets,
		Write: func(ctx context.Context, n int, name func(i int) string, content []byte) error {
			return all(ctx, workers, n, func(ctx context.Context, i int) error { return s.store.Create(ctx, name(i), content) })
		},
	})
	if err = errors.Join(err, journal.Close()); err != nil {
		return nil, err
	}
	e.buckets = s
	return s, nil
}

// workers is how many requests the engine makes at a time.
const workers = 32

// all calls f n times, at most limit at a time.
func all(ctx context.Context, limit, n int, f func(ctx context.Context, i int) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for i := range n {
		g.Go(func() error { return f(ctx, i) })
	}
	return g.Wait()
}

// open opens the repository.
func (s *shared) open(ctx context.Context, change func(*repository.Config)) (*repository.Repository, *pgjournal.Journal, error) {
	journal, err := s.e.journal(ctx, s.database)
	if err != nil {
		return nil, nil, err
	}
	cfg := s.Config(s.store, journal)
	cfg.Workers = workers
	change(&cfg)
	r, err := repository.Open(ctx, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, journal.Close())
	}
	return r, journal, nil
}

// get reads a published file.
func (s *shared) get(ctx context.Context, r request) error {
	key := prefix + r.name
	out, err := s.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucketName), Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	_, err = io.Copy(io.Discard, out.Body)
	return err
}

// put writes a file of the same size under a new name.
func (s *shared) put(ctx context.Context, folder int, r request) error {
	key := fmt.Sprintf("%s%d/%s", limitPrefix, folder, r.name)
	data := make([]byte, r.size)
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
	_, err := s.s3.PutObject(ctx, &s3.PutObjectInput{
		Bucket: aws.String(bucketName), Key: &key, Body: bytes.NewReader(data), ContentLength: &r.size, IfNoneMatch: aws.String("*"),
		ContentType: aws.String(repository.MediaType), ChecksumCRC32C: aws.String(base64.StdEncoding.EncodeToString(sum)),
	})
	return err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// split separates GETs from PUTs.
func split(requests []request) (gets, puts []request) {
	for _, r := range requests {
		if r.method == http.MethodGet {
			gets = append(gets, r)
		} else {
			puts = append(puts, r)
		}
	}
	return gets, puts
}

// published returns an error if not all items were published in one generation.
func published(ctx context.Context, j *pgjournal.Journal, ids []string) error {
	for seen := int64(0); ; {
		moment, err := j.Decided(ctx, seen)
		if err != nil {
			return err
		}
		seen = moment
		outcomes, err := j.Outcomes(ctx, ids...)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(outcomes, func(o ledger.Outcome) bool { return o.State == ledger.Accepted }) {
			continue // timestamp.json is there, and its commit isn't recorded yet
		}
		for _, o := range outcomes {
			if o != outcomes[0] || o.State != ledger.Published {
				return fmt.Errorf("not published in one generation: %v and %v", outcomes[0], o)
			}
		}
		return nil
	}
}

// publishSides publish uploads in one generation.
func publishSides(ctx context.Context, e *env) (*sides, error) {
	s, err := e.shared(ctx)
	if err != nil {
		return nil, err
	}
	var last []request
	return &sides{
		bindery: func(ctx context.Context) (time.Duration, error) {
			d, requests, err := s.publish(ctx)
			last = requests
			return d, err
		},
		limit: func(ctx context.Context) (time.Duration, error) {
			s.limits++
			gets, puts := split(last)
			start := time.Now()
			err := all(ctx, workers, len(gets), func(ctx context.Context, i int) error { return s.get(ctx, gets[i]) })
			if err == nil {
				err = all(ctx, workers, len(puts), func(ctx context.Context, i int) error { return s.put(ctx, s.limits, puts[i]) })
			}
			return time.Since(start), err
		},
	}, nil
}

func (s *shared) publish(ctx context.Context) (took time.Duration, requests []request, err error) {
	r, journal, err := s.open(ctx, func(c *repository.Config) { c.MaxBatch = s.e.uploads })
	if err != nil {
		return 0, nil, err
	}
	var running errgroup.Group
	defer func() { err = errors.Join(err, r.Close(), running.Wait()) }()
	entries, err := benchmark.Entries(s.Uploads(s.e.uploads), time.Time{})
	if err != nil {
		return 0, nil, err
	}
	if _, err := journal.Enqueue(ctx, entries...); err != nil {
		return 0, nil, err
	}
	visible := make(chan time.Time, 1)
	s.wire.set(0, &requests, visible)
	defer s.wire.set(0, nil, nil)
	start := time.Now()
	running.Go(func() error { return r.Run(ctx) })
	select {
	case at := <-visible:
		took = at.Sub(start)
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	s.wire.set(0, nil, nil)
	return took, requests, published(ctx, journal, ids(entries))
}

func ids(entries []ledger.Entry) (ids []string) {
	for _, e := range entries {
		ids = append(ids, e.ID)
	}
	return ids
}

// filesOfOne is how many files s3-latency-10 uploads together.
const filesOfOne = 10

// latencySides upload a few files while nothing else happens.
func latencySides(ctx context.Context, e *env) (_ *sides, err error) {
	s, err := e.shared(ctx)
	if err != nil {
		return nil, err
	}
	kms := slow{s.Online, e.delay}
	r, journal, err := s.open(ctx, func(c *repository.Config) { c.Snapshot, c.Timestamp = kms, kms })
	if err != nil {
		return nil, err
	}
	index, err := e.pool(ctx, indexRole, s.database, 1)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	running := make(chan error, 1)
	runs, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() { running <- r.Run(runs) }()
	var last []request
	return &sides{
		bindery: func(ctx context.Context) (time.Duration, error) {
			// Longer than Config.MaxDelay, and at a random time between two looks at the queue.
			if err := sleep(ctx, 1100*time.Millisecond+mathrand.N(50*time.Millisecond)); err != nil {
				return 0, err
			}
			d, requests, err := s.upload(ctx, journal, index, running)
			last = requests
			return d, err
		},
		limit: func(ctx context.Context) (time.Duration, error) { return s.limitUpload(ctx, last, kms) },
		end: func() error {
			s.wire.set(0, nil, nil)
			stop()
			err := <-running
			index.Close()
			return errors.Join(err, r.Close())
		},
	}, nil
}

// upload queues files and waits until clients see them.
func (s *shared) upload(ctx context.Context, journal *pgjournal.Journal, index *pgxpool.Pool, running <-chan error) (took time.Duration, requests []request, err error) {
	entries, err := benchmark.Entries(s.Uploads(filesOfOne), time.Time{})
	if err != nil {
		return 0, nil, err
	}
	visible := make(chan time.Time, 1)
	s.wire.set(s.e.delay, &requests, visible)
	start := time.Now()
	if err := pgx.BeginFunc(ctx, index, func(tx pgx.Tx) error { return pgjournal.Enqueue(ctx, tx, entries...) }); err != nil {
		return 0, nil, err
	}
	select {
	case at := <-visible:
		took = at.Sub(start)
	case err := <-running:
		return 0, nil, fmt.Errorf("the publisher ended: %w", err)
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	s.wire.set(s.e.delay, nil, nil)
	return took, requests, published(ctx, journal, ids(entries))
}

// limitUpload makes the same calls, each as soon as it can.
func (s *shared) limitUpload(ctx context.Context, requests []request, kms keys.Signer) (time.Duration, error) {
	s.limits++
	folder := s.limits
	gets, puts := split(requests)
	var bins []request
	var snapshot, timestamp request
	for _, r := range puts {
		switch {
		case strings.HasSuffix(r.name, ".snapshot.json"):
			snapshot = r
		case r.name == ledger.Timestamp:
			timestamp = r
		default:
			bins = append(bins, r)
		}
	}
	if snapshot.name == "" || timestamp.name == "" || len(bins) == 0 {
		return 0, fmt.Errorf("a generation without bins, snapshot or timestamp: %v", requests)
	}
	content := make([]byte, snapshot.size)
	rand.Read(content)
	start := time.Now()
	err := all(ctx, workers, len(gets), func(ctx context.Context, i int) error { return s.get(ctx, gets[i]) })
	if err != nil {
		return 0, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return all(gctx, workers, len(bins), func(ctx context.Context, i int) error { return s.put(ctx, folder, bins[i]) })
	})
	g.Go(func() error {
		if _, err := kms.Sign(gctx, content); err != nil {
			return err
		}
		g.Go(func() error { return s.put(gctx, folder, snapshot) })
		_, err := kms.Sign(gctx, content[:min(len(content), int(timestamp.size))])
		return err
	})
	if err := g.Wait(); err != nil {
		return 0, err
	}
	err = s.put(ctx, folder, timestamp)
	return time.Since(start), err
}
