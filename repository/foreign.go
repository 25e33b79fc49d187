package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/repository/ledger"
)

// The public timestamp is looked at while Run runs. It must be the one that this publisher swapped in. If
// it isn't, there is one of three reasons:
//
//	fenced    another process took the lead and published: Run ends with ErrFenced
//	stale     a cache in front of the store answered: a swap, which no cache answers, finds the
//	          right one in its place
//	foreign   somebody else wrote it, or the store was put back: Run ends with ErrDiverged, and
//	          nothing is published until somebody decides

// lookEvery is how often the public timestamp is looked at. A commit is a look too.
const lookEvery = time.Minute

// checkPublic looks at the public timestamp if it is time. It returns an error only if publishing must stop. That the
// timestamp can't be read is noted for Status.
func (p *publisher) checkPublic(ctx context.Context) error {
	if p.state.Generation == 0 || p.state.Sealed != nil || time.Since(p.looked) < lookEvery {
		return nil
	}
	p.looked = time.Now()
	found, err := p.cfg.Store.Get(ctx, ledger.Timestamp)
	if err == nil && bytes.Equal(found, p.state.Timestamp()) {
		p.unread = nil
		return nil
	}
	if err == nil || errors.Is(err, ErrNotExist) {
		if err = p.swapSame(ctx); err == nil {
			p.unread = errors.New("the store answered with another one, and swaps the right one: does a cache answer in its place?")
			p.log.Warn("a read of the timestamp gave another one than the store swaps", "generation", p.state.Generation)
			return nil
		}
		if errors.Is(err, ErrConflict) {
			return p.foreign(ctx, err)
		}
	}
	if ctx.Err() == nil {
		p.unread = err
	}
	return nil
}

// foreign is for a store that doesn't have this publisher's timestamp: conflict is how that was found out. The
// error, which is fatal, says what it has and what can be done.
func (p *publisher) foreign(ctx context.Context, conflict error) error {
	switch _, err := p.lead.Pending(ctx, 1, 0); {
	case errors.Is(err, ErrFenced):
		return fatal(fmt.Errorf("%w, and published: %w", err, conflict))
	case err != nil: // Open finds out who wrote it
		return fatal(fmt.Errorf("%w, and whether another publisher took over isn't known: journal: %w", conflict, err))
	}
	found, err := p.cfg.Store.Get(ctx, ledger.Timestamp)
	if err != nil && !errors.Is(err, ErrNotExist) {
		return fatal(fmt.Errorf("%w: %w; the store can't be read: %w", ErrDiverged, conflict, err))
	}
	err = fmt.Errorf("%w: %w: while this publisher ran, somebody else changed it: stop what else writes into the store; %s",
		ErrDiverged, conflict, p.differs(found))
	p.log.Error("the public timestamp isn't ours: nothing is published any more", "err", err)
	return fatal(err)
}
