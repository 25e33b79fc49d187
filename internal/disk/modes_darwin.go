package disk

import (
	"os"
	"slices"
	"syscall"
)

// keepsModes reports whether the file system of f keeps the modes that files are given.
func keepsModes(f *os.File) bool {
	var st syscall.Statfs_t
	if syscall.Fstatfs(int(f.Fd()), &st) != nil {
		return true
	}
	var name []byte
	for _, c := range st.Fstypename {
		if c == 0 {
			break
		}
		name = append(name, byte(c))
	}
	return !slices.Contains([]string{"msdos", "exfat", "ntfs", "smbfs", "cd9660", "udf"}, string(name))
}
