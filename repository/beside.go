package repository

import (
	"context"
	"fmt"
)

// Reader reads a journal beside its publisher, in any process and also while
// nobody leads. It takes no lock and no lead, and changes nothing. A Journal that
// processes share may be its own Reader; package dirjournal has one beside it.
type Reader interface {
	// Read returns what Leader.Load would (Epoch being the newest leader's) and
	// the queue's figures, both as of one moment during the call. What it
	// returns may be less durable than what Load returns: nothing may be
	// decided by it.
	Read(ctx context.Context) (Log, QueueStats, error)
}

// ReadStatus tells how a repository is, beside its running publisher, or one that
// is stopped or dead: what is committed by the journal. The cost is that of Open's
// reading. Quarantined and Err are only known to the publisher and stay empty; that
// a publisher makes no progress shows in Signed and Queue.Oldest. Errors wrap
// ErrNotRepository; or, if the store doesn't have the offline documents that were
// installed, ErrNotExist or ErrDiverged.
func ReadStatus(ctx context.Context, store Store, journal Reader) (Status, error) {
	log, queue, err := journal.Read(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("status: journal: %w", err)
	}
	if len(log.Records) == 0 {
		return Status{}, fmt.Errorf("status: %w: the journal is empty", ErrNotRepository)
	}
	p := publisher{cfg: Config{Store: store}}
	if p.state, err = load(log); err == nil {
		err = p.loadDocuments(ctx)
	}
	if err != nil {
		return Status{}, fmt.Errorf("status: %w", err)
	}
	s := p.status()
	s.Queue = queue
	return s, nil
}
