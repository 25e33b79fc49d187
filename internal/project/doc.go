// Package project holds the tests of what concerns the module as a whole: which
// package may import which, what lies at the top level, and that the README
// shows code that was compiled and run.
package project
