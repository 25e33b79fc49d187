package gcsstore_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"

	"github.com/bindery-tuf/bindery/internal/gcstest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/gcsstore"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// losing drops the reply to every thirtieth request that writes.
type losing struct {
	http.RoundTripper
	n atomic.Int32
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(r)
	if err == nil && r.Method != http.MethodGet && l.n.Add(1)%30 == 0 {
		response.Body.Close()
		return nil, errCut
	}
	return response, err
}

func TestEmulator(t *testing.T) {
	server := gcstest.Need(t)
	var n atomic.Int32
	open := func(t *testing.T, transport http.RoundTripper) *gcsstore.Store {
		name := fmt.Sprint("bucket-", n.Add(1))
		require.NoError(t, server.CreateBucket(t.Context(), name))
		client, err := storage.NewClient(t.Context(), option.WithHTTPClient(&http.Client{Transport: transport}),
			option.WithEndpoint(server.URL+"/storage/v1/"), storage.WithJSONReads())
		require.NoError(t, err)
		s, err := gcsstore.Open(t.Context(), gcsstore.Config{
			Client: client, Bucket: name, Prefix: "metadata/", PublicURL: server.URL + "/" + name + "/metadata/",
		})
		require.NoError(t, err)
		return s
	}
	t.Run("Plain", func(t *testing.T) {
		storetest.TestStore(t, func(t *testing.T) repository.Store { return open(t, http.DefaultTransport) })
	})
	t.Run("RepliesLost", func(t *testing.T) {
		storetest.TestStore(t, func(t *testing.T) repository.Store { return open(t, &losing{RoundTripper: http.DefaultTransport}) })
	})
}
