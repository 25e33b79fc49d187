package repository_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// A fortnight costs what delegation.NewPlan says.
func TestCostsArePlanned(t *testing.T) {
	t.Parallel()
	const bins, targets, uploads, days = 64, 1280, 50, 14
	inBubble(t, bins, delegation.Succinct, func(t *testing.T, e *env) {
		first := files("x", targets)
		e.publish(first...)
		var paths, signatures int
		var stored int64
		for _, f := range first {
			paths += len(f.Path)
		}
		begun := map[string]bool{}
		for _, name := range e.store.Names() {
			begun[name] = true
		}
		before, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(5, 6))
		e.run(func() {
			for n := range uploads * days {
				time.Sleep(time.Duration(rng.ExpFloat64() * float64(24*time.Hour) / uploads))
				e.wait(e.add(file(first[rng.IntN(targets)].Path, fmt.Sprint(n))), repository.Published)
			}
		})
		after, err := e.repo.Status(t.Context())
		require.NoError(t, err)
		for _, name := range e.store.Names() {
			if begun[name] {
				continue
			}
			data, err := e.store.Get(t.Context(), name)
			require.NoError(t, err)
			stored += int64(len(data))
			if strings.Contains(name, ".bins-") {
				signatures++
			}
		}

		p, err := delegation.NewPlan(delegation.PlanSpec{
			Targets: targets, Bins: bins, Uploads: uploads, PathBytes: int(math.Round(float64(paths) / targets)), Generation: after.Generation,
		})
		require.NoError(t, err)
		require.InEpsilon(t, p.Generations*days, after.Generation-before.Generation, 0.05)
		require.InEpsilon(t, p.BinSignatures*days, signatures, 0.05)
		require.InEpsilon(t, p.Stored*days, stored, 0.05)
		snapshot, err := e.store.Get(t.Context(), fmt.Sprintf("%d.snapshot.json", after.Generation))
		require.NoError(t, err)
		require.InEpsilon(t, p.Snapshot.Raw, len(snapshot), 0.02)
		timestamp, err := e.store.Get(t.Context(), "timestamp.json")
		require.NoError(t, err)
		require.InEpsilon(t, p.Timestamp.Raw, len(timestamp), 0.02)
		for role, size := range map[string]delegation.Size{metadata.TARGETS: p.Targets, delegation.BinsRole: p.Succinct} {
			data, err := e.store.Get(t.Context(), fmt.Sprintf("1.%s.json", role))
			require.NoError(t, err)
			require.InEpsilon(t, size.Raw, len(data), 0.02, role)
		}
		require.Less(t, p.Fullest.Raw, int64(roles.MaxTargets))
	})
}
