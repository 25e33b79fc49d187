package main

import (
	"encoding/json"
	"fmt"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// A lane is one goroutine of an index process, with paths of its own. Each of its items replaces the lane's
// index page, and adds, replaces or removes one of a few files. The index's own table says what the lane
// holds; the transaction that queues an item changes that row too.
//
// The page's custom data says what every other path of the lane must hold. So whoever reads the page of
// one generation can check the lane, and a lost, doubled, misplaced or half published item shows.
//
// No path gets the same content twice. What a transaction that is rolled back would publish is marked, and must never
// be seen.
const (
	indexes      = 3 // index processes
	lanesOfEach  = 4
	lanes        = indexes * lanesOfEach
	slots        = 4 // files of a lane that are replaced
	rolledBackIn = 3 // one of so many transactions is rolled back
)

func indexPath(lane int) string      { return fmt.Sprintf("simple/l%d/index.html", lane) }
func slotPath(lane, slot int) string { return fmt.Sprintf("packages/l%d/f%d.whl", lane, slot) }
func neverPath(lane int) string      { return fmt.Sprintf("never/l%d/n.whl", lane) }

// state is what a lane holds after an item. It is the lane's row in the index's own table, and the custom data
// of the lane's page.
type state struct {
	// Era counts the promotions of a replica. The numbers of items begin again with each, because the database
	// may have lost some.
	Era int `json:"era"`
	N   int `json:"n"`
	// Slots says which item filled each slot, as stamp does. "": the slot is empty.
	Slots [slots]string `json:"slots"`
	// ID is the item's.
	ID string `json:"id"`
}

func stamp(era, n int) string { return fmt.Sprintf("%d.%d", era, n) }

// before reports whether s is earlier than other.
func (s state) before(other state) bool {
	return s.Era < other.Era || s.Era == other.Era && s.N < other.N
}

func content(path, stamp string) string { return path + " after " + stamp }

// next returns the item that follows in a lane, and the lane's state after it. The first item of an era sets
// every slot, because of what came before some may be lost.
func next(lane, era int, last state, suffix string, rollback bool) (repository.Item, state) {
	now := last
	if last.Era != era {
		now.Era, now.N = era, 0
	}
	now.N++
	now.ID = fmt.Sprintf("%d-%s-%s", lane, stamp(era, now.N), suffix)
	it := repository.Item{ID: now.ID, By: fmt.Sprintf("lane %d", lane)}
	for slot := range slots {
		switch {
		case slot != now.N%slots && last.Era == era:
			continue
		case now.N%7 == 3:
			now.Slots[slot] = ""
			it.Remove = append(it.Remove, slotPath(lane, slot))
		default:
			now.Slots[slot] = stamp(era, now.N)
			it.Add = append(it.Add, repotest.File(slotPath(lane, slot), content(slotPath(lane, slot), now.Slots[slot])))
		}
	}
	if rollback {
		it.Add = append(it.Add, repotest.File(neverPath(lane), now.ID))
	}
	it.Add = append(it.Add, pageTarget(lane, now))
	return it, now
}

func pageTarget(lane int, s state) roles.Target {
	index := repotest.File(indexPath(lane), content(indexPath(lane), stamp(s.Era, s.N)))
	index.Custom, _ = json.Marshal(s)
	return index
}

// body is the item as an index in any language writes it: JSON without the ID and without who asked, which have
// columns of their own.
func body(it repository.Item) []byte {
	type target struct {
		Path   string            `json:"path"`
		Length int64             `json:"length"`
		Hashes map[string]string `json:"hashes"`
		Custom json.RawMessage   `json:"custom,omitempty"`
	}
	var out struct {
		Add    []target `json:"add,omitempty"`
		Remove []string `json:"remove,omitempty"`
	}
	for _, t := range it.Add {
		out.Add = append(out.Add, target{t.Path, t.Length, t.Hashes, t.Custom})
	}
	out.Remove = it.Remove
	data, _ := json.Marshal(out)
	return data
}
