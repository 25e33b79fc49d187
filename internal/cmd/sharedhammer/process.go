package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// processVariable is the variable that makes this program one of the processes that the hammer starts.
const processVariable = "BINDERY_SHAREDHAMMER_PROCESS"

// clockVariable says how far a publisher's clock is off. The program needs it for no more than to pass it on to
// repository.Config.Now. A mutation reads it.
const clockVariable = "BINDERY_SHAREDHAMMER_CLOCK"

// process is what a process is told, as JSON in processVariable.
type process struct {
	Kind     string // "publisher" or "index"
	Number   int
	Dir      string
	Database string        // address of a proxy in front of PostgreSQL
	Store    string        // address of a proxy in front of the S3 service
	Public   string        // URL of the metadata for clients: a cache's for a publisher, the bucket's for an index
	Clock    time.Duration // by how much its clock is off
	Seed     uint64
}

// child is a process that runs.
type child struct {
	process
	cmd     *exec.Cmd
	in      io.WriteCloser
	stderr  bytes.Buffer
	dies    atomic.Bool   // it was killed
	ended   chan struct{} // closed when its output was read and it has ended
	stopped bool          // by SIGSTOP
	waitErr error
}

// start starts a process. Each line that it prints is given to line, and then its end to end.
func start(p process, line func(string) error, end func(*child) error, fail func(error)) (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	c := &child{process: p, cmd: exec.Command(program), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), processVariable+"="+string(told), clockVariable+"="+p.Clock.String())
	c.cmd.Stderr = &c.stderr
	c.cmd.SysProcAttr = detached()
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(c.ended)
		lines := bufio.NewReader(out)
		for {
			text, err := lines.ReadString('\n')
			if err != nil {
				break // it ended; a line without an end was cut by the kill
			}
			text = strings.TrimSuffix(text, "\n")
			if what, ok := strings.CutPrefix(text, "u "); ok {
				fail(fmt.Errorf("%s %d: %s", p.Kind, p.Number, what))
			} else if err := line(text); err != nil {
				fail(fmt.Errorf("%s %d: %w", p.Kind, p.Number, err))
			}
		}
		c.waitErr = c.cmd.Wait()
		if err := end(c); err != nil {
			fail(err)
		}
	}()
	return c, nil
}

// kill kills the process and waits for its end.
func (c *child) kill() {
	c.dies.Store(true)
	_ = c.cmd.Process.Kill()
	<-c.ended
}

func (c *child) signal(s os.Signal) error {
	c.stopped = s == stopProcess
	if err := c.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// publishers are the two that run, by number. A kill takes one out.
type publishers struct {
	mu  sync.Mutex
	all [2]*child
}

func (p *publishers) get(n int) *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[n]
}

func (p *publishers) set(n int, c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all[n] = c
}
