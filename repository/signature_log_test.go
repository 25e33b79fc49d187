package repository_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/internal/faulty"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/ledger"
)

// signatureLine is a line of the log of signatures.
type signatureLine struct {
	Msg        string `json:"msg"`
	Key        string `json:"key"`
	Role       string `json:"role"`
	Version    int64  `json:"version"`
	Generation int64  `json:"generation"`
}

// The log of signatures and the ledger agree: each signature that a seal shows is in the log, by the same key, and
// each generation in the log that was never sealed is marked as burnt.
func TestSignatureLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEnv(t, 16, delegation.Succinct)
		var log bytes.Buffer
		signatures := repository.LogSignatures(slog.New(slog.NewJSONHandler(&log, nil)))
		e.cfg.Observe = signatures
		bins := &counting{Signer: e.ceremony.Bins}
		e.cfg.Bins = bins
		e.create()
		e.publish(onePerBin(t, 16)...)

		var paths []string
		for _, target := range onePerBin(t, 16) {
			paths = append(paths, target.Path)
		}
		publish := func(content string) {
			receipts := e.addEverywhere(paths, content)
			e.run(func() {
				for _, r := range receipts {
					e.wait(r, repository.Published)
				}
			})
		}
		fail := func(op, part string, times int) {
			e.inject.Plan(func(c faulty.Call) faulty.Fault {
				if times > 0 && c.Op == op && strings.Contains(c.Name, part) {
					times--
					return faulty.Before
				}
				return faulty.None
			})
		}
		fail("store.Create", ".snapshot.", 2) // attempts that are burnt
		publish("a")
		fail("store.Create", ".bins-3.", 1) // a bin that is left out
		publish("b")
		fail("store.Swap", "timestamp", 3) // a commit that fails is no burnt generation
		publish("c")
		bins.fail = func(n int64, _ []byte) error {
			if n%40 == 0 {
				return keys.ErrDenied
			}
			return nil
		}
		e.inject.Plan(nil)
		publish("d")
		e.run(func() { time.Sleep(5 * 24 * time.Hour) }) // renewals
		bins.fail = nil
		e.close()
		e.store = e.store.Clone()
		e.cfg.Store = faulty.Store{Injector: e.inject, Inner: e.store}
		last, err := e.store.Get(t.Context(), "timestamp.json")
		require.NoError(t, err)
		require.NoError(t, e.store.Delete(t.Context(), "timestamp.json"))
		require.NotEmpty(t, last)
		e.repo, err = repository.RestoreStore(t.Context(), e.config(), repository.Restoration{})
		require.NoError(t, err)
		e.close()

		signed, burnt := map[string]int{}, map[int64]bool{}
		failures := 0
		generations := map[int64]bool{}
		for line := range strings.Lines(log.String()) {
			var s signatureLine
			require.NoError(t, json.Unmarshal([]byte(line), &s))
			switch s.Msg {
			case "signed":
				require.Equal(t, s.Generation, s.Version)
				signed[fmt.Sprint(s.Role, " ", s.Version, " ", s.Key)]++
				generations[s.Generation] = true
			case "burnt":
				burnt[s.Generation] = true
			case "signature failed":
				failures++
			default:
				require.Fail(t, line)
			}
		}
		sealed := map[int64]bool{}
		require.NotZero(t, failures)
		for _, r := range e.records() {
			seal, ok := r.Body.(*ledger.Seal)
			if !ok {
				continue
			}
			sealed[r.Generation] = true
			shown := map[string]string{} // keys, by role
			for _, row := range seal.Rows {
				shown[row.Role] = seal.Keys[row.Row.Key]
			}
			for _, role := range []string{metadata.SNAPSHOT, metadata.TIMESTAMP} {
				shown[role] = seal.SignedBy[role][0]
			}
			for role, key := range shown {
				id, _, _ := strings.Cut(key, " ")
				require.Positive(t, signed[fmt.Sprint(role, " ", r.Generation, " ", id)], "%s version %d", role, r.Generation)
			}
		}
		require.GreaterOrEqual(t, len(burnt), 2)
		for generation := range generations {
			require.NotEqual(t, sealed[generation], burnt[generation], generation)
		}
	})
}
