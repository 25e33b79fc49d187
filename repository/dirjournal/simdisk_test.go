package dirjournal

import (
	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/disk"
)

// simDisk is a simulated disk and the process that uses it now.
type simDisk struct {
	*crashfs.Disk
	disk.FS
}

func newSimDisk() *simDisk { return startOn(crashfs.New(1)) }

func startOn(d *crashfs.Disk) *simDisk { return &simDisk{d, d.Start()} }

// restart kills the process and starts another one.
func (d *simDisk) restart() {
	d.Kill()
	d.FS = d.Start()
}

// powerLoss takes the power away and starts another process.
func (d *simDisk) powerLoss(cut crashfs.Cut) {
	d.PowerCut(cut)
	d.FS = d.Start()
}

// at injects a fault into one operation, counted from the disk's first.
func (d *simDisk) at(n int, fault crashfs.Fault) { d.InjectNext(n-d.Ops(), fault) }

var (
	loseAll = crashfs.Cut{}
	keepAll = crashfs.Cut{Names: crashfs.All, Data: crashfs.All}
	keepAny = crashfs.Cut{Names: crashfs.Any, Data: crashfs.Any}
)

var failures = []crashfs.Fault{crashfs.Fail, crashfs.FailAfter}

var faults = []crashfs.Fault{crashfs.Fail, crashfs.FailAfter, crashfs.KillBefore, crashfs.KillAfter}
