package repository_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/audit"
)

const day = 24 * time.Hour

// Offline documents expire after a year, and nobody holds a ceremony: every place where an
// operator or an index looks says so, and what clients do.
func TestExpiredDocumentsAreErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		var log bytes.Buffer
		e.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		expires := time.Now().UTC().Truncate(time.Second).Add(25 * day)
		e.ceremony = repotest.NewCeremony(t, mustBins(t, 4), expires.AddDate(-1, 0, 0))
		e.cfg.Bins, e.cfg.Snapshot, e.cfg.Timestamp = e.ceremony.Bins, e.ceremony.Online, e.ceremony.Online
		e.create()
		first := e.add(file("a", "1"))
		e.run(func() {
			e.wait(first, repository.Published)
			time.Sleep(time.Until(expires) - 20*day)
			s, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.NoError(t, s.Err)
			time.Sleep(10 * day)
		})
		require.NotContains(t, log.String(), "level=ERROR")
		require.Contains(t, log.String(), `level=WARN msg="an offline document expires soon: hold a ceremony" role=bins`)

		log.Reset()
		e.run(func() { time.Sleep(time.Until(expires) + 3*day) })
		require.Contains(t, log.String(), `level=ERROR msg="root version 1 expired 2 days ago, at `+expires.Format(time.RFC3339)+`: clients refuse everything, until a newer one is installed"`)
		require.Greater(t, strings.Count(log.String(), `msg="root version 1 expired`), 3, "more often than once a day")
		require.NotContains(t, log.String(), "days=-")

		later := e.add(file("b", "1"))
		e.run(func() {
			for _, r := range []*repository.Receipt{first, later} {
				o, err := r.Wait(t.Context())
				require.Equal(t, repository.Published, o.State)
				require.ErrorIs(t, err, repository.ErrExpired)
				require.ErrorContains(t, err, "and clients can't see it: root version 1 expired 3 days ago, at "+expires.Format(time.RFC3339))
				require.ErrorContains(t, err, "targets version 1 expired 3 days ago")
				require.ErrorContains(t, err, "bins version 1 expired 3 days ago")
			}
		})
		read, err := repository.ReadStatus(t.Context(), e.store, e.journal.Handle())
		require.NoError(t, err)
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		for _, err := range []error{s.Err, read.Err} {
			require.ErrorIs(t, err, repository.ErrExpired)
			require.ErrorContains(t, err, "targets version 1 expired 3 days ago")
			require.NotContains(t, err.Error(), "timestamp")
		}
		var found []string
		for f, err := range audit.Run(t.Context(), e.store, audit.Config{}) {
			require.NoError(t, err)
			if f.Severity == audit.Note {
				continue
			}
			require.Equal(t, audit.Error, f.Severity)
			require.Contains(t, f.Problem, "it expired 3 days ago, at "+expires.Format(time.RFC3339)+": clients refuse ")
			found = append(found, f.Name)
		}
		require.Equal(t, []string{"1.root.json", "1.targets.json", "1.bins.json"}, found)

		e.ceremony.Now = time.Now()
		require.NoError(t, e.install(repository.Documents{Roots: [][]byte{e.ceremony.NextRoot(nil)}}))
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"targets": e.ceremony.NextTargets(nil)}}))
		require.NoError(t, e.install(repository.Documents{Roles: map[string][]byte{"bins": e.ceremony.NextBins(nil)}}))
		e.wait(later, repository.Published)
		s, err = e.repo.Status(t.Context())
		require.NoError(t, err)
		require.NoError(t, s.Err)
		e.checkNewest()
		e.close()
	})
}

// A publisher that stood still leaves a timestamp that has expired: what was published is no
// more seen than with an expired root.
func TestExpiredTimestampIsAnError(t *testing.T) {
	inBubble(t, 4, delegation.Succinct, func(t *testing.T, e *env) {
		r := e.add(file("a", "1"))
		e.run(func() { e.wait(r, repository.Published) })
		time.Sleep(8 * day)
		_, err := r.Wait(t.Context())
		require.ErrorIs(t, err, repository.ErrExpired)
		require.ErrorContains(t, err, "timestamp version 2 expired 7 days ago")
		s, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, s.Err, "a bin expired 24h0m0s ago")
		e.run(func() {
			synctest.Wait()
			time.Sleep(time.Second)
			e.wait(r, repository.Published)
		})
		e.check()
	})
}

// A document in another part of the tree hides nothing of what clients don't search there.
func TestExpiredElsewhere(t *testing.T) {
	shapes := repotest.Shapes()
	s := shapes[slices.IndexFunc(shapes, func(s repotest.Shape) bool { return s.Owned["claimed/other"] != "" })]
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 4, delegation.Succinct)
		e.cfg.Signers = s.Signers(e.ceremony)
		docs := repository.Documents{Roles: s.Documents(e.ceremony, 1)}
		e.ceremony.Now = time.Now().AddDate(-1, 0, 5)
		docs.Roles["claimed"] = s.Documents(e.ceremony, 1)["claimed"]
		docs.Roots = e.ceremony.Documents().Roots
		var err error
		e.repo, err = repository.Create(t.Context(), e.config(), docs)
		require.NoError(t, err)
		r := e.add(file("packages/a", "1"))
		e.run(func() {
			time.Sleep(6 * day)
			e.wait(r, repository.Published)
			status, err := e.repo.Status(t.Context())
			require.NoError(t, err)
			require.ErrorIs(t, status.Err, repository.ErrExpired)
			require.ErrorContains(t, status.Err, "claimed version 1 expired 24h0m")
			require.NotContains(t, status.Err.Error(), "targets version")
		})
		e.close()
	})
}
