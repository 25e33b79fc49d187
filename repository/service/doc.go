// Package service publishes what a package index has, so that clients can verify every file they
// download. It goes on by itself after failures. It is the package that an index server imports. One
// call opens all that is needed, or makes it on an empty disk. The index keeps running when a disk is
// full or broken, when keys change, or when a second process starts. Nothing that was accepted is
// lost or published twice.
//
//	open := func(ctx context.Context) (repository.Config, error) {
//		store, err := dirstore.OpenOrCreate(filepath.Join(dir, "metadata"))
//		if err != nil {
//			return repository.Config{}, err
//		}
//		journal, err := dirjournal.OpenOrCreate(filepath.Join(dir, "journal"))
//		return repository.Config{Store: store, Journal: journal, Bins: key, Snapshot: key, Timestamp: key}, err
//	}
//	repo, err := service.Start(ctx, service.Config{Open: open, Documents: documents, Logger: slog.Default()})
//	...
//	receipt, err := repo.Add(ctx, target) // an upload: durable, it will be published
//	outcome, err := receipt.Wait(ctx)     // clients can see it
//	...
//	err = server.Shutdown(ctx) // the HTTP server first: requests end, and their calls with them
//	err = repo.Close()
//
// # What this is about
//
// An index signs a list of its files: path, length and hash of each. Clients follow the
// signatures from a first file that they trust (1.root.json) to that list, and refuse a file
// that isn't on it. This is TUF, The Update Framework, in the form that PEP 458 describes. Two
// kinds of keys sign. People keep some of them offline, and sign the documents (root, targets,
// bins) that say which other keys count; Documents hands these over, finished. The index has
// the online keys, which sign the lists of files and, each day, that nothing is older than
// it should be. A list of signed files is published in generations: clients see a whole one
// or the one before it, never half of one.
//
// An upload is one [repository.Item]. Add, Remove and Submit make it durable and return.
// Wait returns once clients can see it, about a second later. If the process is killed in
// between, the next start publishes it. If you give the item an ID, you can ask later what became of
// it, and can repeat a call that failed.
//
// # The right order
//
// An index has three things: files in its own storage, what it lists (its pages, its API), and
// what is signed. Clients use all three, at different moments, so the order counts.
//
//  1. Store the file under its final name HASH.NAME, durably, and then Add it. HASH is its
//     SHA-256 in hexadecimal. Clients ask for the file as soon as it is published. If the power
//     fails between the two, a file is left that nothing refers to. In the other order, a path
//     would be published without its file. dirstore.Targets.Put does it right. Storage of your
//     own must sync the file and its directory. An object store must have answered.
//  2. List it after Wait has returned. Clients refuse a file that is listed and not yet
//     published. Until then the upload is accepted, and not visible.
//  3. To remove a file, first stop listing it. Then Remove it and Wait. Delete the file only after
//     the grace period: Config.CacheAge plus Config.ClientRun of package repository, two hours
//     unless you set them. A client that began earlier, or is behind a cache, may hold metadata that
//     names the file, and asks for it. Don't delete it if the same content was added again meanwhile.
//     Config.DeleteTarget is called when all of this is so: with a directory of target files, set it to
//     dirstore's Targets.Delete.
//  4. Serve every file under HASH.NAME. Serve it under its plain name too only if its content never
//     changes under that name, as with a released archive. A page that lists the files of a project
//     changes with every upload, and a client must get the page of the generation whose metadata it
//     holds. So it needs its HASH. name, and the old content stays for the grace period too.
//  5. If such a page is itself a target, put it and the file that it lists, or no longer lists,
//     into one Item: clients see both changes or neither. In two items, Wait for the first:
//     items with different paths may pass one another while a bin can't be read or written.
//
// # Failures
//
// The service closes the repository and opens it again when the journal fails, when somebody else
// changed the store, and when Reload is called. It tries at once, and then after pauses that grow from
// 0.2 seconds to a minute, for ever. Only people can mend repository.ErrDiverged and
// repository.ErrNotRepository: after these it tries each minute, or when Reload is called.
//
// Meanwhile calls wait, for Config.Patience at most, and then go on. Status doesn't wait, and shows
// the reason. If a store or a key service fails, the repository stays open: it tries again by itself,
// while items wait in the queue.
//
// One process publishes. With Config.Standby others wait for the lock and take over when that
// process has ended, was killed, or lost its machine's power. A process that merely hangs
// keeps the lock. A process whose clock is probably wrong can't publish: a standby gives the lead up then, and tries
// again each minute. See Config.Standby.
//
// A signal for Reload:
//
//	hangup := make(chan os.Signal, 1)
//	signal.Notify(hangup, syscall.SIGHUP)
//	go func() {
//		for range hangup {
//			if err := repo.Reload(ctx); err != nil {
//				slog.Error("keys and documents", "err", err)
//			}
//		}
//	}()
package service
