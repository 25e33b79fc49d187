package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/bindery-tuf/bindery/internal/excerpt"
)

// ErrNotNow is wrapped by Config.Approve when the question can't be answered at present.
var ErrNotNow = errors.New("not now")

// notNowError is why an attempt decides no items. It hides what else the index's error wraps: that is
// no error of the engine.
type notNowError struct{ error }

func (notNowError) Unwrap() error { return ErrNotNow }

// ignoreNotNow returns nil if Config.Approve could not answer. Install and Rebuild call it. Their own
// work is published even so.
func ignoreNotNow(err error) error {
	if errors.As(err, new(notNowError)) {
		return nil
	}
	return err
}

// approval is what Config.Approve said in one attempt, by item: the reason against it, or "".
type approval map[string]string

// approver returns a function that asks Config.Approve, once for each item of an attempt. It returns
// nil if there is no Approve.
func (p *publisher) approver(ctx context.Context, a *attempt) func(q queued) (refusal string, err error) {
	if p.cfg.Approve == nil {
		return nil
	}
	if a.approval == nil {
		a.approval = approval{}
	}
	return func(q queued) (string, error) {
		if refusal, asked := a.approval[q.entry.ID]; asked {
			return refusal, nil
		}
		err := p.cfg.Approve(ctx, q.entry, q.item)
		switch {
		case ctx.Err() != nil: // it says nothing of the item
			return "", ctx.Err()
		case errors.Is(err, ErrNotNow):
			return "", notNowError{fmt.Errorf("approve item %q: %w", q.entry.ID, err)}
		case err == nil:
			a.approval[q.entry.ID] = ""
		default:
			a.approval[q.entry.ID] = short("not approved: " + err.Error())
		}
		return a.approval[q.entry.ID], nil
	}
}

// maxReason is how many bytes of a reason a record keeps. Each has a path or an error of somebody else in it, which
// may be as long as an item.
const maxReason = 1000

// reasonOf is the text of an error as a record can keep it.
func reasonOf(err error) string { return short(err.Error()) }

// short cuts a text to maxReason bytes, between two characters.
func short(text string) string { return excerpt.Beginning(text, maxReason) }
