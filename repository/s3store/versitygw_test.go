package s3store_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/s3test"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/s3store"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

// gateway is how a store reaches a bucket of a versitygw.
func gateway(server *s3test.Server, bucket string) s3store.Config {
	return s3store.Config{
		AWS: aws.Config{
			BaseEndpoint: &server.URL, Region: s3test.Region,
			Credentials: credentials.NewStaticCredentialsProvider(s3test.AccessKey, s3test.SecretKey, ""),
		},
		Bucket: bucket, PathStyle: true, Prefix: "metadata/",
		PublicURL: server.Object(bucket, "metadata/"),
	}
}

func TestVersitygwStore(t *testing.T) {
	server := s3test.Need(t)
	var n atomic.Int32
	open := func(t *testing.T, client aws.HTTPClient) repository.Store {
		bucket := fmt.Sprint("bucket-", n.Add(1))
		require.NoError(t, server.CreateBucket(t.Context(), bucket, true))
		cfg := gateway(server, bucket)
		cfg.AWS.HTTPClient = client
		s, err := s3store.Open(t.Context(), cfg)
		require.NoError(t, err)
		return s
	}
	t.Run("Plain", func(t *testing.T) {
		storetest.TestStore(t, func(t *testing.T) repository.Store { return open(t, nil) })
	})
	// The reply to every tenth request that writes is lost.
	t.Run("RepliesLost", func(t *testing.T) {
		storetest.TestStore(t, func(t *testing.T) repository.Store { return open(t, &losing{}) })
	})
}

// losing drops some replies.
type losing struct{ n atomic.Int32 }

func (l *losing) Do(r *http.Request) (*http.Response, error) {
	response, err := http.DefaultClient.Do(r)
	if err == nil && r.Method != http.MethodGet && l.n.Add(1)%10 == 0 {
		response.Body.Close()
		return nil, errCut
	}
	return response, err
}

// What clients get has the headers of web.Handler.
func TestVersitygwHeaders(t *testing.T) {
	server := s3test.Need(t)
	require.NoError(t, server.CreateBucket(t.Context(), index, true))
	s, err := s3store.Open(t.Context(), gateway(server, index))
	require.NoError(t, err)
	require.NoError(t, s.Create(t.Context(), binName, []byte("bin")))
	require.NoError(t, s.Swap(t.Context(), swapName, nil, []byte("1")))
	for name, caching := range map[string]string{binName: "public, max-age=31536000, immutable", swapName: "no-cache"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.Object(index, "metadata/"+name), nil)
		require.NoError(t, err)
		response, err := http.DefaultTransport.RoundTrip(request)
		require.NoError(t, err)
		response.Body.Close()
		require.Equal(t, "application/json", response.Header.Get("Content-Type"))
		require.Equal(t, caching, response.Header.Get("Cache-Control"))
		require.Empty(t, response.Header.Get("Content-Encoding"))
	}
}

// The service's own refusals are explained.
func TestVersitygwRefuses(t *testing.T) {
	server := s3test.Need(t)
	require.NoError(t, server.CreateBucket(t.Context(), index, false))
	good := gateway(server, index)
	good.PublicURL = ""
	for _, test := range []struct {
		want string
		set  func(*s3store.Config)
	}{
		{`there is no bucket "missing": create it, or correct Config.Bucket`, func(c *s3store.Config) { c.Bucket = "missing" }},
		{`correct Config.AWS.Region`, func(c *s3store.Config) { c.AWS.Region = "eu-west-3" }},
		{"are secret key, region and endpoint right? (SignatureDoesNotMatch", func(c *s3store.Config) {
			c.AWS.Credentials = credentials.NewStaticCredentialsProvider(s3test.AccessKey, "wrong", "")
		}},
		{"the service doesn't know the access key", func(c *s3store.Config) {
			c.AWS.Credentials = credentials.NewStaticCredentialsProvider("nobody", "wrong", "")
		}},
		{"clients get 403, not 404, for a missing name", func(c *s3store.Config) { c.PublicURL = server.Object(index, "metadata/") }},
		{"there are no AWS credentials, or they could not be renewed: no file", func(c *s3store.Config) {
			c.AWS.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{}, errors.New("no file")
			})
		}},
	} {
		cfg := good
		test.set(&cfg)
		_, err := s3store.Open(t.Context(), cfg)
		require.ErrorContains(t, err, test.want)
		t.Log(err)
	}
	_, err := s3store.Open(t.Context(), good)
	require.NoError(t, err)
}
