// Package gcstest starts a throw-away service like Google Cloud Storage on the loopback address:
// fake-gcs-server, which keeps buckets in memory.
package gcstest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/pinned"
)

// Server is a running fake-gcs-server.
type Server struct {
	// URL is what STORAGE_EMULATOR_HOST may be. The JSON API is below URL/storage/v1/, and people without
	// credentials read URL/BUCKET/NAME.
	URL string
}

// Need starts a Server for a test, which is skipped unless BINDERY_INTEROP is 1: building the service takes
// minutes. The service is killed when the test ends.
func Need(t testing.TB) *Server {
	t.Helper()
	if os.Getenv("BINDERY_INTEROP") != "1" {
		t.Skip("it needs fake-gcs-server, a service like Google Cloud Storage: BINDERY_INTEROP=1 builds and runs it")
	}
	program, err := pinned.Build(t.Context(), "internal/fakegcs", "github.com/fsouza/fake-gcs-server")
	require.NoError(t, err)
	for range 5 { // another process may take the port meanwhile
		var s *Server
		if s, err = start(t, program); err == nil {
			return s
		}
	}
	require.NoError(t, err)
	return nil
}

func start(t testing.TB, program string) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().(*net.TCPAddr)
	require.NoError(t, l.Close())
	cmd := exec.Command(program, "-scheme", "http", "-host", "127.0.0.1", "-port", fmt.Sprint(address.Port),
		"-public-host", address.String(), "-backend", "memory", "-log-level", "error")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	require.NoError(t, cmd.Start())
	done := make(chan struct{})
	go func() {
		cmd.Wait() // it is killed, and its error says only that
		close(done)
	}()
	stop := func() {
		cmd.Process.Kill()
		<-done
	}
	s := &Server{URL: "http://" + address.String()}
	deadline := time.After(time.Minute)
	for {
		if response, err := http.Get(s.URL + "/_internal/healthcheck"); err == nil {
			response.Body.Close()
			t.Cleanup(stop)
			return s, nil
		}
		select {
		case <-done:
			return nil, fmt.Errorf("fake-gcs-server ended: %s", log.String())
		case <-deadline:
			stop()
			return nil, fmt.Errorf("fake-gcs-server doesn't answer: %s", log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// CreateBucket makes an empty bucket.
func (s *Server) CreateBucket(ctx context.Context, bucket string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/storage/v1/b?project=test", bytes.NewReader(fmt.Appendf(nil, `{"name":%q}`, bucket)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("fake-gcs-server: create bucket %s: %s", bucket, response.Status)
	}
	return nil
}
