// Package project holds the tests of what concerns the repository as a whole: which
// package and which module may import and require which, what requiring Bindery costs,
// what lies at the top level, that every public package has an example, and that the README
// shows code that was compiled and run.
package project
