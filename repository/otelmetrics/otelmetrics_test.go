package otelmetrics_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/repository/otelmetrics"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// site is a repository that is measured.
type site struct {
	repo   *repository.Repository
	reader *metric.ManualReader
	inject *faulty.Injector
	scrape func() string
}

func newSite(t *testing.T) *site {
	t.Helper()
	registry := prometheus.NewRegistry()
	exp, err := exporter.New(exporter.WithRegisterer(registry))
	require.NoError(t, err)
	s := &site{reader: metric.NewManualReader(), inject: &faulty.Injector{}}
	provider := metric.NewMeterProvider(metric.WithReader(exp), metric.WithReader(s.reader))
	m, err := otelmetrics.New(provider.Meter("test"))
	require.NoError(t, err)
	layout, err := delegation.New("bins", 4, delegation.Succinct)
	require.NoError(t, err)
	ceremony := repotest.NewCeremony(t, layout, time.Now())
	cfg := repository.Config{
		Store:   m.Store(faulty.Store{Injector: s.inject, Inner: storetest.NewStore()}),
		Journal: storetest.NewJournal(), Bins: ceremony.Bins, Snapshot: ceremony.Online, Timestamp: ceremony.Online,
		MaxDelay: -1, Observe: m.Observe,
	}
	s.repo, err = repository.Create(t.Context(), cfg, ceremony.Documents())
	require.NoError(t, err)
	stop, err := m.Watch(s.repo.Status)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, stop())
		require.NoError(t, s.repo.Close())
	})
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	s.scrape = func() string {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, rec.Code)
		return rec.Body.String()
	}
	return s
}

// publish adds one file, and waits until it is published.
func (s *site) publish(t *testing.T) {
	t.Helper()
	r, err := s.repo.Add(t.Context(), repotest.File("a.whl", "1"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.repo.Run(ctx) }()
	_, err = r.Wait(t.Context())
	require.NoError(t, err)
	cancel()
	require.NoError(t, <-ran)
}

// Each metric of the list of alerts is one that an endpoint of Prometheus shows, with the label that the list
// gives.
func TestAlerts(t *testing.T) {
	s := newSite(t)
	failing := true
	s.inject.Plan(func(c faulty.Call) faulty.Fault {
		if failing && c.Op == "store.Create" {
			failing = false
			return faulty.Before
		}
		return faulty.None
	})
	s.publish(t)
	text := s.scrape()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	rows := 0
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.Contains(cells[2], "`") {
			continue
		}
		rows++
		// Over all processes: a series of one process ends with it, and a fail-over would begin the time anew.
		conditions := slices.Collect(expressions(cells[3]))
		require.NotEmpty(t, conditions, line)
		metric, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(cells[2]), "`"), "{")
		for _, c := range conditions {
			require.Regexp(t, `^(sum|max|min|histogram_quantile)\b`, c, line)
			require.Contains(t, c, metric, line)
		}
		require.NotEmpty(t, strings.TrimSpace(cells[4]), line)
		name, label, _ := strings.Cut(strings.Trim(strings.TrimSpace(cells[2]), "`"), "{")
		require.Regexp(t, `(?m)^`+regexp.QuoteMeta(name)+`(_bucket|_count)?[{ ]`, text)
		if label, _, found := strings.Cut(label, "!"); found {
			require.Regexp(t, `(?m)^`+regexp.QuoteMeta(name)+`\{.*`+label+`=`, text)
		} else if label != "" && !strings.Contains(label, "conflict") {
			require.Contains(t, text, strings.TrimSuffix(label, "}"), line)
		}
	}
	require.Equal(t, 21, rows)
	require.Contains(t, string(readme), "absent(bindery_lead)", "a publisher that is dead has no series")
	// And no metric of ours lacks a line in the package comment.
	source, err := os.ReadFile("otelmetrics.go")
	require.NoError(t, err)
	for _, name := range s.names(t) {
		require.Regexp(t, `(?m)^//	`+regexp.QuoteMeta(name)+` `, string(source))
	}
}

// expressions are what stands between backticks.
func expressions(cell string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for n, text := range strings.Split(cell, "`") {
			if n%2 == 1 && !yield(text) {
				return
			}
		}
	}
}

// names are those of all metrics, sorted.
func (s *site) names(t *testing.T) (names []string) {
	t.Helper()
	for name := range s.collect(t) {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (s *site) collect(t *testing.T) map[string]metricdata.Aggregation {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, s.reader.Collect(t.Context(), &all))
	out := map[string]metricdata.Aggregation{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			out[m.Name] = m.Data
		}
	}
	return out
}

// sum adds a counter, the counts of a histogram, or a gauge, over the series that have all these labels.
func sum(data metricdata.Aggregation, labels ...string) (total float64) {
	matches := func(text string) bool {
		return !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(text, l) })
	}
	switch d := data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			if matches(encode(p.Attributes.ToSlice())) {
				total += float64(p.Value)
			}
		}
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			if matches(encode(p.Attributes.ToSlice())) {
				total += float64(p.Value)
			}
		}
	case metricdata.Gauge[float64]:
		for _, p := range d.DataPoints {
			if matches(encode(p.Attributes.ToSlice())) {
				total += p.Value
			}
		}
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			if matches(encode(p.Attributes.ToSlice())) {
				total += float64(p.Count)
			}
		}
	}
	return total
}

// encode writes each attribute as key=value;
func encode(attrs []attribute.KeyValue) (text string) {
	for _, a := range attrs {
		text += string(a.Key) + "=" + a.Value.String() + ";"
	}
	return text
}

