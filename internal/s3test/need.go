package s3test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// Need is Start for a test, which is skipped unless BINDERY_INTEROP is 1: building the service takes
// minutes. The service is killed when the test ends.
func Need(t testing.TB) *Server {
	t.Helper()
	if os.Getenv("BINDERY_INTEROP") != "1" {
		t.Skip("it needs versitygw, a service like S3: BINDERY_INTEROP=1 builds and runs it")
	}
	s, err := Start(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}
