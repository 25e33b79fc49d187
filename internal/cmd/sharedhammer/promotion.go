package main

import "fmt"

// lostItem is one that a promoted replica didn't have.
type lostItem struct {
	published bool   // in a generation that was adopted
	replica   string // end of the database's log that the replica had
}

// after reports whether a position in the database's log comes after all that the replica had.
func (l lostItem) after(lsn string) bool { return position(lsn) > position(l.replica) }

// position returns a position in the database's log, as PostgreSQL prints it, as a number.
func position(lsn string) (n uint64) {
	var high, low uint64
	if _, err := fmt.Sscanf(lsn, "%x/%x", &high, &low); err != nil {
		return 0
	}
	return high<<32 | low
}
