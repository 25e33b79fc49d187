package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/internal/interop"
)

var small = scale{bins: 4, uploads: 8, changed: 3, adds: 128, remembered: 10}

// Every job runs, whatever it takes, and leaves nothing behind.
func TestJobs(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-json", "-runs", "1", "-cpu", "1,2", "-dir", dir}, small, &out, io.Discard))
	type key struct {
		job   string
		cpus  int
		gotuf bool
	}
	var got []key
	for d := json.NewDecoder(&out); ; {
		var l map[string]any
		err := d.Decode(&l)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"job", "bindery_ns", "gotuf_ns", "limit_ns", "peak_bytes", "cpus"}, names(l))
		require.Positive(t, l["bindery_ns"])
		require.Positive(t, l["limit_ns"])
		got = append(got, key{l["job"].(string), int(l["cpus"].(float64)), l["gotuf_ns"] != nil})
	}
	var want []key
	for _, j := range []key{
		{job: "bin-610-ed25519", gotuf: true}, {job: "bin-610-p256", gotuf: true}, {job: "bin-3000-ed25519", gotuf: true},
		{job: "snapshot-16384", gotuf: true}, {job: "create-16384"}, {job: "publish-1000-140"}, {job: "publish-1000-610"},
		{job: "renew-16384"}, {job: "add-64"}, {job: "open"},
	} {
		want = append(want, key{j.job, 1, j.gotuf}, key{j.job, 2, j.gotuf})
	}
	require.Equal(t, want, got)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func names(m map[string]any) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// What go-tuf and python-tuf make is what Bindery makes, or their times say nothing.
func TestPython(t *testing.T) {
	interop.NeedPython(t, "python")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-json", "-runs", "1", "-job", "bin-610,snapshot", "-python", "-dir", t.TempDir()}, small, &out, io.Discard))
	for d, n := json.NewDecoder(&out), 0; n < 3; n++ {
		var l line
		require.NoError(t, d.Decode(&l))
		require.NotNil(t, l.Python)
		require.Positive(t, *l.Python)
	}
}

func TestSameSigned(t *testing.T) {
	k, err := ed25519Key()
	require.NoError(t, err)
	a, _, err := benchmark.MakeBin(3, 1)
	require.NoError(t, err)
	b, _, err := benchmark.MakeBin(3, 2)
	require.NoError(t, err)
	fileA, err := a.Sign(t.Context(), k.signer)
	require.NoError(t, err)
	fileB, err := b.Sign(t.Context(), k.signer)
	require.NoError(t, err)
	require.NoError(t, sameSigned[metadata.TargetsType](fileA, fileA))
	require.EqualError(t, sameSigned[metadata.TargetsType](fileA, fileB), "the sides made different metadata")
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	print := newPrinter(&out, options{})
	require.NoError(t, print(job{name: "bin-610-p256", faster: 50, within: 1.4}, result{cpus: 2, bindery: 400_000, gotuf: 20_000_000, limit: 300_000, peak: 1_250_000}))
	require.NoError(t, print(job{name: "open"}, result{cpus: 1, bindery: 123_456_789, limit: 100_000_000, peak: 40_000_000}))
	require.Equal(t, ""+
		"job               cpus  bindery   go-tuf    limit go-tuf/ at least /limit at most      heap\n"+
		"bin-610-p256         2    400µs     20ms    300µs   50.00       50   1.33     1.4    1.2 MB\n"+
		"open                 1    123ms        -    100ms       -        -   1.23       -   40.0 MB\n", out.String())
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{"-job", "other"}, {"-cpu", "0"}, {"-cpu", "1;2"}, {"-runs", "-1"}, {"more"}} {
		require.Error(t, run(t.Context(), args, small, io.Discard, io.Discard), "%v", args)
	}
	o, err := parse([]string{"-job", "publish-1000,bin-610-p256"}, io.Discard)
	require.NoError(t, err)
	require.Len(t, o.jobs, 3)
	require.Equal(t, []int{runtime.GOMAXPROCS(0)}, o.cpus)
}
