package web_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/web"
)

// zeros is a store whose files are larger than what connections hold on the way.
type zeros struct{ repository.Store }

func (zeros) Get(context.Context, string) ([]byte, error) { return make([]byte, 64<<20), nil }

// Without a deadline the handler would never return.
func TestClientThatStalls(t *testing.T) {
	h := web.Handler(web.Config{Store: zeros{}, Stall: time.Millisecond})
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		h.ServeHTTP(w, r)
	}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /metadata/7.bins-0a.json HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	<-ended
}

// A file is copied in parts, by the system, and a connection is good for a second one.
func TestStallServesFiles(t *testing.T) {
	content := make([]byte, 3<<20+7)
	rand.NewChaCha8([32]byte{}).Read(content)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, hash256+".x"), content, 0o600))
	srv := httptest.NewServer(web.Handler(web.Config{Files: web.Dir(os.DirFS(dir)), Stall: time.Hour}))
	defer srv.Close()
	for range 2 {
		resp, body := ask(t, "GET", srv.URL+"/targets/"+hash256+".x")
		require.Equal(t, int64(len(content)), resp.ContentLength)
		require.True(t, bytes.Equal(content, []byte(body)))
		_, body = ask(t, "GET", srv.URL+"/targets/"+hash256+".x", "Range", "bytes=1048570-2097200")
		require.True(t, bytes.Equal(content[1048570:2097201], []byte(body)))
	}
}
