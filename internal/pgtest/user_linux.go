package pgtest

import (
	"os"
	"syscall"
)

// nobody is the user that runs PostgreSQL for root.
const nobody = 65534

// ordinary makes a command run as a user whom PostgreSQL accepts. A server ends with this process.
func ordinary(server bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if server {
		attr.Pdeathsig = syscall.SIGQUIT
		attr.Setpgid = true // a terminal's interrupt is ours to handle
	}
	if os.Geteuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return attr
}

// give gives a folder to that user.
func give(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(dir, nobody, nobody)
}
