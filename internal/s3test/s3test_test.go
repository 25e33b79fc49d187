package s3test_test

import (
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/s3test"
)

// get returns what somebody without credentials gets.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

func TestServer(t *testing.T) {
	s := s3test.Need(t)
	for bucket, public := range map[string]bool{"private": false, "public": true} {
		require.NoError(t, s.CreateBucket(t.Context(), bucket, public))
		require.NoError(t, s.Do(t.Context(), http.MethodPut, "/"+bucket+"/1.root.json", []byte("root")))
	}
	s.Stop()
	s.Stop()
	require.Nil(t, s.Process())
	require.Error(t, s.Do(t.Context(), http.MethodGet, "/public/1.root.json", nil))
	require.NoError(t, s.Restart(t.Context()))
	require.NotNil(t, s.Process())
	require.ErrorContains(t, s.Restart(t.Context()), "already running")

	status, body := get(t, s.Object("public", "1.root.json"))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "root", body)
	for url, want := range map[string]int{
		s.Object("public", "2.root.json"):  http.StatusNotFound,
		s.Object("private", "1.root.json"): http.StatusForbidden, s.Object("private", "2.root.json"): http.StatusForbidden,
	} {
		status, _ := get(t, url)
		require.Equal(t, want, status, url)
	}
}
