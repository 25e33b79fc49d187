// Package roles builds, signs, parses and verifies TUF metadata (specification 1.0.34,
// sections 4 and 5). It publishes nothing: package repository does.
//
// A root names who may sign each top-level role:
//
//	root, err := roles.NewRoot(roles.RootSpec{
//		Version: 1, Expires: expires,
//		Root:    roles.Authority{Keys: holders, Threshold: 2},
//		Targets: roles.Authority{Keys: holders, Threshold: 2},
//		Snapshot: online, Timestamp: online,
//	})
//	...
//	root, err = root.Sign(ctx, signer) // and the other holders
//
// A bin changes with each upload:
//
//	bin, err := roles.OpenBin(file)
//	...
//	bin, err = bin.Edit(version, expires, []roles.TargetEdit{{Path: target.Path, Target: &target}})
//	...
//	file, err = bin.Sign(ctx, signer)
//
// Verify a file that you receive before you use it:
//
//	authority, err := roles.RootAuthority(root, "timestamp")
//	...
//	timestamp, err := roles.Parse[metadata.TimestampType](file)
//	...
//	err = authority.Verify(timestamp)
//
// # Files
//
// A metadata file is a signed part, and signatures over the canonical JSON of that part:
//
//	{"signatures": [{"keyid": "…", "sig": "…"}], "signed": {"_type": "timestamp", "version": 7, …}}
//
// Document holds any such file. It keeps the bytes as they were received. Its signed part
// has one of go-tuf's types. Bin and Snapshot hold the two kinds that are large and change
// with every upload. They are edited as bytes and never decoded as a whole.
//
// An Authority is a set of keys and a threshold. A root names the authorities of the
// top-level roles. A targets document names those of the roles it delegates to.
package roles
