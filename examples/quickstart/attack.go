package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// attack is one lie of a proxy, and how a client must find it out.
type attack struct {
	what  string // is altered, and how
	stops string // whom the refusal stops
	kind  string // of the files that are altered
	alter func(body []byte) []byte

	refusal error
}

func attacks(victim file) []attack {
	content := attack{
		what:    "alters one bit of the file " + shortened(victim.path, maxPhrase),
		stops:   "a mirror, CDN or anybody on the way that serves another file than was published",
		kind:    kindFile,
		alter:   flipMiddle,
		refusal: &metadata.ErrLengthOrHashMismatch{},
	}
	if victim.size == 0 {
		content.what = "adds a byte to the empty file " + shortened(victim.path, maxPhrase)
		content.alter = func(body []byte) []byte { return append(body, 1) }
		content.refusal = &metadata.ErrDownloadLengthMismatch{}
	}
	return []attack{content, {
		what:    "alters one bit of the hash of that file in its bin",
		stops:   "the same with metadata made to fit: whoever wants that needs an online key",
		kind:    kindBin,
		alter:   func(body []byte) []byte { return flipHash(body, victim.path) },
		refusal: &metadata.ErrUnsignedMetadata{},
	}}
}

// attack puts a proxy between client and index that alters a single bit, first of
// a file and then of the metadata about it.
func (x *index) attack(p *printer, dir string, victim file) error {
	p.title("The same client behind a proxy that lies")
	for i, a := range attacks(victim) {
		refusal, err := x.withstand(a, filepath.Join(dir, a.kind), victim)
		if err != nil {
			return fmt.Errorf("a proxy %s, and %w", a.what, err)
		}
		if i > 0 {
			p.blank()
		}
		p.line("The proxy %s. The client says:", a.what)
		p.line("   %s", shortened(refusal.Error(), maxLine))
		p.line("This stops %s.", a.stops)
	}
	return nil
}

// withstand returns the client's reason to refuse the victim that the proxy altered. It is
// an error if the client doesn't refuse, or does so for another reason.
func (x *index) withstand(a attack, dir string, victim file) (refusal, err error) {
	var altered atomic.Int64
	proxy, err := lyingProxy(x.url, a, &altered)
	if err != nil {
		return nil, err
	}
	base, stop, err := listen("127.0.0.1:0", proxy)
	if err != nil {
		return nil, err
	}
	c, err := newClient(x, base, dir)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	_, refusal = c.download(victim.path)
	if err := stop(); err != nil {
		return nil, err
	}
	switch {
	case refusal == nil:
		return nil, errors.New("the client accepts it")
	case altered.Load() == 0 || !errors.Is(refusal, a.refusal):
		return nil, fmt.Errorf("the client failed for another reason: %w", refusal)
	}
	return refusal, nil
}

// lyingProxy forwards to the server at base and lies.
func lyingProxy(base string, a attack, altered *atomic.Int64) (http.Handler, error) {
	target, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: func(r *http.Response) error {
			name := r.Request.URL.Path[strings.LastIndexByte(r.Request.URL.Path, '/')+1:]
			if r.StatusCode != http.StatusOK || kindOf(name) != a.kind {
				return nil
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			altered.Add(1)
			body = a.alter(body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.ContentLength = int64(len(body))
			r.Header.Set("Content-Length", strconv.Itoa(len(body)))
			return nil
		},
	}, nil
}

// flipMiddle flips one bit in the middle of a file that isn't empty.
func flipMiddle(body []byte) []byte {
	body[len(body)/2] ^= 1
	return body
}

// flipHash flips one bit in a digit of the SHA-256 of path in a bin, so that it is
// still a hash. In canonical JSON the entry of a path begins in one way only, even
// if the path is called "hashes".
func flipHash(body []byte, path string) []byte {
	_, entry, _ := bytes.Cut(body, []byte(`"`+strings.ReplaceAll(path, `"`, `\"`)+`":{"hashes":{`))
	if _, hash, ok := bytes.Cut(entry, []byte(`"sha256":"`)); ok {
		i := bytes.IndexAny(hash, "0123456789")
		body[len(body)-len(hash)+i] ^= 1
	}
	return body
}
