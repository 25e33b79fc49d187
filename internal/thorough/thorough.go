// Package thorough says which cases a long test tries.
//
// A test that injects a fault at each of many places takes minutes. By default it tries one in n places, and
// which ones depends on the day. With BINDERY_LONG=1 it tries them all, as .ci/run does. A case that failed is
// named in the failure: run the test with BINDERY_LONG=1 to try that case on another day.
package thorough

import (
	"os"
	"time"
)

// Variable asks for all cases if it is 1.
const Variable = "BINDERY_LONG"

// Long reports whether all cases are asked for.
func Long() bool { return os.Getenv(Variable) == "1" }

// today is the day on which the test began, also in a synctest bubble, where time is fake.
var today = int(time.Now().Unix() / (24 * 60 * 60))

// OneIn is which cases to try, of cases that are counted from 0: first, first+step, and so on. It is 0 and 1
// if all are asked for. Otherwise step is n, and first is below n and changes daily (UTC).
func OneIn(n int) (first, step int) {
	if Long() {
		return 0, 1
	}
	return today % n, n
}
