package otelmetrics_test

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/otelmetrics"
)

// A service is watched, with a reader of the program's choice: here one that is read by hand.
func Example() {
	provider := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	metrics, err := otelmetrics.New(provider.Meter("example.org/index"))
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg := repository.Config{Observe: metrics.Observe} // and Store: metrics.Store(store)
	fmt.Println(cfg.Observe != nil)

	status := func(context.Context) (repository.Status, error) { return repository.Status{Generation: 7}, nil } // repo.Status
	stop, err := metrics.Watch(status)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(stop())
	// Output:
	// true
	// <nil>
}
