// Package pgtest starts PostgreSQL servers that tests and test programs throw away. It runs the programs of
// an installed PostgreSQL, version 14 or later, and links no driver.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
//
//	func TestQueue(t *testing.T) {
//		url := pgtest.Database(t) // empty, and the test's own
//		...
//	}
//
// A program makes clusters of its own with New. PostgreSQL refuses to run as root, so root runs it as the
// user nobody.
package pgtest
