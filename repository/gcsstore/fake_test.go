package gcsstore_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"

	"github.com/bindery-tuf/bindery/repository/gcsstore"
)

const index = "index" // the bucket

// fakeGCS is Google Cloud Storage with one bucket, as far as the package uses it, without a network. It has the
// faults that a test gives it.
type fakeGCS struct {
	mu         sync.Mutex
	objects    map[string]object
	generation int64
	calls      []string // METHOD KEY, of all requests that arrived
	writes     int

	ignores  string            // a condition: "0" that the object doesn't exist, or "generation"
	denies   map[string]string // METHOD to the code of the refusal
	bucket   string            // JSON, the bucket's attributes
	pageSize int

	// fault, if any, sees each request. It answers in place of the service, or returns nil, and may
	// have called do, which is the service.
	fault func(r *http.Request, do func() *http.Response) (*http.Response, error)
}

type object struct {
	data       []byte
	generation int64
	attributes map[string]any
}

func newFake() *fakeGCS {
	return &fakeGCS{objects: map[string]object{}, generation: 1_700_000_000_000_000, bucket: `{}`, pageSize: 1000}
}

// config is how a store reaches the service.
func (f *fakeGCS) config(t *testing.T) gcsstore.Config {
	t.Helper()
	client, err := storage.NewClient(t.Context(), option.WithHTTPClient(&http.Client{Transport: f}), storage.WithJSONReads())
	require.NoError(t, err)
	return gcsstore.Config{Client: client, Bucket: index, Prefix: "metadata/"}
}

func (f *fakeGCS) open(t *testing.T) *gcsstore.Store {
	t.Helper()
	s, err := gcsstore.Open(t.Context(), f.config(t))
	require.NoError(t, err)
	return s
}

// keys returns what there is.
func (f *fakeGCS) keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.objects))
}

// requests runs do and returns the requests that it made.
func (f *fakeGCS) requests(do func()) []string {
	f.mu.Lock()
	f.calls = nil
	f.mu.Unlock()
	do()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// RoundTrip is that of the client which the SDK is given.
func (f *fakeGCS) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		r.Body.Close()
	}
	attributes, content := parts(r, body)
	key, _ := attributes["name"].(string)
	if r.Method != http.MethodPost {
		_, escaped, _ := strings.Cut(r.URL.EscapedPath(), "/b/"+index+"/o/")
		key, _ = url.PathUnescape(escaped)
	}
	do := func() *http.Response {
		f.mu.Lock()
		defer f.mu.Unlock()
		response := f.serve(r, key, attributes, content)
		response.Request, response.ProtoMajor, response.ProtoMinor = r, 1, 1
		return response
	}
	f.mu.Lock()
	f.calls = append(f.calls, r.Method+" "+key)
	fault := f.fault
	f.mu.Unlock()
	if fault != nil {
		if response, err := fault(r, do); response != nil || err != nil {
			return response, err
		}
	}
	return do(), nil
}

// parts returns what an upload consists of.
func parts(r *http.Request, body []byte) (attributes map[string]any, content []byte) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method != http.MethodPost || err != nil {
		return nil, nil
	}
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	if part, err := reader.NextPart(); err == nil {
		json.NewDecoder(part).Decode(&attributes)
	}
	if part, err := reader.NextPart(); err == nil {
		content, _ = io.ReadAll(part)
	}
	return attributes, content
}

func (f *fakeGCS) serve(r *http.Request, key string, attributes map[string]any, content []byte) *http.Response {
	if !strings.Contains(r.URL.Path, "/b/"+index) {
		return refusal(404, "The specified bucket does not exist.")
	}
	if said := f.denies[r.Method+" "+r.URL.Query().Get("prettyPrint")]; said != "" {
		return refusal(403, said)
	}
	if said := f.denies[r.Method]; said != "" {
		return refusal(403, said)
	}
	have, exists := f.objects[key]
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPost:
		want := query.Get("ifGenerationMatch")
		met := want == fmt.Sprint(have.generation)
		if !met && !(f.ignores == "0" && want == "0" || f.ignores == "generation" && want != "0") {
			return refusal(412, "At least one of the pre-conditions you specified did not hold.")
		}
		if sum, ok := attributes["crc32c"]; ok && sum != crc(content) {
			return refusal(400, "Provided CRC32C doesn't match calculated CRC32C.")
		}
		f.generation++
		f.writes++
		f.objects[key] = object{content, f.generation, attributes}
		return answer(200, fmt.Appendf(nil, `{"name":%q,"generation":"%d","size":"%d"}`, key, f.generation, len(content)), nil)
	case key == "" && strings.HasSuffix(r.URL.Path, "/o"):
		return f.list(query)
	case key == "":
		return answer(200, []byte(f.bucket), nil)
	case r.Method == http.MethodDelete:
		if !exists {
			return refusal(404, "No such object: "+key)
		}
		delete(f.objects, key)
		return answer(204, nil, nil)
	case !exists || query.Has("generation") && query.Get("generation") != fmt.Sprint(have.generation):
		return refusal(404, "No such object: "+key)
	case query.Get("alt") == "media":
		return answer(200, have.data, http.Header{
			"X-Goog-Generation": {fmt.Sprint(have.generation)}, "X-Goog-Hash": {"crc32c=" + crc(have.data)},
			"Content-Length": {fmt.Sprint(len(have.data))},
		})
	}
	return answer(200, fmt.Appendf(nil, `{"name":%q,"generation":"%d","size":"%d"}`, key, have.generation, len(have.data)), nil)
}

func crc(data []byte) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))))
}

func (f *fakeGCS) list(query url.Values) *http.Response {
	type item struct {
		Name string `json:"name"`
		Size string `json:"size"`
	}
	var page struct {
		Items         []item `json:"items"`
		NextPageToken string `json:"nextPageToken,omitempty"`
	}
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		name, ok := strings.CutPrefix(key, query.Get("prefix"))
		if !ok || key <= query.Get("pageToken") || query.Get("delimiter") == "/" && strings.Contains(name, "/") {
			continue
		}
		if len(page.Items) == f.pageSize {
			page.NextPageToken = page.Items[len(page.Items)-1].Name
			break
		}
		page.Items = append(page.Items, item{key, fmt.Sprint(len(f.objects[key].data))})
	}
	body, err := json.Marshal(page)
	if err != nil {
		panic(err)
	}
	return answer(200, body, nil)
}

func answer(status int, body []byte, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{"Content-Type": {"application/json"}}
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func refusal(status int, said string) *http.Response {
	return answer(status, fmt.Appendf(nil, `{"error":{"code":%d,"message":%q}}`, status, said), nil)
}

var errCut = errors.New("connection reset by peer")
