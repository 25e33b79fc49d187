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
// the rest once the file is put back or the bin rebuilt. One is about conditions and
// items that change nothing; others have bins directly under targets signed online, or a
// role in front of the bins that people sign. In others the whole store is
// lost, or its newest generation, or the journal, and the points are those of the
// restoration as well.
//
// What must hold, see check.go:
//
//   - a name in the store never had two contents, also one that a crash took away, and
//     none appears before a durable record names it;
//   - versions of the timestamp never went down;
//   - each accepted item is decided once, in its order, in the generation that its outcome
//     says: published, refused or found unchanged as it must be; nothing else is published;
//   - a seal names just the files and targets that its clients find no more;
//   - what a receipt said stays true;
//   - a go-tuf client is content.
package crashpoints
