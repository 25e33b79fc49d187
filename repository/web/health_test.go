package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/service"
	"github.com/bindery-tuf/bindery/repository/web"
)

// says is a repository that says how it is.
type says struct {
	status repository.Status
	err    error
}

func (s says) Status(context.Context) (repository.Status, error) { return s.status, s.err }

// What says how it is.
var _ = []web.Statuser{(*repository.Repository)(nil), (*service.Service)(nil)}

func TestHealth(t *testing.T) {
	warning := repository.Problem{Severity: repository.SeverityWarning, What: "root expires soon"}
	bad := repository.Problem{Severity: repository.SeverityError, What: "the disk is full"}
	for _, test := range []struct {
		repo says
		code int
	}{
		{says{}, 200},
		{says{status: repository.Status{Generation: 7, Problems: []repository.Problem{warning}}}, 200},
		{says{status: repository.Status{Problems: []repository.Problem{bad, warning}, Err: errors.New("full")}}, 503},
		{says{status: repository.Status{Problems: []repository.Problem{warning, bad}}}, 503},
	} {
		code, body := send(t, web.Health(test.repo), httptest.NewRequest("GET", "/health", nil))
		require.Equal(t, test.code, code)
		want, err := json.Marshal(test.repo.status)
		require.NoError(t, err)
		require.JSONEq(t, string(want), body)
	}
	for err, want := range map[error]int{
		errors.New("gone"): 500,
		fmt.Errorf("service: %w", repository.ErrLocked): 503,
	} {
		code, body := send(t, web.Health(says{err: err}), httptest.NewRequest("GET", "/health", nil))
		require.Equal(t, want, code)
		require.JSONEq(t, fmt.Sprintf(`{"error": %q}`, err), body)
	}
}
