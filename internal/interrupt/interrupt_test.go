package interrupt_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/interrupt"
)

func TestAwait(t *testing.T) {
	broken := errors.New("broken")
	got, err := interrupt.Await(t.Context(), func() (int, error) { return 7, broken })
	require.Equal(t, 7, got)
	require.Equal(t, broken, err)

	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		answer := make(chan string)
		ended := make(chan error)
		go func() {
			_, err := interrupt.Await(ctx, func() (string, error) { return <-answer, nil })
			ended <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		answer <- "too late" // nobody is stuck with it
		_, err := interrupt.Await(ctx, func() (string, error) { panic("the context has ended") })
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := interrupt.Reader(ctx, strings.NewReader("text"))
	n, err := r.Read(make([]byte, 2))
	require.NoError(t, err)
	require.Equal(t, 2, n)
	cancel()
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, context.Canceled)
}
