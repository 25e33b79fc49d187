package repotest

import "fmt"

// Must is the testing.T of a ceremony in a program that is no test: what goes wrong
// is a panic.
type Must struct{}

func (Must) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (Must) FailNow()                          { panic("the ceremony failed") }
