package s3store_test

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository/s3store"
)

const index = "index" // the bucket

// fakeS3 is S3 with one bucket, as far as the package uses it, without a network. It has the faults that a
// test gives it, and does what a service under test can't be made to do.
type fakeS3 struct {
	mu      sync.Mutex
	objects map[string]object
	calls   []string // METHOD KEY, of all requests that arrived
	writes  int

	ignores    string            // a header of conditions that it doesn't know
	without404 bool              // the credentials may not list
	denies     map[string]bool   // methods
	answers    map[string]string // to GET ?QUERY of the bucket
	pageSize   int

	// fault, if any, sees each request. It answers in place of the service, or returns nil, and may
	// have called do, which is the service.
	fault func(r *http.Request, do func() *http.Response) (*http.Response, error)
}

type object struct {
	data   []byte
	etag   string
	header http.Header // of the request that wrote it
}

func newFake() *fakeS3 {
	return &fakeS3{objects: map[string]object{}, denies: map[string]bool{}, answers: map[string]string{}, pageSize: 1000}
}

// config is how a store reaches the service.
func (f *fakeS3) config() s3store.Config {
	return s3store.Config{
		AWS: aws.Config{
			Region:      "eu-central-1",
			Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
			HTTPClient:  f,
		},
		Bucket: index,
		Prefix: "metadata/",
	}
}

func (f *fakeS3) open(t *testing.T) *s3store.Store {
	t.Helper()
	s, err := s3store.Open(t.Context(), f.config())
	require.NoError(t, err)
	f.calls = nil
	return s
}

// keys returns what there is.
func (f *fakeS3) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.objects))
}

// Do is the client of HTTP that the SDK is given.
func (f *fakeS3) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	body := []byte(nil)
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	do := func() *http.Response {
		f.mu.Lock()
		defer f.mu.Unlock()
		response := f.serve(r, body)
		response.Request, response.ProtoMajor, response.ProtoMinor = r, 1, 1
		return response
	}
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+strings.TrimPrefix(r.URL.Path, "/"))
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		if response, err := fault(r, do); response != nil || err != nil {
			return response, err
		}
	}
	return do(), nil
}

func (f *fakeS3) serve(r *http.Request, body []byte) *http.Response {
	if host, _, _ := strings.Cut(r.URL.Host, "."); host != index {
		return refusal(404, "NoSuchBucket")
	}
	if f.denies[r.Method] {
		return refusal(403, "AccessDenied")
	}
	key := strings.TrimPrefix(r.URL.Path, "/")
	if key == "" {
		return f.bucket(r.URL.Query())
	}
	have, exists := f.objects[key]
	switch r.Method {
	case http.MethodGet:
		if !exists && f.without404 {
			return refusal(403, "AccessDenied")
		}
		if !exists {
			return refusal(404, "NoSuchKey")
		}
		h := http.Header{"Etag": {have.etag}}
		if sum := have.header.Get("X-Amz-Checksum-Crc32c"); sum != "" {
			h.Set("X-Amz-Checksum-Crc32c", sum)
		}
		return answer(200, have.data, h)
	case http.MethodDelete:
		delete(f.objects, key)
		return answer(204, nil, nil)
	case http.MethodPut:
		if unmet := r.Header.Get("If-None-Match"); unmet == "*" && exists && f.ignores != "If-None-Match" {
			return refusal(412, "PreconditionFailed")
		}
		if want := r.Header.Get("If-Match"); want != "" && f.ignores != "If-Match" {
			if !exists {
				return refusal(404, "NoSuchKey")
			}
			if want != have.etag {
				return refusal(412, "PreconditionFailed")
			}
		}
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
		if want := r.Header.Get("X-Amz-Checksum-Crc32c"); want != "" && want != base64.StdEncoding.EncodeToString(sum) {
			return refusal(400, "BadDigest")
		}
		f.writes++
		etag := fmt.Sprintf(`"%x"`, md5.Sum(body))
		f.objects[key] = object{body, etag, r.Header.Clone()}
		return answer(200, nil, http.Header{"Etag": {etag}})
	}
	return refusal(405, "MethodNotAllowed")
}

func (f *fakeS3) bucket(query url.Values) *http.Response {
	for name, body := range f.answers {
		if query.Has(name) {
			return answer(200, []byte(body), nil)
		}
	}
	if query.Has("object-lock") {
		return refusal(404, "ObjectLockConfigurationNotFoundError")
	}
	if query.Get("list-type") != "2" {
		return answer(200, []byte(`<VersioningConfiguration/>`), nil)
	}
	type content struct {
		Key  string
		Size int
	}
	var page struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Contents              []content
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
	}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		name, ok := strings.CutPrefix(key, query.Get("prefix"))
		if !ok || key <= query.Get("continuation-token") || query.Get("delimiter") == "/" && strings.Contains(name, "/") {
			continue
		}
		if len(page.Contents) == f.pageSize {
			page.IsTruncated, page.NextContinuationToken = true, page.Contents[len(page.Contents)-1].Key
			break
		}
		page.Contents = append(page.Contents, content{key, len(f.objects[key].data)})
	}
	body, err := xml.Marshal(page)
	if err != nil {
		panic(err)
	}
	return answer(200, body, nil)
}

func answer(status int, body []byte, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func refusal(status int, code string) *http.Response {
	return answer(status, fmt.Appendf(nil, `<Error><Code>%s</Code><Message>it says why</Message></Error>`, code), http.Header{"X-Amz-Request-Id": {"R1"}})
}

var errCut = errors.New("connection reset by peer")
