package web

import (
	"context"
	"net/http"

	"github.com/bindery-tuf/bindery/repository"
)

// Statuser is a repository that says how it is, such as *repository.Repository or
// *service.Service.
type Statuser interface {
	Status(ctx context.Context) (repository.Status, error)
}

// Health answers with the Status as JSON: 503 while a problem is of repository.SeverityError,
// and 200 otherwise. If there is no Status, it is {"error": "…"} under the status of StatusCode.
//
// The answer names paths of disks and services of keys, in errors. Show it to operators only.
// A problem is often one of publishing, and downloads work all the same: a load balancer that
// takes a 503 for a dead server should ask something else.
func Health(repo Statuser) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, err := repo.Status(r.Context())
		if err != nil {
			fail(w, StatusCode(err), err)
			return
		}
		code := http.StatusOK
		for _, p := range status.Problems {
			if p.Severity == repository.SeverityError {
				code = http.StatusServiceUnavailable
			}
		}
		answer(w, code, status)
	})
}
