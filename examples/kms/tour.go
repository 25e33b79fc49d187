package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/internal/fakekms"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/keys/awskms"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// tour is the life of a key.
type tour struct {
	account *account
	dir     string
	out     io.Writer
	log     *slog.Logger

	ceremony *ceremony
	signers  keys.Resolver // the publisher's
	files    []string      // paths that were added
}

func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

// run returns nil once everything turned out as it must. Keys that were made are
// retired, whatever happens.
func (t *tour) run(ctx context.Context) (err error) {
	if t.ceremony, err = newCeremony(time.Now()); err != nil {
		return err
	}
	client, err := awskms.New(awskms.Config{AWS: t.account.publisher, Logger: t.log})
	if err != nil {
		return err
	}
	t.signers = keys.Resolver{"awskms": client.Open}

	t.say("1. A key is created and imported")
	first, firstPublic, err := t.newKey(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.account.retire(context.WithoutCancel(ctx), first.URI)) }()
	root, err := t.ceremony.nextRoot(ctx, firstPublic)
	if err != nil {
		return err
	}

	t.say("2. It signs: bins are signed in memory, snapshot and timestamp by KMS")
	if err := t.publish(ctx, first, root); err != nil {
		return err
	}

	t.say("3. It is replaced")
	second, secondPublic, err := t.newKey(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.account.retire(context.WithoutCancel(ctx), second.URI)) }()
	if err := t.replace(ctx, first, second, root, firstPublic, secondPublic); err != nil {
		return err
	}

	t.say("4. A client that knows root version 1 only")
	return t.visit(ctx)
}

func (t *tour) newKey(ctx context.Context) (online, *keys.PublicKey, error) {
	arn, err := t.account.newKey(ctx)
	if err != nil {
		return online{}, nil, err
	}
	o, public, err := importKey(ctx, t.account, arn)
	if err != nil {
		return o, nil, errors.Join(err, t.account.retire(ctx, arn))
	}
	t.say("   %s\n   is key %s in metadata.", o.URI, o.KeyID)
	return o, public, nil
}

// publish makes the repository and publishes some generations.
func (t *tour) publish(ctx context.Context, key online, root *roles.Document[metadata.RootType]) (err error) {
	documents, err := t.ceremony.documents(ctx, root)
	if err != nil {
		return err
	}
	signer, err := key.signer(ctx, t.signers, root)
	if err != nil {
		return err
	}
	counted := &counter{Signer: signer}
	p, err := openPublisher(ctx, t.dir, t.ceremony.bins, counted, t.log, &documents)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for range 3 {
		before := counted.calls
		outcome, err := t.addOne(ctx, p)
		if err != nil {
			return err
		}
		t.say("   Generation %d cost %d calls of KMS.", outcome.Generation, counted.calls-before)
	}
	if t.account.emulator == nil {
		return nil // a real KMS is not throttled on demand
	}
	return t.throttle(ctx, p)
}

func (t *tour) addOne(ctx context.Context, p *publisher) (repository.Outcome, error) {
	receipt, err := t.add(ctx, p)
	if err != nil {
		return repository.Outcome{}, err
	}
	return receipt.Wait(ctx)
}

func (t *tour) add(ctx context.Context, p *publisher) (*repository.Receipt, error) {
	path := fmt.Sprintf("demo/demo-%d.tar.gz", len(t.files)+1)
	receipt, err := p.add(ctx, path)
	if err == nil {
		t.files = append(t.files, path)
	}
	return receipt, err
}

// throttle shows what uploads see of a KMS that refuses: nothing but that they
// wait.
func (t *tour) throttle(ctx context.Context, p *publisher) error {
	t.account.emulator.Before(func(*http.Request, string) *fakekms.Error {
		return &fakekms.Error{Code: "ThrottlingException", Message: "You have exceeded the rate at which you may call KMS."}
	})
	receipt, err := t.add(ctx, p)
	if err != nil {
		return err
	}
	t.say("   KMS throttles. An upload is accepted all the same, and waits.")
	status, err := t.untilFailed(ctx, p)
	if err != nil {
		return err
	}
	t.say("   Status: %d waits; %v", status.Queue.Pending, status.Err)

	t.account.emulator.Before(nil)
	if _, err := receipt.Wait(ctx); err != nil {
		return err
	}
	t.say("   KMS no longer throttles: the upload is published.")
	return nil
}

// untilFailed returns once publishing has failed, after the attempts that a
// signer makes by itself.
func (t *tour) untilFailed(ctx context.Context, p *publisher) (repository.Status, error) {
	for {
		status, err := p.Status(ctx)
		if err != nil || status.Err != nil {
			return status, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return status, ctx.Err()
		}
	}
}

// replace puts a new key in the place of the old one while clients go on: a root
// that lists both, a generation by the new one, and a root that lists only that.
func (t *tour) replace(ctx context.Context, old, new online, root *roles.Document[metadata.RootType], oldPublic, newPublic *keys.PublicKey) error {
	both, err := t.ceremony.nextRoot(ctx, oldPublic, newPublic)
	if err != nil {
		return err
	}
	if err := t.with(ctx, old, root, func(p *publisher) error {
		return p.Install(ctx, repository.Documents{Roots: [][]byte{both.Bytes()}})
	}); err != nil {
		return err
	}
	t.say("   Root version 2 lists both keys.")
	return t.with(ctx, new, both, func(p *publisher) error {
		if _, err := t.addOne(ctx, p); err != nil {
			return err
		}
		t.say("   A generation is signed by the new one.")
		only, err := t.ceremony.nextRoot(ctx, newPublic)
		if err != nil {
			return err
		}
		if err := p.Install(ctx, repository.Documents{Roots: [][]byte{only.Bytes()}}); err != nil {
			return err
		}
		t.say("   Root version 3 lists only that. The old key can be deleted.")
		return nil
	})
}

// with opens the publisher with a key, and closes it again.
func (t *tour) with(ctx context.Context, key online, root *roles.Document[metadata.RootType], do func(*publisher) error) error {
	signer, err := key.signer(ctx, t.signers, root)
	if err != nil {
		return err
	}
	p, err := openPublisher(ctx, t.dir, t.ceremony.bins, signer, t.log, nil)
	if err != nil {
		return err
	}
	return errors.Join(do(p), p.close())
}
