//go:build !linux && !darwin

package repository

import "time"

// sinceBoot isn't known. (On Windows Go's monotonic time counts sleep.)
func sinceBoot() (time.Duration, bool) { return 0, false }
