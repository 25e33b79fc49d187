package crashpoints

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/keys"
	"github.com/bindery-tuf/bindery/repository"
)

// Suffixes of the IDs of items that can't be published, and of those among them that
// Submit refuses.
const (
	asideSuffix  = "-aside"
	poisonSuffix = "-poison" + asideSuffix
)

// troubled returns the history of a repository with a full bin, with items that can't be published,
// and with a bin whose file was altered. None of them may hold up unrelated items, however few bytes
// a batch may have.
func troubled(t require.TestingT, name string, checkpoint int, cache, batch int64, heal healing) *History {
	a := newAuthor(t, name, delegation.Succinct, checkpoint)
	a.bins, a.cache, a.batch = limited{a.bins}, cache, batch
	full := a.layout.Find(finishPath)
	sick := 1 - full
	f := func(bin, n int) int { return a.nth(bin, n) }

	a.step(Step{Submit: []repository.Item{a.add(f(sick, 0), f(full, 0)), a.add(f(sick, 1))}, Publish: true})
	large := a.add(f(full, 1))
	large.Add[0].Custom = padding(10_500)
	a.step(Step{Submit: []repository.Item{large}, Publish: true})
	tooMuch := a.aside(a.add(f(full, 2), f(sick, 2)))
	tooMuch.Add[0].Custom = padding(3_000)
	poison := a.poison(a.submit([]string{"../outside"}, nil))
	a.step(Step{Submit: []repository.Item{a.add(f(sick, 1)), tooMuch, a.add(f(full, 0)), poison, a.remove(f(sick, 2))}, Publish: true})

	a.step(Step{Alter: file(f(sick, 1)), Submit: []repository.Item{
		a.add(f(sick, 0)), a.add(f(full, 0)), // the first waits
		a.add(f(sick, 2), f(full, 3)), a.add(f(full, 3)), // waits, and so does what comes after it
		a.add(f(full, 4)),
	}, Publish: true})
	a.step(Step{Wait: 5 * 24 * time.Hour, Publish: true}) // all others are renewed
	a.step(Step{Submit: []repository.Item{a.remove(f(full, 4))}, Reopen: true})
	a.step(Step{Submit: []repository.Item{a.add(f(full, 0))}, Publish: true})
	a.step(Step{Heal: heal, Submit: []repository.Item{a.add(f(sick, 3))}, Publish: true})
	return a.History
}

// nth returns the number of the n-th file of a bin.
func (a *author) nth(bin, n int) int {
	for number := 0; ; number++ {
		if a.layout.Find(file(number)) != bin {
			continue
		}
		if n--; n < 0 {
			return number
		}
	}
}

func (a *author) aside(it repository.Item) repository.Item {
	it.ID += asideSuffix
	return it
}

func (a *author) poison(it repository.Item) repository.Item {
	it.ID += poisonSuffix
	return it
}

func padding(n int) json.RawMessage {
	return json.RawMessage(`{"pad":"` + strings.Repeat("x", n) + `"}`)
}

// limited is a signer with a small limit, so that bins are full soon.
type limited struct{ keys.Signer }

func (limited) MaxMessage() int { return 16384 }

func (l limited) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if len(message) > l.MaxMessage() {
		return nil, fmt.Errorf("%d bytes: %w", len(message), keys.ErrTooLarge)
	}
	return l.Signer.Sign(ctx, message)
}
