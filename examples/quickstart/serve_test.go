package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Somebody who holds a connection open can't turn an interrupt into a failure.
func TestStopDespiteOpenConnections(t *testing.T) {
	under, release := make(chan struct{}), make(chan struct{})
	defer close(release)
	base, stop, err := listen("127.0.0.1:0", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(under)
		<-release
	}))
	require.NoError(t, err)
	for _, sent := range []string{"", "GET / HTTP/1.1\r\nHost:", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		require.NoError(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, sent)
		require.NoError(t, err)
	}
	<-under // so the connections made before it are known to the server too
	require.NoError(t, stop())
}
