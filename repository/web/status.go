package web

import (
	"context"
	"errors"
	"net/http"
	"syscall"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/service"
)

// statuses are in the order in which StatusCode looks. What an error says of the item comes first,
// then what it says of the machinery. ErrUnknown comes before its possible reasons, which it wraps.
var statuses = []struct {
	err    error
	status int
}{
	{repository.ErrInvalid, http.StatusBadRequest},
	{repository.ErrSignedByPeople, http.StatusForbidden},
	{repository.ErrIDReused, http.StatusConflict},
	{repository.ErrRefused, http.StatusConflict},
	{repository.ErrSetAside, http.StatusUnprocessableEntity},
	{repository.ErrNotPublished, http.StatusNotFound},
	{repository.ErrUnknownItem, http.StatusNotFound},
	{repository.ErrLocksOut, http.StatusConflict},
	{repository.ErrWrongKey, http.StatusConflict},
	{repository.ErrBeingDeleted, http.StatusConflict},

	{repository.ErrUnknown, http.StatusBadGateway},

	{repository.ErrBusy, http.StatusServiceUnavailable},
	{service.ErrUnavailable, http.StatusServiceUnavailable},
	{repository.ErrClosed, http.StatusServiceUnavailable},
	{repository.ErrLocked, http.StatusServiceUnavailable},
	{repository.ErrFenced, http.StatusServiceUnavailable},
	{repository.ErrExpired, http.StatusServiceUnavailable},
	{repository.ErrClock, http.StatusServiceUnavailable},
	{syscall.ENOSPC, http.StatusInsufficientStorage},
	{context.DeadlineExceeded, http.StatusGatewayTimeout},
	{context.Canceled, http.StatusServiceUnavailable},
}

// StatusCode returns the HTTP status for an error of Submit, Wait, Outcome, Lookup or Install.
//
//	nil                             200
//	ErrInvalid                      400  something is wrong with the item itself
//	ErrSignedByPeople               403  the path belongs to a role that people sign
//	ErrNotPublished                 404  Lookup: clients don't find the path
//	ErrUnknownItem                  404  no item with this ID is remembered
//	ErrIDReused                     409  the ID is another item's
//	ErrRefused                      409  a condition didn't hold: the path is published already
//	ErrLocksOut, ErrWrongKey        409  Install: the documents don't fit the repository
//	ErrBeingDeleted                 409  the target's file is being deleted: store it again, and repeat it later
//	ErrSetAside                     422  it can't be published; the error has the reason
//	ErrUnknown                      502  it may have been accepted: repeat it under the same ID
//	ErrBusy                         503  the queue is full: repeat it later
//	service.ErrUnavailable          503  the repository is being opened again: repeat it later
//	ErrClosed, ErrLocked, ErrFenced 503  this process doesn't publish (any more)
//	ErrExpired, ErrClock            503  clients refuse what is published; nothing is signed
//	context.Canceled                503  usually of a client that has gone
//	context.DeadlineExceeded        504
//	syscall.ENOSPC                  507  a disk is full: repeat it later
//	any other                       500
//
// An index that answers 503 sends Retry-After too. From 500 on, the error's text names disks and
// services: write it to the log, and don't send it to clients. If Submit succeeded and Wait ended
// with its context, the item is durable and will be published: that is 202, which StatusCode
// can't know.
func StatusCode(err error) int {
	if err == nil {
		return http.StatusOK
	}
	for _, s := range statuses {
		if errors.Is(err, s.err) {
			return s.status
		}
	}
	return http.StatusInternalServerError
}
