package web_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/repository/web"
)

func TestStatusCode(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
	}{
		{nil, 200},
		{repository.ErrInvalid, 400},
		{repository.ErrSignedByPeople, 403},
		{repository.ErrNotPublished, 404},
		{repository.ErrUnknownItem, 404},
		{repository.ErrIDReused, 409},
		{repository.ErrRefused, 409},
		{repository.ErrLocksOut, 409},
		{repository.ErrWrongKey, 409},
		{repository.ErrBeingDeleted, 409},
		{repository.ErrSetAside, 422},
		{repository.ErrUnknown, 502},
		{repository.ErrBusy, 503},
		{service.ErrUnavailable, 503},
		{repository.ErrClosed, 503},
		{repository.ErrLocked, 503},
		{repository.ErrFenced, 503},
		{repository.ErrExpired, 503},
		{repository.ErrClock, 503},
		{context.Canceled, 503},
		{context.DeadlineExceeded, 504},
		{&fs.PathError{Op: "write", Path: "a", Err: syscall.ENOSPC}, 507},

		{io.ErrUnexpectedEOF, 500},
		{repository.ErrNotExist, 500}, // of metadata: that is no client's fault
		{repository.ErrConflict, 500},
		{repository.ErrDiverged, 500},

		{errors.Join(context.Canceled, repository.ErrUnknown), 502},
		{errors.Join(repository.ErrClosed, repository.ErrUnknown), 502},
		{errors.Join(context.DeadlineExceeded, repository.ErrBusy), 503},
		{errors.Join(service.ErrUnavailable, repository.ErrUnknown), 502},
		{errors.Join(service.ErrUnavailable, context.DeadlineExceeded), 503},
		{errors.Join(service.ErrUnavailable, syscall.ENOSPC), 503},
		{errors.Join(repository.ErrUnknown, syscall.ENOSPC), 502},
	} {
		require.Equal(t, test.status, web.StatusCode(test.err), "%v", test.err)
		if test.err != nil {
			require.Equal(t, test.status, web.StatusCode(fmt.Errorf("submit: %w", test.err)), "%v", test.err)
		}
	}
}
