package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// OpenOrCreate opens the repository. If journal and store are empty, it creates one of the
// documents. After a crash at any moment the same call completes what was begun. Once documents were
// accepted, it ignores those given: newer ones are for Install.
//
// It never makes a new repository in place of an old one. If only one of journal and store is empty,
// or Config.Witness shows that clients have seen a repository, nothing is changed. The error wraps
// ErrDiverged then, and says what can be done. Other errors are those of Open and of Create. After an
// error the journal is still the caller's to close.
func OpenOrCreate(ctx context.Context, cfg Config, documents Documents) (*Repository, error) {
	p, err := lead(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open or create repository: %w", err)
	}
	if p.state.Chain != "" {
		err = p.orAnother(ctx, p.stillLeads(ctx, p.recover(ctx)))
	} else if err = p.checkNew(ctx, documents); err == nil {
		err = p.create(ctx, documents)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open or create repository: %w", err), giveUpLead(p.lead))
	}
	return newRepository(p), nil
}

// checkNew makes sure that the journal is empty because it is new, and not because it was lost. A
// crash of Create leaves no root in the store with an empty journal: the documents are in the journal
// first.
func (p *publisher) checkNew(ctx context.Context, d Documents) error {
	if p.cfg.Witness != nil {
		return fmt.Errorf("%w with the witness: the journal is empty, and clients have seen a repository: restore a backup, "+
			"and let RestoreStore publish above all that was seen", ErrDiverged)
	}
	has := func(name string) (bool, error) {
		_, err := p.cfg.Store.Get(ctx, name)
		if errors.Is(err, ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("store: %w", err)
		}
		return true, nil
	}
	if found, err := has(ledger.Timestamp); err != nil {
		return err
	} else if found {
		return fmt.Errorf("%w: the journal is empty, and the store publishes a repository: if the journal was lost, RestoreJournal makes a new one "+
			"agree with the store; otherwise give the journal and the store that belong together", ErrDiverged)
	}
	for _, data := range d.Roots {
		root, err := roles.Peek(data)
		if err != nil {
			return fmt.Errorf("root: %w", err)
		}
		name := ledger.Name(root.Version, metadata.ROOT)
		if found, err := has(name); err != nil {
			return err
		} else if found {
			return fmt.Errorf("%w: the journal is empty, and the store has %s: it was used before, and has lost its timestamp: restore a backup of both, "+
				"or give an empty store", ErrDiverged, name)
		}
	}
	return nil
}
