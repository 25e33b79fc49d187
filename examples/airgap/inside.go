package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// insideArgument makes this program what runs inside a namespace.
const insideArgument = "-inside-a-namespace"

// errNoNamespace is wrapped where this machine can't make a network namespace.
var errNoNamespace = fmt.Errorf("%s: %w: no network namespace can be made (it takes Linux, and a user who may)", runtime.GOOS, errors.ErrUnsupported)

// inside makes sure that there is no network, says so in one line, and only then runs
// the command.
func inside(ctx context.Context, index string, command []string) error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	var report []string
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil {
			return err
		}
		if i.Flags&net.FlagLoopback == 0 || i.Flags&net.FlagUp != 0 || len(addresses) > 0 {
			return fmt.Errorf("there is a network here: interface %s, %v, with %d addresses", i.Name, i.Flags, len(addresses))
		}
		report = append(report, i.Name+" (loopback) is down and has no address")
	}
	if u, err := url.Parse(index); err == nil && u.Host != "" {
		connection, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", u.Host)
		if err == nil {
			return errors.Join(fmt.Errorf("there is a network here: the index at %s answers", u.Host), connection.Close())
		}
		report = append(report, fmt.Sprintf("the index: %v", err))
	}
	fmt.Printf("network interfaces: %d; %s\n", len(interfaces), strings.Join(report, "; "))
	// The command takes the place of this process.
	return syscall.Exec(command[0], command, []string{})
}

// withoutNetwork is a command that runs in a namespace without a network.
func withoutNetwork(ctx context.Context, index string, command []string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{insideArgument, index}, command...)...)
	if err := isolate(cmd); err != nil {
		return nil, err
	}
	return cmd, nil
}
