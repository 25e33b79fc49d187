// Package otelmetrics tells OpenTelemetry what a repository does: metrics of its stages, its keys and its store,
// and of what repository.Status shows. It uses OpenTelemetry's metric API only; the program
// chooses the SDK and the exporter.
//
//	m, err := otelmetrics.New(provider.Meter("example.org/index"))
//	cfg := repository.Config{Store: m.Store(metadata), Observe: m.Observe, …}
//	repo, err := repository.Open(ctx, cfg)
//	stop, err := m.Watch(repo.Status)
//	defer stop()
//
// README.md lists alerts: metric, condition, what to do.
//
// # Metrics
//
//	bindery.generation            {generation} the generation that clients see
//	bindery.generation.age        s            since it was signed
//	bindery.generations           {generation} made or given up, by bindery.cause and error.type
//	bindery.stage.duration        s            of each stage of a generation, by bindery.stage and error.type
//	bindery.signature.duration    s            of each signature, by bindery.role, bindery.key.id and error.type
//	bindery.store.request.duration s           of each call of the store, by bindery.store.operation and error.type
//	bindery.store.io              By           that calls of the store carried, by bindery.store.operation
//	bindery.queue.length          {item}       items that wait
//	bindery.queue.size            By           of their bodies
//	bindery.queue.age             s            how long the oldest of them has waited
//	bindery.role.remaining        s            until a role expires, by bindery.role; negative: since
//	bindery.bin.count             {bin}        hashed bins
//	bindery.bin.remaining         s            until the first hashed bin expires
//	bindery.bin.size              By           of the three fullest bins, by bindery.role
//	bindery.bin.quarantined       {bin}        whose files in the store are missing or altered
//	bindery.lead                  {lead}       1 if this process is the publisher, else 0
//	bindery.epoch                 {epoch}      of the newest lead
//	bindery.collection.files      {file}       superseded files that wait to be deleted
//	bindery.collection.overdue    s            since when the oldest could have been deleted
//	bindery.problems              {problem}    of Status, by bindery.severity
//	bindery.status.readable       {status}     1 if Status could be read, else 0; of a standby: no value
//
// The role of a hashed bin is given as PREFIX-*, so that the number of series doesn't grow with the bins. error.type is
// missing if nothing failed. Of a store it is "not_exist", "conflict" or "other", and otherwise "other".
//
// # Processes that don't publish
//
// Watch gives few values for a process that doesn't publish, so that nothing is counted twice and nothing is out of date:
//
//	a standby whose Status fails with repository.ErrLocked   bindery.lead is 0
//	a service that can't open the repository                 the same, bindery.status.readable and bindery.problems
//	a process whose Status fails otherwise                   bindery.lead and bindery.status.readable are 0
//	a process that ended                                     none
//
// A standby that reads Status from the journal (Config.Read of package service) repeats what the publisher says. It
// knows no quarantined bins, no fullest ones, and nothing that is overdue. README.md has alerts that hold
// in all these cases.
package otelmetrics

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/service"
)

// The attributes.
const (
	keyCause     = attribute.Key("bindery.cause")
	keyStage     = attribute.Key("bindery.stage")
	keyRole      = attribute.Key("bindery.role")
	keyKey       = attribute.Key("bindery.key.id")
	keyOperation = attribute.Key("bindery.store.operation")
	keySeverity  = attribute.Key("bindery.severity")
	keyError     = attribute.Key("error.type")
)

// Metrics are the instruments of one repository. Its methods are safe for concurrent use.
type Metrics struct {
	meter metric.Meter

	generations                  metric.Int64Counter
	stages, signatures, requests metric.Float64Histogram
	io                           metric.Int64Counter
}

