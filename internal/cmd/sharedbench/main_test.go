package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asPublisher) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

var small = scale{
	adds: 128, claimed: 20, dead: 100, updates: 10, bins: 16, targets: 3, uploads: 20, delay: time.Millisecond, lease: time.Second,
}

// Every job runs, whatever it takes.
func TestJobs(t *testing.T) {
	pgtest.NeedTool(t, "postgres")
	list := "pg"
	want := []line{{Job: "pg-add-64", AtMost: 1.5}, {Job: "pg-claim-10000", AtMost: 2}, {Job: "pg-claim-10000-report", AtMost: 3}}
	if os.Getenv("BINDERY_INTEROP") == "1" { // see s3test.Need
		list = ""
		want = append(want, line{Job: "s3-publish-1000", AtMost: 1.3}, line{Job: "s3-latency-10", AtMost: 2}, line{Job: "fail-over", AtMost: 2})
	}
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-json", "-runs", "1", "-job", list}, small, &out, io.Discard))
	var got []line
	for d := json.NewDecoder(&out); ; {
		var l line
		err := d.Decode(&l)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.Positive(t, l.Bindery)
		require.Positive(t, l.Limit)
		require.Positive(t, l.CPUs)
		got = append(got, line{Job: l.Job, AtMost: l.AtMost})
	}
	require.Equal(t, want, got)
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	print := newPrinter(&out, false)
	require.NoError(t, print(job{name: "pg-add-64", within: 1.5}, result{bindery: 400_000, limit: 300_000}))
	require.NoError(t, print(job{name: "pg-claim-10000-report", within: 3}, result{bindery: 123_456_789, limit: 100_000_000}))
	require.Equal(t, ""+
		"job                     bindery    limit /limit at most\n"+
		"pg-add-64                 400µs    300µs   1.33     1.5\n"+
		"pg-claim-10000-report     123ms    100ms   1.23       3\n", out.String())
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-job", "other"}, {"-runs", "-1"}, {"more"}} {
		require.Error(t, run(t.Context(), args, small, io.Discard, io.Discard), "%v", args)
	}
}
