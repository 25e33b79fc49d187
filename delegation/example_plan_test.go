package delegation_test

import (
	"fmt"
	"log"

	"github.com/bindery-tuf/bindery/delegation"
)

// PEP 458's own numbers (its tables 2 and 3) are put in. Its estimates count digests, paths and
// versions only, and neither the JSON around them nor the names in the snapshot.
func ExampleNewPlan() {
	const download = 2_184_393 // bytes of an average distribution
	plan, err := delegation.NewPlan(delegation.PlanSpec{
		Targets: 2_273_539, Bins: 16384, Form: delegation.Explicit,
		Lookups: 2, PathBytes: 256, PathHashDigits: 64, Hashes: []string{"sha256", "sha512"},
		Uploads: 5000, Generations: 1440, Generation: 100_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	bins := 2 * plan.Bin.Raw
	row := func(what string, pep, planned int64) {
		fmt.Printf("%-30s %5d kB %3d %%  %5d kB %3d %%\n", what, pep/1000, (pep*100+download/2)/download, planned/1000, (planned*100+download/2)/download)
	}
	fmt.Println("(% of a download)                    PEP 458            plan")
	row("bin-n", 54_349, plan.Bin.Raw)
	row("bins", 1_310_720, plan.Explicit.Raw)
	row("snapshot", 98_304, plan.Snapshot.Raw)
	row("returning user, same snapshot", 108_698, bins)
	row("returning user, other snapshot", 207_002, plan.Snapshot.Raw+bins)
	row("new user", 1_517_722, plan.New.Raw)
	fmt.Println("A returning user pays least with", plan.BestRaw, "bins.")
	// Output:
	// (% of a download)                    PEP 458            plan
	// bin-n                             54 kB   2 %     70 kB   3 %
	// bins                            1310 kB  60 %   2999 kB 137 %
	// snapshot                          98 kB   5 %    573 kB  26 %
	// returning user, same snapshot    108 kB   5 %    141 kB   6 %
	// returning user, other snapshot   207 kB   9 %    714 kB  33 %
	// new user                        1517 kB  69 %   3715 kB 170 %
	// A returning user pays least with 8192 bins.
}
