package main

import (
	"bytes"
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/bindery-tuf/bindery/internal/benchmark"
	"github.com/bindery-tuf/bindery/internal/interop"
)

//go:embed python.py
var pythonScript string

// python is a process that does python-tuf's side of the jobs.
type python struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	stderr  bytes.Buffer
	replies *json.Decoder
}

// pythonJob says what to change in a file.
type pythonJob struct {
	Kind    string    `json:"kind"` // "bin" or "snapshot"
	Expires time.Time `json:"expires"`
	Version int64     `json:"version"`

	Path   string `json:"path,omitempty"` // the one target of a bin
	SHA256 string `json:"sha256,omitempty"`
	Length int64  `json:"length,omitempty"`

	Names []string `json:"names,omitempty"` // what gets the version in a snapshot
}

// pythonRequest begins a job, or repeats it for at least NS nanoseconds.
type pythonRequest struct {
	Job  *pythonJob `json:"job,omitempty"`
	File []byte     `json:"file,omitempty"`
	Key  []byte     `json:"key,omitempty"` // PKCS #8
	NS   int64      `json:"ns,omitempty"`
}

type pythonReply struct {
	File []byte `json:"file"` // signed once
	NS   int64  `json:"ns"`   // of one repetition
}

// startPython installs python-tuf if need be.
func startPython(ctx context.Context) (*python, error) {
	interpreter, err := interop.Python(ctx, "python")
	if err != nil {
		return nil, err
	}
	p := &python{cmd: exec.CommandContext(ctx, interpreter, "-I", "-c", pythonScript)}
	p.cmd.Stderr = &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.replies = json.NewDecoder(stdout)
	return p, p.cmd.Start()
}

// side begins a job, and compares its result with ours.
func (p *python) side(e *env, job pythonJob, k key, file []byte, same func(theirs []byte) error) (benchmark.Side, error) {
	private, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	reply, err := p.ask(pythonRequest{Job: &job, File: file, Key: private})
	if err == nil {
		err = same(reply.File)
	}
	return func(context.Context) (time.Duration, error) {
		reply, err := p.ask(pythonRequest{NS: e.small.Nanoseconds()})
		return time.Duration(reply.NS), err
	}, err
}

func (p *python) ask(r pythonRequest) (reply pythonReply, err error) {
	if err = json.NewEncoder(p.stdin).Encode(r); err == nil {
		err = p.replies.Decode(&reply)
	}
	if err != nil {
		err = fmt.Errorf("python: %w: %s", err, p.stderr.Bytes())
	}
	return reply, err
}

func (p *python) close() error {
	p.stdin.Close()
	return p.cmd.Wait()
}
