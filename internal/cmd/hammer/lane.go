package main

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/roles"
)

// A lane is one submitting goroutine with paths of its own. It submits items 1, 2, 3, … one after the
// other. The lane and n alone decide what item n does, so everyone knows what the paths of a lane
// hold after n items.
//
// Each item replaces the lane's index, whose custom data is n, and adds, replaces or removes one of a
// few files. No path gets the same content twice. Some items add a file that stays for ever. A client reads the index; every other path of
// the lane must then be as after exactly n items. So a lost, doubled, misplaced or half published
// item shows.
const (
	lanes = 16
	slots = 4   // files of a lane that are replaced
	keeps = 100 // one of so many items adds a file that stays: bins grow, so not many
)

func indexPath(lane int) string      { return fmt.Sprintf("simple/l%d/index.html", lane) }
func slotPath(lane, slot int) string { return fmt.Sprintf("packages/l%d/f%d.whl", lane, slot) }
func keptPath(lane, n int) string    { return fmt.Sprintf("archive/l%d/k%d.whl", lane, n) }

func isKept(n int) bool  { return n%keeps == 0 }
func removes(n int) bool { return n%7 == 3 }

// count is the custom data of a lane's index.
type count struct {
	N int `json:"n"`
}

func content(path string, n int) string { return fmt.Sprintf("%s after %d items", path, n) }

func target(path string, n int) roles.Target { return repotest.File(path, content(path, n)) }

// isStored reports whether path has a file to download: every kept file has, and slot 0 of each lane.
func isStored(path string) bool {
	return strings.HasPrefix(path, "archive/") || strings.HasSuffix(path, "/f0.whl")
}

// fileName is where a target's file is kept.
func fileName(targetPath string, hashes map[string]string) string {
	return path.Join(path.Dir(targetPath), hashes["sha256"]+"."+path.Base(targetPath))
}

func itemID(lane, n int) string { return fmt.Sprintf("%d-%d", lane, n) }

// item returns item number n of a lane, counted from 1.
func item(lane, n int) repository.Item {
	index := target(indexPath(lane), n)
	index.Custom, _ = json.Marshal(count{n})
	it := repository.Item{ID: itemID(lane, n), Add: []roles.Target{index}}
	if slot := slotPath(lane, n%slots); removes(n) {
		it.Remove = []string{slot}
	} else {
		it.Add = append(it.Add, target(slot, n))
	}
	if isKept(n) {
		it.Add = append(it.Add, target(keptPath(lane, n), n))
	}
	return it
}

// slotAfter returns the item that filled a slot, after n items; 0 if it is empty.
func slotAfter(slot, n int) int {
	last := n - (n-slot+slots)%slots
	if last < 1 || removes(last) {
		return 0
	}
	return last
}
