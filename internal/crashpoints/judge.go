package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"testing"

	"github.com/bindery-tuf/bindery/repository"
)

var errFrozen = errors.New("a frozen store changes no more")

func (frozen) Create(context.Context, string, []byte) error       { return errFrozen }
func (frozen) Swap(context.Context, string, []byte, []byte) error { return errFrozen }
func (frozen) Delete(context.Context, string) error               { return errFrozen }
func (frozen) List(context.Context) iter.Seq2[repository.Info, error] {
	return func(yield func(repository.Info, error) bool) { yield(repository.Info{}, errFrozen) }
}

// judge is a testing.TB outside a test: a failure panics with its reason.
type judge struct {
	testing.TB // nil: CheckRepository uses no more than what is below
	dirs       []string
}

type verdict string

func (j *judge) Name() string                      { return "the check" } // testify asks for it
func (j *judge) Helper()                           {}
func (j *judge) Errorf(format string, args ...any) { panic(verdict(fmt.Sprintf(format, args...))) }
func (j *judge) FailNow()                          { panic(verdict("failed")) }

func (j *judge) TempDir() string {
	dir, err := os.MkdirTemp("", "crashpoints-")
	if err != nil {
		panic(verdict(err.Error()))
	}
	j.dirs = append(j.dirs, dir)
	return dir
}

// recovered runs a check that was made for tests, and returns why it failed.
func recovered(f func(testing.TB)) (err error) {
	j := &judge{}
	defer func() {
		for _, dir := range j.dirs {
			os.RemoveAll(dir)
		}
		switch v := recover().(type) {
		case nil:
		case verdict:
			err = errors.New(string(v))
		default:
			panic(v)
		}
	}()
	f(j)
	return nil
}
