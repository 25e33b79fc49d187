package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/repository/pgjournal"
)

// jobs are all lines of the table.
func jobs() []job {
	return []job{
		{name: "pg-add-64", within: 1.5, runs: 9, begin: addSides},
		{name: "pg-claim-10000", within: 2, runs: 9, begin: claimSides(false)},
		{name: "pg-claim-10000-report", within: 3, runs: 9, begin: claimSides(true)},
		{name: "s3-publish-1000", within: 1.3, runs: 7, begin: publishSides},
		{name: "s3-latency-10", within: 2, runs: 15, begin: latencySides},
		{name: "fail-over", within: 2, runs: 3, cold: true, begin: failoverSides},
	}
}

// scale is how large the jobs are.
type scale struct {
	adds    int // transactions of one measurement of pg-add-64
	claimed int
	dead    int // rows of each table, during the report
	updates int // of the fence, during the report
	bins    int
	targets int // in each bin
	uploads int // of s3-publish-1000
	delay   time.Duration
	lease   time.Duration
}

var full = scale{
	adds: 12_800, claimed: 10_000, dead: 1_000_000, updates: 10_000, bins: 16_384, targets: 140, uploads: 1000,
	delay: 50 * time.Millisecond, lease: pgjournal.DefaultLease,
}

// job is one line of the table.
type job struct {
	name   string
	within float64 // at most how many times the limit Bindery may take
	runs   int     // measurements of each side
	cold   bool    // the first measurement counts too
	begin  func(ctx context.Context, e *env) (*sides, error)
}

// sides are the sides of one job. end is called once all is measured; it may be nil.
type sides struct {
	bindery, limit benchmark.Side
	end            func() error
}

// result holds medians in nanoseconds.
type result struct{ bindery, limit int64 }

// env is shared by the jobs.
type env struct {
	scale
	dir      string
	log      io.Writer
	cluster  *pgtest.Cluster // nil until a job needs it
	server   *s3test.Server  // nil until a job needs it
	database int             // number of the last one
	buckets  *shared         // nil until a job needs it
}

func newEnv(ctx context.Context, s scale, log io.Writer) (*env, error) {
	dir, err := os.MkdirTemp("", "bindery-sharedbench-")
	return &env{scale: s, dir: dir, log: log}, err
}

// close stops all servers and removes what they wrote.
func (e *env) close() error {
	var err error
	if e.cluster != nil {
		err = e.cluster.Close()
	}
	if e.server != nil {
		e.server.Close()
	}
	return errors.Join(err, os.RemoveAll(e.dir))
}

// measure runs both sides once without timing them, so that connections and caches are warm, and then in turns.
func (e *env) measure(ctx context.Context, j job, runs int) (r result, err error) {
	s, err := j.begin(ctx, e)
	if err != nil {
		return r, fmt.Errorf("prepare: %w", err)
	}
	if s.end != nil {
		defer func() { err = errors.Join(err, s.end()) }()
	}
	if runs == 0 {
		runs = j.runs
	}
	turns := []benchmark.Named{{Name: "bindery", Side: s.bindery}, {Name: "limit", Side: s.limit}}
	if !j.cold {
		if _, err := benchmark.Turns(ctx, 1, turns...); err != nil {
			return r, fmt.Errorf("first: %w", err)
		}
	}
	medians, err := benchmark.Turns(ctx, runs, turns...)
	if err != nil {
		return r, err
	}
	return result{medians[0], medians[1]}, nil
}

// discard is the log of what is measured.
var discard = slog.New(slog.DiscardHandler)
