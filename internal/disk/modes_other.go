//go:build !linux && !darwin

package disk

import "os"

// keepsModes reports whether the file system of f keeps the modes that files are given.
func keepsModes(*os.File) bool { return true }
