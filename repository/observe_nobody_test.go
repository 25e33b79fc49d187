package repository

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/keys"
)

// silent is a signer that must not be asked who it is.
type silent struct{ keys.Signer }

// Where nobody observes, the stages ask no clock and no signer, and allocate nothing.
func TestNobodyObserves(t *testing.T) {
	p := &publisher{cfg: Config{Store: store{}}}
	require.Zero(t, p.begins())
	require.Zero(t, testing.AllocsPerRun(100, func() {
		begun := p.begins()
		p.observe(begun, Event{Stage: StagePlan, Generation: 7, Items: 3})
		p.signed(begun, 7, "bins-0", silent{}, 100, nil)
		_ = p.storeFile(context.Background(), "7.bins-0.json", nil)
	}))
}

// store takes everything.
type store struct{ Store }

func (store) Create(context.Context, string, []byte) error { return nil }
