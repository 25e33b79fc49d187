package main

// jobs are all lines of the table.
func jobs() []job {
	return []job{
		{name: "bin-610-ed25519", faster: 20, within: 2, runs: 31, begin: binSides(ed25519Key, 610)},
		{name: "bin-610-p256", faster: 50, within: 2, runs: 31, begin: binSides(p256Key, 610)},
		{name: "bin-3000-ed25519", within: 2, runs: 15, begin: binSides(ed25519Key, 3000)},
		{name: "snapshot-16384", faster: 40, within: 2, runs: 15, begin: snapshotSides},
		{name: "create-16384", within: 2, runs: 5, begin: createSides},
		{name: "publish-1000-140", within: 2, runs: 5, begin: publishSides(140)},
		{name: "publish-1000-610", within: 2, runs: 5, begin: publishSides(610)},
		{name: "renew-16384", within: 2, runs: 3, begin: renewSides},
		{name: "add-64", within: 2, runs: 5, begin: addSides},
		{name: "open", runs: 9, begin: openSides},
	}
}
