package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"

	"github.com/bindery-tuf/bindery/repository/otelmetrics"
)

// metrics are those of repository/otelmetrics, for Prometheus.
type metrics struct {
	*otelmetrics.Metrics
	registry *prometheus.Registry
}

func newMetrics() (*metrics, error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter))
	m, err := otelmetrics.New(provider.Meter("github.com/bindery-tuf/bindery/examples/publisher"))
	if err != nil {
		return nil, err
	}
	return &metrics{m, registry}, nil
}

func (m *metrics) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/", notFound)
	return mux
}
