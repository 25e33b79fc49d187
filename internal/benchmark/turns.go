// Package benchmark has what the programs share that measure Bindery: internal/cmd/bench on one machine, and
// internal/cmd/sharedbench with a database and a bucket.
//
// Turns measures the sides of a job:
//
//	medians, err := benchmark.Turns(ctx, 5, benchmark.Named{"bindery", ours}, benchmark.Named{"limit", limit})
//
// Site makes a large repository to measure with, in seconds.
package benchmark

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Side does a job once and returns how long it took, without what it prepared.
type Side func(ctx context.Context) (time.Duration, error)

// Named is a side with the name that errors give it.
type Named struct {
	Name string
	Side Side // nil: not measured
}

// Turns runs all sides n times. They take turns, so that a busy machine slows all of them. A garbage collection
// comes before each run. It returns the median of each side in nanoseconds, and 0 for a nil side.
func Turns(ctx context.Context, n int, sides ...Named) ([]int64, error) {
	times := make([][]int64, len(sides))
	for range n {
		for i, s := range sides {
			if s.Side == nil {
				continue
			}
			runtime.GC()
			d, err := s.Side(ctx)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.Name, err)
			}
			times[i] = append(times[i], d.Nanoseconds())
		}
	}
	medians := make([]int64, len(sides))
	for i := range sides {
		if len(times[i]) > 0 {
			medians[i] = Median(times[i])
		}
	}
	return medians, nil
}

// Median sorts the times, of which there is at least one.
func Median(times []int64) int64 {
	slices.Sort(times)
	n := len(times)
	return (times[(n-1)/2] + times[n/2]) / 2
}

// Select returns the jobs that a flag -job names: a list, separated by commas, of names or what they begin with.
// Empty are all jobs. The order is that of the jobs.
func Select[J any](list string, jobs []J, name func(J) string) ([]J, error) {
	wanted := map[string]bool{}
	for prefix := range strings.SplitSeq(list, ",") {
		prefix, before := strings.TrimSpace(prefix), len(wanted)
		for _, j := range jobs {
			if strings.HasPrefix(name(j), prefix) && (prefix != "" || list == "") {
				wanted[name(j)] = true
			}
		}
		if len(wanted) == before {
			return nil, fmt.Errorf("-job %s: no job, or none that isn't named before, is called %q", list, prefix)
		}
	}
	return slices.DeleteFunc(slices.Clone(jobs), func(j J) bool { return !wanted[name(j)] }), nil
}

// Duration prints three digits of a time in nanoseconds. 0 is "-".
func Duration(ns int64) string {
	if ns == 0 {
		return "-"
	}
	unit := time.Duration(1)
	for time.Duration(ns)/unit >= 1000 {
		unit *= 10
	}
	return time.Duration(ns).Round(unit).String()
}

// Ratio prints a/b with two decimals. If either is 0, it is "-".
func Ratio(a, b int64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// Bound prints a bound of a ratio. 0 is "-".
func Bound(x float64) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprint(x)
}
