package dirstore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/crashfs"
	"github.com/bindery-tuf/bindery/internal/disk"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirstore"
)

// onDisk opens the store on a simulated disk, or makes it.
func onDisk(fsys disk.FS) (*dirstore.Store, error) {
	s, err := dirstore.OpenOn(fsys, "/store")
	if err != nil {
		return dirstore.CreateOn(fsys, "/store")
	}
	return s, nil
}

var work = []func(s *dirstore.Store) error{
	func(s *dirstore.Store) error { return s.Create(ctx, "1", []byte("one")) },
	func(s *dirstore.Store) error { return s.Swap(ctx, "timestamp", nil, []byte("one")) },
	func(s *dirstore.Store) error { return s.Create(ctx, "2", []byte("two")) },
	func(s *dirstore.Store) error { return s.Swap(ctx, "timestamp", []byte("one"), []byte("two")) },
	func(s *dirstore.Store) error { return s.Delete(ctx, "1") },
}

// states are what the store holds after each number of calls: 1, 2, timestamp.
var states = [][3]string{{}, {"one"}, {"one", "", "one"}, {"one", "two", "one"}, {"one", "two", "two"}, {"", "two", "two"}}

func state(t *testing.T, s *dirstore.Store) (found [3]string) {
	for i, name := range []string{"1", "2", "timestamp"} {
		data, err := s.Get(ctx, name)
		if !errors.Is(err, repository.ErrNotExist) {
			require.NoError(t, err)
		}
		found[i] = string(data)
	}
	return found
}

// Whatever happens at any operation, and whatever is left of it by a loss of
// power, the store holds what every call that returned has done, the whole of the
// one that didn't or nothing of it; and the same call again completes it.
func TestCrash(t *testing.T) {
	for _, fault := range []crashfs.Fault{crashfs.Fail, crashfs.FailAfter, crashfs.KillBefore, crashfs.KillAfter} {
		for seed := range uint64(20) {
			for at := 1; ; at++ {
				where := fmt.Sprintf("fault %d at operation %d, seed %d", fault, at, seed)
				d := crashfs.New(seed)
				fsys := d.Start()
				d.InjectNext(at, fault)
				done := 0
				s, err := onDisk(fsys)
				for err == nil && done < len(work) {
					if err = work[done](s); err == nil {
						done++
					}
				}
				if err == nil && d.Ops() < at {
					break // there are no more operations
				}
				if d.Kill(); seed%2 == 0 { // readable, and lost later
					d.PowerCut(d.AnyCut())
				}
				s, err = onDisk(d.Start())
				require.NoError(t, err, where)
				require.Contains(t, states[done:min(done+2, len(states))], state(t, s), where)
				if done < len(work) {
					require.NoError(t, work[done](s), where)
					done++
				} else {
					require.NoError(t, s.Delete(ctx, "1"), where)
				}
				d.PowerCut(crashfs.Cut{})
				s, err = onDisk(d.Start())
				require.NoError(t, err, where)
				want := []any{states[done]}
				if fault == crashfs.Fail && done == len(work) {
					want = append(want, states[done-1]) // see Store.Delete
				}
				require.Contains(t, want, any(state(t, s)), where)
			}
		}
	}
}

// A process is killed while it creates the store, and a sync of the next one
// fails, each at every place. What the third one does is durable.
func TestSyncFailsAfterKill(t *testing.T) {
	recoveries := 0
	for _, fault := range []crashfs.Fault{crashfs.KillBefore, crashfs.KillAfter} {
		for seed := range uint64(8) {
			for at := 1; ; at++ {
				d := crashfs.New(seed)
				d.InjectNext(at, fault)
				if s, err := onDisk(d.Start()); err == nil && s.Create(ctx, "1", []byte("one")) == nil && d.Ops() < at {
					break
				}
				d.Kill()
				for failing := 1; ; failing++ {
					where := fmt.Sprintf("fault %d at operation %d, then at %d, seed %d", fault, at, failing, seed)
					d := d.Clone(seed)
					before := d.Ops()
					d.InjectNext(failing, crashfs.Fail)
					s, err := onDisk(d.Start())
					if err == nil {
						err = s.Create(ctx, "1", []byte("one"))
					}
					if err == nil && d.Ops()-before < failing {
						break
					}
					d.Kill()
					s, err = onDisk(d.Start())
					require.NoError(t, err, where)
					require.NoError(t, s.Create(ctx, "1", []byte("one")), where)
					d.PowerCut(crashfs.Cut{})
					s, err = dirstore.OpenOn(d.Start(), "/store")
					require.NoError(t, err, where)
					require.Equal(t, [3]string{"one"}, state(t, s), where)
					recoveries++
				}
			}
		}
	}
	require.Greater(t, recoveries, 1000)
}
