// Package crashpoints takes the power away from a repository on a simulated disk,
// after each single operation on the disk, and holds what is left after recovery
// against everything that anybody was ever told.
//
// A [History] is run once, without a fault, and the disk is copied before each
// operation that changes it, together with what the index knows at that moment. Each
// copy is then the beginning of several points: the process is killed or the
// power cut in one of many ways, a new process opens the repository, perhaps is
// hit again by a fault at any of its operations and opened once more, and goes on
// until all is published. In the end the power is lost with all that isn't durable.
//
// In some histories a bin is full, some items can't be published, and the file of a
// bin is altered while publishing goes on: all else is then published first, and
// the rest once the file is put back or the bin rebuilt. In others the whole store is
// lost, or its newest generation, or the journal, and the points are those of the
// restoration as well.
//
// What must hold, see check.go: names in the store never had two contents, also
// those that a crash took away; versions of the timestamp never went down; each
// accepted item is published once, in its order, in the generation that its outcome
// says, and nothing else is; what a receipt said stays true; a go-tuf client is content.
package crashpoints