func TestMetrics(t *testing.T) {
	s := newSite(t)
	s.publish(t)
	m := s.collect(t)
	require.EqualValues(t, 2, sum(m["bindery.generation"]))
	require.EqualValues(t, 1, sum(m["bindery.generations"], "bindery.cause=create;"))
	require.EqualValues(t, 1, sum(m["bindery.generations"], "bindery.cause=items;"))
	require.EqualValues(t, 4+1, sum(m["bindery.signature.duration"], "bindery.role=bins-*;"))
	require.EqualValues(t, 2, sum(m["bindery.signature.duration"], "bindery.role=timestamp;"))
	require.EqualValues(t, 2, sum(m["bindery.stage.duration"], "bindery.stage=commit;"))
	require.Zero(t, sum(m["bindery.stage.duration"], "error.type="))
	// Root, targets, bins, 4 bins and a snapshot; then a bin and a snapshot.
	require.EqualValues(t, 3+5+2, sum(m["bindery.store.request.duration"], "bindery.store.operation=create;"))
	require.Positive(t, sum(m["bindery.store.request.duration"], "bindery.store.operation=get;", "error.type=not_exist;"))
	require.Positive(t, sum(m["bindery.store.io"], "bindery.store.operation=swap;"))
	require.EqualValues(t, 1, sum(m["bindery.lead"]))
	require.EqualValues(t, 1, sum(m["bindery.epoch"]))
	require.EqualValues(t, 4, sum(m["bindery.bin.count"]))
	require.Zero(t, sum(m["bindery.queue.length"]))
	require.Zero(t, sum(m["bindery.problems"], "error"))
	require.EqualValues(t, 1, sum(m["bindery.problems"], "warning"), "Run doesn't run")
	require.Positive(t, sum(m["bindery.role.remaining"], "bindery.role=root;"))

	_, err := s.repo.Add(t.Context(), repotest.File("b.whl", "1"))
	require.NoError(t, err)
	require.EqualValues(t, 1, sum(s.collect(t)["bindery.queue.length"]))
}

// A Status that can't be read is a metric, and hides no other.
func TestStatusThatFails(t *testing.T) {
	reader := metric.NewManualReader()
	m, err := otelmetrics.New(metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"))
	require.NoError(t, err)
	var fails atomic.Bool
	stop, err := m.Watch(func(context.Context) (repository.Status, error) {
		if fails.Load() {
			return repository.Status{}, errors.New("the database is gone")
		}
		return repository.Status{Leads: true}, nil
	})
	require.NoError(t, err)
	s := &site{reader: reader}
	require.EqualValues(t, 1, sum(s.collect(t)["bindery.lead"]))
	fails.Store(true)
	require.Zero(t, sum(s.collect(t)["bindery.lead"]))
	require.Zero(t, sum(s.collect(t)["bindery.status.readable"]))
	require.NoError(t, stop())
}

// A standby isn't the publisher, and nothing is wrong with it. A service that can't open the repository has problems, and
// nothing that was true before.
func TestProcessesThatDontPublish(t *testing.T) {
	now := repository.Status{Leads: true, Generation: 7, Epoch: 3, Signed: time.Now(), Queue: ledger.Backlog{Pending: 5}}
	var err error
	s := &site{reader: metric.NewManualReader()}
	m, merr := otelmetrics.New(metric.NewMeterProvider(metric.WithReader(s.reader)).Meter("test"))
	require.NoError(t, merr)
	stop, merr := m.Watch(func(context.Context) (repository.Status, error) { return now, err })
	require.NoError(t, merr)
	require.Contains(t, s.names(t), "bindery.queue.length")

	now, err = repository.Status{}, fmt.Errorf("status: %w: process 7", repository.ErrLocked)
	require.Equal(t, []string{"bindery.lead"}, s.names(t))
	require.Zero(t, sum(s.collect(t)["bindery.lead"]))

	err = nil
	now = repository.Status{Generation: 7, Err: fmt.Errorf("%w: disk", service.ErrUnavailable), Problems: []repository.Problem{{Severity: repository.SeverityError}}}
	require.Equal(t, []string{"bindery.lead", "bindery.problems", "bindery.status.readable"}, s.names(t))
	require.Zero(t, sum(s.collect(t)["bindery.lead"]))
	require.EqualValues(t, 1, sum(s.collect(t)["bindery.problems"], "error"))

	// One that reads the journal.
	now = repository.Status{Generation: 7, Signed: time.Now()}
	require.Contains(t, s.names(t), "bindery.generation")
	require.Zero(t, sum(s.collect(t)["bindery.lead"]))
	require.NoError(t, stop())
}

// The wrapped store passes the suite, and passes on what stores may have besides.
func TestStore(t *testing.T) {
	m, err := otelmetrics.New(metric.NewMeterProvider().Meter("test"))
	require.NoError(t, err)
	storetest.TestStore(t, func(*testing.T) repository.Store { return m.Store(storetest.NewStore()) })
	plain := m.Store(storetest.NewStore())
	require.Zero(t, plain.(interface{ MinInterval() time.Duration }).MinInterval())
	require.False(t, plain.(interface{ Local() bool }).Local())
	special := m.Store(rationed{storetest.NewStore()})
	require.Equal(t, time.Second, special.(interface{ MinInterval() time.Duration }).MinInterval())
	require.True(t, special.(interface{ Local() bool }).Local())
}

type rationed struct{ repository.Store }

func (rationed) MinInterval() time.Duration { return time.Second }
func (rationed) Local() bool                { return true }
