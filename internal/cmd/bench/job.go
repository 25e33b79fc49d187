package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
)

// scale is how large the jobs are.
type scale struct {
	bins    int           // of a repository
	uploads int           // of publish-1000
	changed int           // bins of snapshot-16384 that changed
	adds    int           // of one measurement of add-64
	small   time.Duration // that one measurement of a small job takes at least

	remembered int // outcomes in the journals of large repositories
}

var full = scale{bins: 16_384, uploads: 1000, changed: 1000, adds: 20_000, small: 20 * time.Millisecond, remembered: dirjournal.Remembered}

// job is one line of the table.
type job struct {
	name string

	// What it must show: how many times faster than go-tuf, and at most how many times the limit.
	// 0 means nothing.
	faster, within float64

	runs  int // measurements of each side
	begin func(ctx context.Context, e *env) (*sides, error)
}

// env is shared by the jobs.
type env struct {
	scale
	dir    string
	log    io.Writer
	python *python // or nil
	sites  map[string]*site
}

// sides are the sides of one job. All but bindery and limit may be nil.
type sides struct {
	bindery, gotuf, python, limit benchmark.Side
}

// result holds the measurements. Times are nanoseconds.
type result struct {
	cpus                          int
	bindery, gotuf, python, limit int64 // 0 for a side that there isn't
	peak                          int64 // bytes
}

// measure runs the sides of a job in turn.
func measure(ctx context.Context, e *env, j job, runs, cpus int) (result, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cpus))
	s, err := j.begin(ctx, e)
	if err != nil {
		return result{}, fmt.Errorf("prepare: %w", err)
	}
	if runs == 0 {
		runs = j.runs
	}
	r, err := s.measure(ctx, runs)
	r.cpus = cpus
	return r, err
}

func (s *sides) measure(ctx context.Context, runs int) (result, error) {
	var r result
	// Not timed: on one processor, watching costs more than some of the jobs.
	runtime.GC()
	p := watchHeap()
	_, err := s.bindery(ctx)
	r.peak = p.stop()
	if err != nil {
		return r, fmt.Errorf("bindery: %w", err)
	}
	medians, err := benchmark.Turns(ctx, runs, benchmark.Named{Name: "bindery", Side: s.bindery}, benchmark.Named{Name: "go-tuf", Side: s.gotuf},
		benchmark.Named{Name: "python-tuf", Side: s.python}, benchmark.Named{Name: "limit", Side: s.limit})
	if err != nil {
		return r, err
	}
	r.bindery, r.gotuf, r.python, r.limit = medians[0], medians[1], medians[2], medians[3]
	return r, nil
}

// repeated makes a side of a small piece of work. It repeats the work for at least the time given, and
// returns the time of one repetition.
func repeated(atLeast time.Duration, work func(ctx context.Context) error) benchmark.Side {
	return func(ctx context.Context) (time.Duration, error) {
		start := time.Now()
		for n := 1; ; n++ {
			if err := work(ctx); err != nil {
				return 0, err
			}
			if d := time.Since(start); d >= atLeast {
				return d / time.Duration(n), nil
			}
		}
	}
}
