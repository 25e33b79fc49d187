// Package s3test starts a throw-away S3 service on the loopback address: versitygw, which keeps buckets
// as folders. Its conditional writes are free of races; it is no test of durability.
//
// A test calls Need. A program calls Start:
//
//	server, err := s3test.Start(ctx, dir)
//	...
//	defer server.Close()
//	err = server.CreateBucket(ctx, "metadata", true)
//
// The package has no client of S3's but for what sets up a bucket.
package s3test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bindery-tuf/bindery/internal/pinned"
)

// The credentials of a Server, and its region.
const (
	AccessKey = "bindery"
	SecretKey = "a secret of tests"
	Region    = "us-east-1"
)

// Server is a running versitygw.
type Server struct {
	// URL is the endpoint. Buckets are addressed by path: URL/BUCKET/NAME. Stop and Restart keep it.
	URL string

	program, dir, address string
	mu                    sync.Mutex
	cmd                   *exec.Cmd // nil while stopped
	done                  chan struct{}
	log                   bytes.Buffer // of cmd; may be read once done is closed
}

// Start runs versitygw on a port that the system chooses. It keeps its buckets in dir, which must
// exist, on a file system with extended attributes, and may be one that another Server used. The program is built once, with the versions that
// internal/versitygw pins, and kept in the user's cache.
func Start(ctx context.Context, dir string) (*Server, error) {
	program, err := pinned.Build(ctx, "internal/versitygw", "github.com/versity/versitygw/cmd/versitygw")
	if err != nil {
		return nil, fmt.Errorf("versitygw: %w", err)
	}
	for range 5 { // another process may take the port meanwhile
		var l net.Listener
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		s := &Server{program: program, dir: dir, address: l.Addr().String(), URL: "http://" + l.Addr().String()}
		l.Close()
		if err = s.Restart(ctx); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// Restart starts the service again, after Stop, at the same URL. It returns once the service answers.
func (s *Server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("versitygw: already running")
	}
	buckets, users := filepath.Join(s.dir, "buckets"), filepath.Join(s.dir, "users")
	for _, dir := range []string{buckets, users} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	// Not with --sidecar: an object's ETag and CRC would be replaced after its content, and a reader could
	// get one of each.
	cmd := exec.Command(s.program, "--port", s.address, "--region", Region, "--iam-dir", users, "--quiet", "--keep-alive",
		"posix", buckets)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKey, "ROOT_SECRET_KEY="+SecretKey)
	s.log.Reset()
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("versitygw: %w", err)
	}
	done := make(chan struct{})
	go func() {
		cmd.Wait() // it is killed, and its error says only that
		close(done)
	}()
	s.cmd, s.done = cmd, done

	client := http.Client{Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if response, err := client.Get(s.URL); err == nil {
			response.Body.Close()
			return nil
		}
		select {
		case <-done:
			s.cmd = nil
			return fmt.Errorf("versitygw ended: %s", s.log.String())
		case <-ctx.Done():
			s.stop()
			return fmt.Errorf("versitygw doesn't answer at %s: %w", s.URL, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Process is the running service, for signals such as SIGSTOP. It is nil while the service is stopped.
func (s *Server) Process() *os.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	return s.cmd.Process
}

// Stop kills the service, which can't finish what it was doing, and waits for its end. The buckets
// stay. Stopping a stopped one does nothing.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// Close is Stop. The buckets stay in the folder that was given to Start.
func (s *Server) Close() { s.Stop() }

// CreateBucket makes an empty bucket. If public is true, people without credentials may read and list
// it, and get 404 for a missing name. (S3 answers 403 to those who may not list; versitygw doesn't.)
func (s *Server) CreateBucket(ctx context.Context, bucket string, public bool) error {
	if err := s.Do(ctx, http.MethodPut, "/"+bucket, nil); err != nil || !public {
		return err
	}
	return s.Do(ctx, http.MethodPut, "/"+bucket+"?policy=", fmt.Appendf(nil,
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":["s3:GetObject","s3:ListBucket"],`+
			`"Resource":["arn:aws:s3:::%s","arn:aws:s3:::%[1]s/*"]}]}`, bucket))
}

// Do makes one signed request. The target is the path and the query, in which names are sorted and all is
// escaped. Another status than 2xx is an error.
func (s *Server) Do(ctx context.Context, method, target string, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, method, s.URL+target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	sign(request, body, time.Now().UTC())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("versitygw: %s %s: %s: %s", method, target, response.Status, answer)
	}
	return err
}

// sign adds the headers of AWS Signature Version 4.
func sign(request *http.Request, body []byte, now time.Time) {
	sum := sha256.Sum256(body)
	payload, stamp := hex.EncodeToString(sum[:]), now.Format("20060102T150405Z")
	request.Header.Set("X-Amz-Content-Sha256", payload)
	request.Header.Set("X-Amz-Date", stamp)
	const signed = "host;x-amz-content-sha256;x-amz-date"
	canonical := strings.Join([]string{
		request.Method, request.URL.EscapedPath(), request.URL.RawQuery,
		"host:" + request.URL.Host, "x-amz-content-sha256:" + payload, "x-amz-date:" + stamp, "",
		signed, payload,
	}, "\n")
	sum = sha256.Sum256([]byte(canonical))
	scope := []string{stamp[:8], Region, "s3", "aws4_request"}
	text := strings.Join([]string{"AWS4-HMAC-SHA256", stamp, strings.Join(scope, "/"), hex.EncodeToString(sum[:])}, "\n")
	key := []byte("AWS4" + SecretKey)
	for _, part := range append(scope, text) {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(part))
		key = mac.Sum(nil)
	}
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x",
		AccessKey, strings.Join(scope, "/"), signed, key))
}

// Object is the URL of a name in a bucket, for people without credentials.
func (s *Server) Object(bucket, name string) string {
	return s.URL + "/" + url.PathEscape(bucket) + "/" + name
}
