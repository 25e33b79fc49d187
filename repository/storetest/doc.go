// Package storetest has the test suites that every repository.Store and repository.Journal must
// pass. Run them against your own:
//
//	func TestStore(t *testing.T) {
//		storetest.TestStore(t, func(t *testing.T) repository.Store { return newStore(t.TempDir()) })
//	}
//
//	func TestJournal(t *testing.T) {
//		storetest.TestJournal(t, func(t *testing.T) storetest.Place {
//			dir := t.TempDir() // with a new, empty journal
//			return storetest.Place{Open: func() (repository.Journal, error) { return openJournal(dir) }}
//		})
//	}
//
// The suites check what the interfaces' doc comments promise, except durability. That needs a disk
// or a service that can be made to fail, so each implementation tests it itself.
//
// MemStore and MemJournal keep everything in memory, for tests of code that uses a store or a
// journal.
package storetest
