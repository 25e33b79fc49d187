package disk

import (
	"os"
	"slices"
	"syscall"
)

// modeless are the file systems that make modes up, by the numbers of statfs(2).
var modeless = []uint32{
	0x4d44,                 // FAT
	0x2011bab0,             // exFAT
	0x5346544e, 0x7366746e, // NTFS
	0x65735546,             // FUSE
	0xff534d42, 0xfe534d42, // CIFS
	0x9660, 0x15013346, // CDs and DVDs
}

// keepsModes reports whether the file system of f keeps the modes that files are given.
func keepsModes(f *os.File) bool {
	var st syscall.Statfs_t
	return syscall.Fstatfs(int(f.Fd()), &st) != nil || !slices.Contains(modeless, uint32(st.Type))
}
