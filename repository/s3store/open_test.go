package s3store_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/s3store"
)

// Open's cost is what its comment says, and it leaves nothing behind.
func TestOpenCosts(t *testing.T) {
	f := newFake()
	calls := f.requests(func() {
		_, err := s3store.Open(t.Context(), f.config())
		require.NoError(t, err)
	})
	require.Len(t, calls, 12)
	require.Empty(t, f.keys())
	name := strings.TrimPrefix(calls[1], "GET ")
	require.Regexp(t, `^metadata/1\.bindery-probe-[a-z0-9]{26}\.json$`, name)
	for i, method := range []string{"GET", "PUT", "PUT", "PUT", "PUT", "GET", "PUT", "GET", "DELETE"} {
		require.Equal(t, method+" "+name, calls[i+1])
	}
	require.Equal(t, []string{"GET ", "GET ", "GET "}, append(calls[:1:1], calls[10:]...)) // the bucket
}

func TestOpenRefuses(t *testing.T) {
	for _, test := range []struct {
		name, want string
		set        func(*fakeS3, *s3store.Config)
	}{
		{"If-None-Match is ignored", "the service ignores the condition of a write: it replaced a name that must be missing, and exists; two publishers would overwrite each other's files, so use another service",
			func(f *fakeS3, _ *s3store.Config) { f.ignores = "If-None-Match" }},
		{"If-Match is ignored", "the service ignores the condition of a write: it replaced a name that has a certain ETag or generation, and is missing", func(f *fakeS3, _ *s3store.Config) { f.ignores = "If-Match" }},
		{"conditions are unknown", "the service refuses a PUT with a condition and a CRC-32C; if it knows conditions", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(r *http.Request, _ func() *http.Response) (*http.Response, error) {
				if r.Header.Get("If-Match")+r.Header.Get("If-None-Match") != "" {
					return refusal(501, "NotImplemented"), nil
				}
				return nil, nil
			}
		}},
		{"the CRC is unknown", "set Config.AWS.RequestChecksumCalculation to aws.RequestChecksumCalculationWhenRequired", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(r *http.Request, _ func() *http.Response) (*http.Response, error) {
				if r.Header.Get("X-Amz-Checksum-Crc32c") != "" && r.Header.Get("If-None-Match") != "" {
					return refusal(400, "InvalidArgument"), nil
				}
				return nil, nil
			}
		}},
		{"missing names are 403", "not permitted, or the name is missing and that may not be known: grant the credentials s3:ListBucket on arn:aws:s3:::index and s3:GetObject on arn:aws:s3:::index/metadata/*; or is the bucket somebody else's?",
			func(f *fakeS3, _ *s3store.Config) { f.without404 = true }},
		{"GET is denied", "grant the credentials s3:ListBucket on arn:aws:s3:::index; or is the bucket", func(f *fakeS3, _ *s3store.Config) { f.denies["GET"] = true }},
		{"PUT is denied", "grant the credentials s3:PutObject on arn:aws:s3:::index/metadata/*; or is the bucket somebody else's?", func(f *fakeS3, _ *s3store.Config) { f.denies["PUT"] = true }},
		{"DELETE is denied", "grant the credentials s3:DeleteObject on arn:aws:s3:::index/metadata/*", func(f *fakeS3, _ *s3store.Config) { f.denies["DELETE"] = true }},
		{"listing is denied", "list s3://index/metadata/: not permitted: grant the credentials s3:ListBucket on arn:aws:s3:::index;", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(r *http.Request, _ func() *http.Response) (*http.Response, error) {
				if r.URL.Query().Has("list-type") {
					return refusal(403, "AccessDenied"), nil
				}
				return nil, nil
			}
		}},
		{"there is no bucket", `there is no bucket "other": create it, or correct Config.Bucket`, func(_ *fakeS3, c *s3store.Config) { c.Bucket = "other" }},
		{"another region", `bucket "index" is in region "us-west-2", and Config.AWS.Region is "eu-central-1": correct that`, func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) {
				r := refusal(301, "PermanentRedirect")
				r.Header.Set("X-Amz-Bucket-Region", "us-west-2")
				return r, nil
			}
		}},
		{"a clock", "this machine's clock and the service's differ: set the clock", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) {
				return refusal(403, "RequestTimeTooSkewed"), nil
			}
		}},
		{"a wrong secret, not quoted", "are secret key, region and endpoint right? (SignatureDoesNotMatch, request R1)", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) {
				return refusal(403, "SignatureDoesNotMatch"), nil
			}
		}},
		{"full", "the bucket or the service is full", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(r *http.Request, _ func() *http.Response) (*http.Response, error) {
				if r.Header.Get("If-None-Match") != "" {
					return refusal(403, "QuotaExceeded"), nil
				}
				return nil, nil
			}
		}},
		{"throttled", "the service is throttling", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) {
				return refusal(503, "SlowDown"), nil
			}
		}},
		{"not reached", "the service could not be reached; is it up, and is the endpoint right?", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) { return nil, errCut }
		}},
		{"it hangs", "no answer within 30s (Config.Timeout)", func(f *fakeS3, _ *s3store.Config) { f.fault = hang }},
		{"writes are lost", "doesn't hold what was just written: the service isn't consistent", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(r *http.Request, do func() *http.Response) (*http.Response, error) {
				f.mu.Lock()
				writes := f.writes
				f.mu.Unlock()
				if r.Method == http.MethodGet && writes == 2 && r.URL.Path != "/" {
					return answer(200, []byte(`{"probe":1}`), http.Header{"Etag": {`"x"`}}), nil
				}
				return nil, nil
			}
		}},
		{"everything has an answer", "this answers every name with something", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(r *http.Request, _ func() *http.Response) (*http.Response, error) {
				if r.URL.Query().Has("list-type") {
					return nil, nil
				}
				return answer(200, []byte("<html>"), nil), nil
			}
		}},
		{"it isn't S3", "the answer isn't one of S3's: is the endpoint right?", func(f *fakeS3, _ *s3store.Config) {
			f.fault = func(*http.Request, func() *http.Response) (*http.Response, error) {
				return answer(200, []byte("<html>"), nil), nil
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				cfg := f.config()
				test.set(f, &cfg)
				_, err := s3store.Open(t.Context(), cfg)
				require.ErrorContains(t, err, test.want)
				require.ErrorContains(t, err, "s3store: open s3://"+cfg.Bucket+"/metadata/: ")
				require.NotContains(t, err.Error(), "%!")
				if strings.Contains(test.name, "not quoted") {
					require.NotContains(t, err.Error(), "it says why")
				}
				if !f.denies["DELETE"] {
					require.Empty(t, f.keys())
				}
			})
		})
	}
}

