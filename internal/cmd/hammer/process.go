package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bindery-tuf/bindery/internal/repotest"
	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
)

var errDied = errors.New("the publisher ended by itself")

// end says when a publisher is killed.
type end struct {
	after    time.Duration
	opened   bool // after it opened the repository, and not after it started
	settles  bool // never: it settles everything, and ends by itself
	collects bool // never: it collects everything, and ends by itself
}

func (e end) never() bool { return e.settles || e.collects }

// start starts a publisher and records what it says, until it ends.
func (h *hammer) start(ctx context.Context, end end) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), publisherDir+"="+h.dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	killer := time.AfterFunc(time.Hour, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	opened := func() error {
		if !end.opened {
			return nil // it may be dead by now
		}
		err := h.locked()
		if !end.never() {
			killer.Reset(end.after)
		}
		return err
	}
	if !end.opened && !end.never() {
		killer.Reset(end.after)
	}
	// It may be killed before it reads this. Its output must be read meanwhile.
	orders := orders{Collect: true}
	if !end.collects {
		orders = h.book.orders(end.settles)
		orders.Rotate = len(h.keys) > 1
		orders.Begin = orders.Rotate && !h.begun // once: it survives every kill
	}
	orders.Keys = h.keys
	go func() { _ = json.NewEncoder(in).Encode(orders) }()
	readErr := h.read(ctx, out, opened)
	if readErr != nil {
		_ = cmd.Process.Kill()
	}
	waitErr := cmd.Wait()
	killed := strings.Contains(fmt.Sprint(waitErr), "killed")
	switch {
	case readErr != nil:
		return readErr
	case ctx.Err() != nil:
		return ctx.Err()
	case end.never() && waitErr == nil, !end.never() && killed:
		return nil
	}
	return fmt.Errorf("%w: %v: %s", errDied, waitErr, stderr.String())
}

// locked requires that no second process can publish while a publisher lives.
func (h *hammer) locked() error {
	journal, err := dirjournal.Open(filepath.Join(h.dir, repotest.SiteJournal))
	if err == nil {
		return errors.Join(errors.New("the journal was opened a second time while the publisher lives"), journal.Close())
	}
	if !errors.Is(err, repository.ErrLocked) {
		return err
	}
	return nil
}

// read records the lines of a publisher until it ends. The generation of a receipt must be visible by
// then.
func (h *hammer) read(ctx context.Context, out io.Reader, opened func() error) error {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return nil // it ended; a line without an end was cut by the kill
		}
		if line == "o\n" {
			if err := opened(); err != nil {
				return err
			}
			continue
		}
		switch line {
		case "d\n":
			h.collected.Add(1)
			continue
		case "i\n":
			h.installed, h.begun = true, len(h.keys) > 1
			continue
		case "r\n":
			h.ready = true
			continue
		}
		var kind string
		var lane, n int
		var generation int64
		if _, err := fmt.Sscan(line, &kind, &lane, &n); err != nil {
			return fmt.Errorf("the publisher told %q: %w", line, err)
		}
		if kind == "a" {
			if err := h.book.accept(lane, n); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Sscan(line, &kind, &lane, &n, &generation); err != nil {
			return fmt.Errorf("the publisher told %q: %w", line, err)
		}
		isNew, err := h.book.publish(lane, n, generation)
		if err != nil {
			return err
		}
		if !isNew {
			continue
		}
		visible, err := visible(ctx, h.store)
		if err != nil {
			return err
		}
		if visible < generation {
			return fmt.Errorf("lane %d: the receipt of item %d names generation %d, and clients see %d", lane, n, generation, visible)
		}
	}
}
