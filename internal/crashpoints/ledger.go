package crashpoints

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/repository"
	records "github.com/bindery-tuf/bindery/repository/ledger"
	"github.com/bindery-tuf/bindery/roles"
)

// ledger is what the world outside the repository knows: the items that the index handed over,
// what it was told, and what clients could see.
type ledger struct {
	mu  sync.Mutex
	now time.Time

	created bool     // Create returned
	items   []*entry // in the order in which they were submitted

	seen       map[string][]byte // every name that was ever in the store, but the timestamp
	timestamps [][]byte          // that could ever be read, by version
	announced  map[string]bool   // the names that the journal says may appear
	seals      map[int64]*records.Seal
	altered    *alteration       // the file that somebody altered, or nil
	loss       loss              // what was lost
	lostAt     int64             // the newest generation then
	lost       map[string][]byte // the files that the store lost, or nil
	rotating   []string          // roles whose rotations were begun, and not ended
	again      []signing         // bins that were signed again, by generation
	broken     error             // the first rule that was seen broken

	history *History
}

// signing is how many bins a generation signed that no item of it touches.
type signing struct {
	at   time.Time
	bins int
}

// entry is one item.
type entry struct {
	item      repository.Item
	accepted  bool                // Submit returned
	forgotten bool                // the journal was lost
	told      *repository.Outcome // what a receipt said
}

// poisonous reports whether Submit refuses the item. Other programs may put one into a shared
// journal.
func (e *entry) poisonous() bool { return strings.HasSuffix(e.item.ID, poisonSuffix) }

func newLedger(h *History, now time.Time) *ledger {
	return &ledger{history: h, now: now, seen: map[string][]byte{}, announced: map[string]bool{}, seals: map[int64]*records.Seal{}}
}

func (l *ledger) clone() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &ledger{
		now: l.now, created: l.created, seen: maps.Clone(l.seen), timestamps: slices.Clone(l.timestamps),
		announced: maps.Clone(l.announced), seals: maps.Clone(l.seals),
		altered: l.altered, loss: l.loss, lostAt: l.lostAt, lost: l.lost, broken: l.broken,
		rotating: slices.Clone(l.rotating), again: slices.Clone(l.again), history: l.history,
	}
	for _, e := range l.items {
		copied := *e
		c.items = append(c.items, &copied)
	}
	return c
}

func (l *ledger) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *ledger) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// unresolved returns the items whose outcome was not told yet.
func (l *ledger) unresolved() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(l.items), func(e *entry) bool { return !e.accepted || e.told != nil })
}

// tell notes the outcome of an item. If it is published, clients can see it by now.
func (l *ledger) tell(e *entry, o repository.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if newest := l.generation(); o.Generation > newest && l.broken == nil {
		l.broken = fmt.Errorf("item %s was told generation %d, and %d is the newest that can be seen", e.item.ID, o.Generation, newest)
	}
	e.told = &o
}

// generation returns the newest generation that was ever visible.
func (l *ledger) generation() int64 {
	if len(l.timestamps) == 0 {
		return 0
	}
	newest, _ := timestampVersion(l.timestamps[len(l.timestamps)-1])
	return newest
}

// see notes what a name in the store shows.
func (l *ledger) see(name string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.judge(name, data); err != nil && l.broken == nil {
		l.broken = err
	}
}

func (l *ledger) judge(name string, data []byte) error {
	if name != timestampName {
		if before, ok := l.seen[name]; ok && !bytes.Equal(before, data) {
			return fmt.Errorf("%s has two contents", name)
		}
		if isMetadata.MatchString(name) && !l.announced[name] {
			return fmt.Errorf("%s appears, and no record in the journal names it", name)
		}
		l.seen[name] = data
		return nil
	}
	version, err := timestampVersion(data)
	if err != nil {
		return err
	}
	switch last := l.generation(); {
	case version < last:
		return fmt.Errorf("the timestamp went down from version %d to %d", last, version)
	case version > last:
		l.timestamps = append(l.timestamps, data)
	case !bytes.Equal(data, l.timestamps[len(l.timestamps)-1]):
		return fmt.Errorf("there are two timestamps of version %d", version)
	}
	return nil
}

// isMetadata matches the names of metadata in the store.
var isMetadata = regexp.MustCompile(`^[0-9]+\.[^.]+\.json$`)

// note remembers what a durable record of the journal says.
func (l *ledger) note(r records.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch b := r.Body.(type) {
	case *records.Documents:
		for _, f := range b.Files {
			if !f.Online {
				l.announced[f.Name()] = true
			}
			if len(l.history.last.Roots) > 0 && bytes.Equal(f.Data, l.history.last.Roots[0]) {
				l.rotating = nil // they end
			}
		}
	case *records.Intent:
		for role := range b.Names {
			l.announced[records.Name(r.Generation, role)] = true
		}
	case *records.Seal:
		if l.seals[r.Generation] == nil && len(l.seals) > 0 { // the first one makes all bins
			l.spend(r.Time, b)
		}
		l.seals[r.Generation] = b
	}
}

// spend compares the bins that were signed again in each minute with the budget. No history lets a bin
// come near its expiry.
func (l *ledger) spend(at time.Time, b *records.Seal) {
	if l.history.budget == 0 {
		return
	}
	touched := map[string]bool{}
	for _, o := range b.Outcomes {
		for _, e := range l.items {
			if e.item.ID == o.ID {
				for path := range e.item.Paths {
					touched[l.history.layout.Name(l.history.layout.Find(path))] = true
				}
			}
		}
	}
	n, sum := 0, 0
	for _, row := range b.Rows {
		if !touched[row.Role] {
			n++
		}
	}
	l.again = append(l.again, signing{at, n})
	for _, s := range l.again {
		if at.Sub(s.at).Abs() < time.Minute {
			sum += s.bins
		}
	}
	if sum > l.history.budget && l.broken == nil {
		l.broken = fmt.Errorf("%d bins were signed again in a minute, and the budget is %d", sum, l.history.budget)
	}
}

// survived compares what a crash left in the store with everything that was ever there.
func (l *ledger) survived(files map[string][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, data := range files {
		name, ok := published(name)
		switch {
		case !ok:
		case l.altered != nil && name == l.altered.name && bytes.Equal(data, l.altered.wrong):
		case name == timestampName:
			if !slices.ContainsFunc(l.timestamps, func(b []byte) bool { return bytes.Equal(b, data) }) {
				return fmt.Errorf("the crash left a timestamp that was never written: %.200q", data)
			}
		case l.seen[name] == nil || !bytes.Equal(l.seen[name], data):
			return fmt.Errorf("the crash left %s with %d bytes, and %d were written", name, len(data), len(l.seen[name]))
		}
	}
	return nil
}

const (
	storeDir      = "/metadata"
	journalDir    = "/journal"
	timestampName = "timestamp.json"
)

// published returns the name in the store of a file on the disk.
func published(file string) (string, bool) {
	name, ok := strings.CutPrefix(path.Clean(file), storeDir+"/")
	return name, ok && !strings.Contains(name, "/")
}

// versions caches parsed timestamps, because most are the same at every point.
var versions sync.Map // of int64 by content

func timestampVersion(data []byte) (int64, error) {
	if v, ok := versions.Load(string(data)); ok {
		return v.(int64), nil
	}
	t, err := roles.Parse[metadata.TimestampType](data)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", timestampName, err)
	}
	versions.Store(string(data), t.Version())
	return t.Version(), nil
}
