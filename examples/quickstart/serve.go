package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/bindery-tuf/bindery/repository/web"
)

// serve serves the index on address, or on any port of the loopback interface,
// until it is closed.
func (x *index) serve(address string) error {
	if address == "" {
		address = "127.0.0.1:0"
	}
	files, err := os.OpenRoot(x.at("targets"))
	if err != nil {
		return err
	}
	base, stop, err := listen(address, web.Handler(web.Config{Store: x.metadata, Files: web.Dir(files.FS()), Stall: time.Minute}))
	if err != nil {
		return errors.Join(err, files.Close())
	}
	x.url = base
	closeIndex := x.close
	x.close = func() error { return errors.Join(stop(), files.Close(), closeIndex()) }
	return nil
}

// patience is how long requests under way may take to finish once serving stops.
const patience = 2 * time.Second

// listen serves handler until stop is called, which cuts what outlasts its patience.
func listen(address string, handler http.Handler) (base string, stop func() error, err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		if serveErr := <-failed; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		return err
	}
	return (&url.URL{Scheme: "http", Host: reachable(listener.Addr())}).String(), stop, nil
}

// reachable is an address that a client on this machine can use.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err == nil && net.ParseIP(host).IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return a.String()
}

// untilInterrupted waits for ctx. That the publisher had to stop is an error.
func (x *index) untilInterrupted(ctx context.Context) error {
	<-x.ctx.Done()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(x.ctx)
}
