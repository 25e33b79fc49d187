// Package interrupt ends with a context what would wait for somebody else's input.
package interrupt

import (
	"context"
	"io"
)

// Await returns what wait returns, or the context's error if the context ends first.
// Then wait goes on in a goroutine of its own, and its result is dropped. If the
// context has ended already, wait isn't called.
func Await[T any](ctx context.Context, wait func() (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := wait()
		done <- result{value, err}
	}()
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// Reader returns a reader of r that fails with the context's error once the context
// has ended. A Read of r that is under way is not interrupted.
func Reader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