func TestConfigRefused(t *testing.T) {
	for want, set := range map[string]func(*s3store.Config){
		"AWS has no credentials":     func(c *s3store.Config) { c.AWS.Credentials = nil },
		"AWS has no Region":          func(c *s3store.Config) { c.AWS.Region = "" },
		"Bucket is empty":            func(c *s3store.Config) { c.Bucket = "" },
		`Bucket is "index/metadata"`: func(c *s3store.Config) { c.Bucket = "index/metadata" },
		`Prefix is "metadata"`:       func(c *s3store.Config) { c.Prefix = "metadata" },
		`Prefix is "/"`:              func(c *s3store.Config) { c.Prefix = "/" },
		`Prefix is "a//b/"`:          func(c *s3store.Config) { c.Prefix = "a//b/" },
		`Prefix is "a/../"`:          func(c *s3store.Config) { c.Prefix = "a/../" },
		"Timeout is -1ns":            func(c *s3store.Config) { c.Timeout = -1 },
		`PublicURL is "x.org/"`:      func(c *s3store.Config) { c.PublicURL = "x.org/" },
		`PublicURL is "http://x"`:    func(c *s3store.Config) { c.PublicURL = "http://x" },
	} {
		f := newFake()
		cfg := f.config()
		set(&cfg)
		_, err := s3store.Open(t.Context(), cfg)
		require.ErrorContains(t, err, "s3store: config: "+want)
		require.Empty(t, f.calls)
	}
}

// Open that is ended removes what it wrote.
func TestOpenEnded(t *testing.T) {
	for n := range 10 {
		f := newFake()
		ctx, cancel := context.WithCancel(t.Context())
		left := n
		f.fault = func(r *http.Request, do func() *http.Response) (*http.Response, error) {
			f.mu.Lock()
			left--
			end := left < 0
			f.mu.Unlock()
			if end && ctx.Err() == nil {
				do()
				cancel()
				return nil, ctx.Err()
			}
			return nil, nil
		}
		_, err := s3store.Open(ctx, f.config())
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, f.keys(), n)
		cancel()
	}
}

func TestOpenWarns(t *testing.T) {
	const (
		versioned = "the bucket keeps old versions, so deleting frees no space: have a lifecycle rule delete noncurrent versions, or suspend versioning"
		locked    = "the bucket can lock objects, so deleting frees no space before their retention ends: use a bucket without Object Lock"
		unasked   = "it could not be asked whether the bucket keeps old versions or locks objects, where deleting frees no space: grant the credentials %s on arn:aws:s3:::index, or make sure that it doesn't"
		failed    = "whether deleting frees space in the bucket could not be asked: it is asked again at the next start"
		both      = "versioning object-lock"
	)
	for _, test := range []struct {
		answers map[string]string
		refuse  string // what is asked
		status  int
		want    []string
	}{
		{nil, "", 0, nil},
		{map[string]string{"versioning": `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`}, "", 0, []string{versioned}},
		{map[string]string{"versioning": `<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>`}, "", 0, nil},
		{map[string]string{"object-lock": `<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>`}, "", 0, []string{locked}},
		{nil, both, 403, []string{fmt.Sprintf(unasked, "s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration")}},
		{nil, "versioning", 403, []string{fmt.Sprintf(unasked, "s3:GetBucketVersioning")}},
		{map[string]string{"versioning": `<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>`}, "object-lock", 403,
			[]string{versioned, fmt.Sprintf(unasked, "s3:GetBucketObjectLockConfiguration")}},
		{nil, "versioning", 500, []string{failed}},
		{nil, both, 501, nil}, // the service has nothing of the kind
		{nil, both, 405, nil},
	} {
		f := newFake()
		f.answers = test.answers
		f.fault = func(r *http.Request, _ func() *http.Response) (*http.Response, error) {
			for _, asked := range strings.Fields(test.refuse) {
				if r.URL.Query().Has(asked) {
					return refusal(test.status, "AccessDenied"), nil
				}
			}
			return nil, nil
		}
		var log bytes.Buffer
		cfg := f.config()
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		_, err := s3store.Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, 1+len(test.want), strings.Count(log.String(), "level=WARN"))
		require.Contains(t, log.String(), "PublicURL is not set")
		for _, want := range test.want {
			require.Contains(t, log.String(), fmt.Sprintf("msg=%q bucket=s3://index/metadata/", want))
		}
	}
}
