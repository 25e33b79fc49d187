package repository

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// dueAt walks the table once, and says what the lists of bins say that a
// generation makes: it is due when one of them isn't empty, and else when the first
// of its bins is.
func TestDueAt(t *testing.T) {
	layout, err := delegation.New("bins", 64, delegation.Succinct)
	require.NoError(t, err)
	signer, err := keys.GenerateEd25519()
	require.NoError(t, err)
	now := time.Unix(1_800_000_000, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[bool]int{}
	for range 1000 {
		rows := make([]ledger.Row, layout.Len())
		p := &publisher{
			cfg: Config{
				BinLifetime: 8 * time.Hour, SnapshotLifetime: 48 * time.Hour, TimestampLifetime: 49 * time.Hour,
				BinRenewal: 4 * time.Hour, SnapshotRenewal: 24 * time.Hour, TimestampRenewal: 25 * time.Hour,
			},
			docs: &documents{online: online{starts: []int{0, layout.Len()}, sets: []delegation.Set{
				{Bins: layout, Keys: roles.Authority{Keys: []*keys.PublicKey{signer.Public()}, Threshold: 1}},
			}}},
			state: &ledger.State{
				Generation: 7, Signed: now, Expires: ledger.Expires{Snapshot: now.Unix() + 48*3600, Timestamp: now.Unix() + 49*3600},
				Table: ledger.Table{Keys: []string{"dropped", keyName(signer.Public())}, Sets: []ledger.Set{{Prefix: "bins", Rows: rows}}},
			},
			quarantine: map[int]*quarantine{},
		}
		p.rebuild = newRebuilder(p, nil)
		for i := range rows {
			age := rng.Int64N(60)
			rows[i] = ledger.Row{Version: 1, Signed: now.Unix() - age, Expires: now.Unix() + 8*3600 - age, Key: 1}
		}
		switch b := &rows[rng.IntN(layout.Len())]; rng.IntN(6) {
		case 0:
			b.Version = 0
		case 1:
			b.Key = 0
		case 2:
			b.Expires += 2000
		case 3:
			b.Signed -= 4 * 3600
		case 4:
			p.rebuild.want("", 5)
		}
		for range rng.IntN(64) {
			p.quarantine[rng.IntN(layout.Len())] = &quarantine{err: errQuarantine}
		}
		schedule := p.schedule()
		want := now.Add(24 * time.Hour)
		if len(p.mustSign()) > 0 || len(schedule.dueRoles(p.row, now, p.blocked)) > 0 {
			want = time.Time{}
		} else {
			for i, b := range rows {
				if at := time.Unix(schedule.next(i, b), 0); !p.blocked(i) && at.Before(want) {
					want = at
				}
			}
		}
		require.Equal(t, want, p.dueAt(now))
		seen[want.IsZero()]++
	}
	require.Greater(t, seen[true], 100)
	require.Greater(t, seen[false], 100)
}