// seconds are the bounds of a histogram's buckets: from a local disk to a key service that is throttled.
var seconds = metric.WithExplicitBucketBoundaries(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

// New makes the instruments. An error is the meter's.
func New(meter metric.Meter) (*Metrics, error) {
	m := &Metrics{meter: meter}
	var errs [5]error
	m.generations, errs[0] = meter.Int64Counter("bindery.generations", metric.WithUnit("{generation}"),
		metric.WithDescription("Generations that were made or given up"))
	m.stages, errs[1] = meter.Float64Histogram("bindery.stage.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("How long each stage of a generation took"))
	m.signatures, errs[2] = meter.Float64Histogram("bindery.signature.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("How long each signature took"))
	m.requests, errs[3] = meter.Float64Histogram("bindery.store.request.duration", metric.WithUnit("s"), seconds,
		metric.WithDescription("How long each call of the store took"))
	m.io, errs[4] = meter.Int64Counter("bindery.store.io", metric.WithUnit("By"),
		metric.WithDescription("Bytes that calls of the store carried"))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("otelmetrics: %w", err)
	}
	return m, nil
}

// Observe is for repository.Config.Observe. It doesn't block.
func (m *Metrics) Observe(e repository.Event) {
	ctx := context.Background()
	var attrs []attribute.KeyValue
	if e.Err != nil {
		attrs = append(attrs, keyError.String("other"))
	}
	switch e.Stage {
	case repository.StageSign:
		attrs = append(attrs, keyRole.String(series(e.Role)), keyKey.String(e.Key))
		m.signatures.Record(ctx, e.Took.Seconds(), metric.WithAttributes(attrs...))
		return
	case repository.StageWrite: // the store counts it
		return
	case repository.StageGeneration:
		m.generations.Add(ctx, 1, metric.WithAttributes(append(attrs, keyCause.String(e.Cause))...))
	}
	m.stages.Record(ctx, e.Took.Seconds(), metric.WithAttributes(append(attrs, keyStage.String(string(e.Stage)))...))
}

// hashedBin is the name of a hashed bin: a prefix and up to four hexadecimal digits.
var hashedBin = regexp.MustCompile(`^(.+)-[0-9a-f]{1,4}$`)

// series names a role so that all bins of a set are one.
func series(role string) string {
	if found := hashedBin.FindStringSubmatch(role); found != nil {
		return found[1] + "-*"
	}
	return role
}

// Watch registers what Status shows. It is read each time that metrics are collected, so status should be quick: that
// of a Repository or of a Service is. stop ends that.
func (m *Metrics) Watch(status func(context.Context) (repository.Status, error)) (stop func() error, err error) {
	var errs []error
	count := func(name, unit, description string) metric.Int64ObservableGauge {
		g, err := m.meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	duration := func(name, description string) metric.Float64ObservableGauge {
		g, err := m.meter.Float64ObservableGauge(name, metric.WithUnit("s"), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	var (
		readable      = count("bindery.status.readable", "{status}", "1 if Status could be read")
		lead          = count("bindery.lead", "{lead}", "1 if this process is the publisher")
		epoch         = count("bindery.epoch", "{epoch}", "Epoch of the newest lead")
		generation    = count("bindery.generation", "{generation}", "The generation that clients see")
		age           = duration("bindery.generation.age", "Time since that was signed")
		length        = count("bindery.queue.length", "{item}", "Items that wait")
		size          = count("bindery.queue.size", "By", "Bytes of the items that wait")
		oldest        = duration("bindery.queue.age", "How long the oldest item has waited")
		remaining     = duration("bindery.role.remaining", "Time until a role expires")
		bins          = count("bindery.bin.count", "{bin}", "Hashed bins")
		binsRemaining = duration("bindery.bin.remaining", "Time until the first hashed bin expires")
		fullest       = count("bindery.bin.size", "By", "Bytes of the three fullest bins")
		quarantined   = count("bindery.bin.quarantined", "{bin}", "Bins whose files are missing or altered in the store")
		files         = count("bindery.collection.files", "{file}", "Superseded files that wait to be deleted")
		overdue       = duration("bindery.collection.overdue", "Time since the oldest superseded file could have been deleted")
		problems      = count("bindery.problems", "{problem}", "Problems of Status")
	)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("otelmetrics: %w", err)
	}
	observe := func(ctx context.Context, o metric.Observer) error {
		s, err := status(ctx)
		if errors.Is(err, repository.ErrLocked) { // a standby
			o.ObserveInt64(lead, 0)
			return nil
		}
		if err != nil { // it is no error of the metrics
			o.ObserveInt64(readable, 0)
			o.ObserveInt64(lead, 0)
			return nil
		}
		now := time.Now()
		o.ObserveInt64(readable, 1)
		o.ObserveInt64(lead, number(s.Leads))
		found := map[repository.Severity]int64{repository.SeverityError: 0, repository.SeverityWarning: 0}
		for _, p := range s.Problems {
			found[p.Severity]++
		}
		for severity, n := range found {
			o.ObserveInt64(problems, n, metric.WithAttributes(keySeverity.String(string(severity))))
		}
		if errors.Is(s.Err, service.ErrUnavailable) { // the rest is what was known last, if anything was
			return nil
		}
		o.ObserveInt64(epoch, s.Epoch)
		o.ObserveInt64(generation, s.Generation)
		if !s.Signed.IsZero() {
			o.ObserveFloat64(age, now.Sub(s.Signed).Seconds())
		}
		o.ObserveInt64(length, int64(s.Queue.Pending))
		o.ObserveInt64(size, s.Queue.Bytes)
		o.ObserveFloat64(oldest, since(s.Queue.Oldest, now))
		for role, r := range s.Roles {
			if !r.Expires.IsZero() {
				o.ObserveFloat64(remaining, r.Expires.Sub(now).Seconds(), metric.WithAttributes(keyRole.String(role)))
			}
		}
		o.ObserveInt64(bins, int64(s.BinCount))
		if !s.FirstBinExpires.IsZero() {
			o.ObserveFloat64(binsRemaining, s.FirstBinExpires.Sub(now).Seconds())
		}
		for _, b := range s.Fullest {
			o.ObserveInt64(fullest, b.Bytes, metric.WithAttributes(keyRole.String(b.Bin)))
		}
		o.ObserveInt64(quarantined, int64(len(s.Quarantined)))
		o.ObserveInt64(files, int64(s.Collection.Files))
		o.ObserveFloat64(overdue, since(s.Collection.Overdue, now))
		return nil
	}
	registered, err := m.meter.RegisterCallback(observe, readable, lead, epoch, generation, age, length, size, oldest, remaining,
		bins, binsRemaining, fullest, quarantined, files, overdue, problems)
	if err != nil {
		return nil, fmt.Errorf("otelmetrics: %w", err)
	}
	return registered.Unregister, nil
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// since is 0 for the zero time.
func since(t, now time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return max(now.Sub(t).Seconds(), 0)
}

// Store returns a store that counts the calls of another one, and is otherwise the same: it passes on
// MinInterval and Local too.
func (m *Metrics) Store(inner repository.Store) repository.Store { return store{m, inner} }

type store struct {
	m     *Metrics
	inner repository.Store
}

func (s store) MinInterval() time.Duration {
	if inner, ok := s.inner.(interface{ MinInterval() time.Duration }); ok {
		return inner.MinInterval()
	}
	return 0
}

// String says where the inner store is, if that says it.
func (s store) String() string {
	if inner, ok := s.inner.(fmt.Stringer); ok {
		return inner.String()
	}
	return "a store"
}

func (s store) Local() bool {
	inner, ok := s.inner.(interface{ Local() bool })
	return ok && inner.Local()
}

// request counts a call that has ended.
func (s store) request(ctx context.Context, operation string, began time.Time, bytes int, err error) {
	op := keyOperation.String(operation)
	attrs := []attribute.KeyValue{op}
	switch {
	case errors.Is(err, repository.ErrNotExist):
		attrs = append(attrs, keyError.String("not_exist"))
	case errors.Is(err, repository.ErrConflict):
		attrs = append(attrs, keyError.String("conflict"))
	case err != nil:
		attrs = append(attrs, keyError.String("other"))
	}
	s.m.requests.Record(ctx, time.Since(began).Seconds(), metric.WithAttributes(attrs...))
	if bytes > 0 {
		s.m.io.Add(ctx, int64(bytes), metric.WithAttributes(op))
	}
}

func (s store) Get(ctx context.Context, name string) ([]byte, error) {
	began := time.Now()
	data, err := s.inner.Get(ctx, name)
	s.request(ctx, "get", began, len(data), err)
	return data, err
}

func (s store) Create(ctx context.Context, name string, data []byte) error {
	began := time.Now()
	err := s.inner.Create(ctx, name, data)
	s.request(ctx, "create", began, len(data), err)
	return err
}

func (s store) Swap(ctx context.Context, name string, old, new []byte) error {
	began := time.Now()
	err := s.inner.Swap(ctx, name, old, new)
	s.request(ctx, "swap", began, len(new), err)
	return err
}

func (s store) Delete(ctx context.Context, name string) error {
	began := time.Now()
	err := s.inner.Delete(ctx, name)
	s.request(ctx, "delete", began, 0, err)
	return err
}

// List counts one call, which lasts until the caller has seen all.
func (s store) List(ctx context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) {
		began := time.Now()
		var failed error
		for info, err := range s.inner.List(ctx) {
			failed = err
			if !yield(info, err) {
				break
			}
		}
		s.request(ctx, "list", began, 0, failed)
	}
}
