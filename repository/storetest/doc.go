// Package storetest has the suites that every repository.Store and
// repository.Journal must pass, and an implementation of each in memory for the
// tests of what is built upon them.
//
// The suites hold an implementation to the sentences of its interface's doc
// comments. What they can't show is durability: that needs a disk or a service
// that can be made to fail, and is for each implementation's own tests.
package storetest
