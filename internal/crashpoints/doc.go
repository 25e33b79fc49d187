// Package crashpoints cuts the power of a repository on a simulated disk, after every single
// operation on the disk. After each recovery it checks the repository against everything that
// any caller was ever told.
//
//	points, err := crashpoints.Run(t, crashpoints.Options{Points: 1000, Seed: 1},
//		func(f crashpoints.Failure) { t.Error(f) })
//
// A [History] runs once without a fault. Before each operation that changes the disk, the disk is
// copied, together with what the index knows at that moment. Each copy is the start of several
// points:
//
//   - the process is killed, or the power is cut in one of many ways;
//   - a new process opens the repository. A second fault may hit any of its operations, and then
//     another process opens it;
//   - publishing goes on until everything is published;
//   - the power is cut once more, and everything that isn't durable is lost.
//
// There are histories in which a bin is full, items can't be published, or the file of a bin is
// altered while publishing goes on. Everything else must be published first, and the rest once
// the file is restored or the bin rebuilt. Others have conditions, items that change nothing,
// bins directly under online targets, or a role in front of the bins that people sign. In one all
// online keys are replaced. In some
// the store, its newest generation or the journal is lost, and the points include the
// restoration.
//
// These rules must hold:
//
//   - A name in the store never has two contents, not even across a crash. No name appears before
//     a durable record names it.
//   - Versions of the timestamp never go down.
//   - Each accepted item is decided once, in its order, in the generation that its outcome names:
//     published, refused or found unchanged, as it must be. Nothing else is published.
//   - A seal names exactly the files and targets that its clients no longer find.
//   - What a receipt said stays true, and so does what Rotate said.
//   - No more bins are renewed in a minute than the budget allows. No key is dropped while a cache may
//     serve what it signed.
//   - A go-tuf client verifies the result.
package crashpoints
