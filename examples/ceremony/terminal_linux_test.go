package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/bindery-tuf/bindery/internal/columns"
)

var update = flag.Bool("update", false, "write the golden files anew")

// person sits at a terminal of 80 columns and 24 lines, and runs the program.
type person struct {
	*stage
	tty, shell *os.File
	cmd        *exec.Cmd
	seen       bytes.Buffer // all that was shown
	read       int          // how much of it the person has answered
}

const ttyLines = 24

// sit starts the program at a terminal, in the stage's folder.
func (s *stage) sit(args ...string) *person {
	t := s.t
	t.Helper()
	p := &person{stage: s}
	var err error
	p.tty, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.tty.Close() })
	fd := int(p.tty.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	require.NoError(t, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: ttyLines, Col: pageWidth}))
	p.shell, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.shell.Close() })
	p.cmd = s.command(binary(t), append([]string{args[0], "-now", "2030-01-31T12:00:00Z"}, args[1:]...)...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = p.shell, p.shell, p.shell
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, p.cmd.Start())
	return p
}

// until reads until the program asks, and returns all since the last answer.
func (p *person) until(question string) string {
	p.t.Helper()
	for {
		if i := strings.Index(p.seen.String()[p.read:], question); i >= 0 {
			from := p.read
			p.read += i + len(question)
			return p.seen.String()[from:p.read]
		}
		p.more()
	}
}

func (p *person) more() {
	p.t.Helper()
	buf := make([]byte, 4096)
	n, err := p.tty.Read(buf)
	require.NoError(p.t, err, p.seen.String())
	p.seen.WriteString(strings.ReplaceAll(string(buf[:n]), "\r", ""))
}

func (p *person) types(line string) {
	p.t.Helper()
	_, err := p.tty.WriteString(line + "\n")
	require.NoError(p.t, err)
}

// pagesUntil presses Enter until the program asks something else.
func (p *person) pagesUntil(question string) {
	p.t.Helper()
	const next = " more lines) -- "
	for {
		shown := p.seen.String()[p.read:]
		switch i, j := strings.Index(shown, next), strings.Index(shown, question); {
		case i >= 0 && (j < 0 || i < j):
			p.read += i + len(next)
			p.types("")
		case j >= 0:
			p.read += j + len(question)
			return
		default:
			p.more()
		}
	}
}

// screen is what the person has in front of them: the last lines.
func (p *person) screen() string {
	lines := strings.Split(p.seen.String()[:p.read], "\n")
	return strings.Join(lines[max(0, len(lines)-ttyLines):], "\n")
}

// ends waits for the program, and returns what it showed last.
func (p *person) ends(status int) string {
	p.t.Helper()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(p.t, err)
	}
	const end = "<the end>"
	_, err = p.shell.WriteString(end)
	require.NoError(p.t, err)
	last := p.until(end)
	require.Equal(p.t, status, p.cmd.ProcessState.ExitCode(), p.seen.String())
	return last
}

// shellReads is the command that the shell reads once the person presses Enter.
func (p *person) shellReads() string {
	p.t.Helper()
	p.types("")
	buf := make([]byte, 4096)
	n, err := p.shell.Read(buf)
	require.NoError(p.t, err)
	return strings.TrimSuffix(string(buf[:n]), "\n")
}

// compromised is a stage on which a compromise is declared, by which fewer must sign.
func compromised(t *testing.T) *stage {
	s := asked(t)
	s.merge("Ada", "Bob")
	s.keygen("Dora", "web2", "bins2")
	s.run(done, "", "request", "-dir", s.path("repo"), "-compromise", "-reason", "Break-in of Tuesday: Bob's laptop and the web server were stolen, with their keys",
		"-replace", "Bob="+s.card("Dora"), "-threshold", "1", "-lower", "root", "-new-one-time", "2",
		"-drop-online", "web", "-add-online", s.card("web2"), "-drop-online-bins", "bins", "-add-online-bins", s.card("bins2"))
	return s
}

// On 24 lines, a holder has the reason, all that is declared and all that is grave in sight when the
// question comes, whatever went before. What is typed ahead answers nothing.
func TestTerminal(t *testing.T) {
	s := compromised(t)
	p := s.sit("sign", "-key", "Ada.key", "-out", "ada.response.json", "repo/open/request.json")
	p.pagesUntil("to sign: ")
	screen := p.screen()
	for _, want := range []string{
		"       why       Break-in of Tuesday: Bob's laptop and the web server were\n                 stolen, with their keys\n",
		"  !!   declared  A COMPROMISE: what removed keys signed need not verify any\n                 longer\n",
		"  !!   declared  FEWER MUST SIGN: root\n",
		"  !!   root 2    root, threshold: 1 of 3, was 2 of 3\n",
		"________",
	} {
		require.Contains(t, screen, want)
	}
	require.Contains(t, p.seen.String(), "  you  root       any 1 of 3  "+s.idOf("Ada")[0]+"  Ada\n")
	group := regexp.MustCompile(`(\d): ________`).FindStringSubmatch(screen)[1]
	transcript := p.seen.String()[:p.read]

	// A group of another digest is said to be that; a wrong passphrase is asked for again.
	r, err := readRequest(s.request())
	require.NoError(t, err)
	n := int(group[0] - '0')
	p.types(r.Marks()[0].Digest.Groups()[n-1])
	p.until("No: that is group " + group + " of the digest of root version 2, and group " + group + " of this\n  request's digest is asked for.\n")
	p.until("(try 2 of 3): ")
	p.types(r.Digest().Groups()[n-1])
	p.until("Passphrase of key file ")
	p.until(": ")
	p.types("not the passphrase")
	p.until("Wrong passphrase: type it again (try 2 of 3).\n")
	p.until("Ada.key: ")
	p.types("Ada")
	last := p.ends(done)
	require.Contains(t, last, "SIGNED\n")
	require.FileExists(t, s.path("ada.response.json"))

	golden(t, "sign-compromise.txt", transcript)
}

// golden compares a screen, but for what differs each time, with a file.
func golden(t *testing.T, name, screen string) {
	t.Helper()
	screen = regexp.MustCompile(`\b[0-9a-f]{8}\b|_{8}`).ReplaceAllString(screen, "hhhhhhhh")
	screen = regexp.MustCompile(`Group \d`).ReplaceAllString(screen, "Group N")
	name = filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(name, []byte(screen), 0o644))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), screen, "go test -update writes it anew")
	for line := range strings.Lines(screen) {
		require.LessOrEqual(t, columns.Width(strings.TrimSuffix(line, "\n")), pageWidth, line)
	}
}

// Somebody who was refused types on, a passphrase: the shell reads nothing of it.
func TestTypedAfterRefusal(t *testing.T) {
	s := asked(t)
	p := s.sit("sign", "-key", "Ada.key", "repo/open/request.json")
	p.pagesUntil("to sign: ")
	p.types("00000000")
	p.until("(try 2 of 3): ")
	p.types("00000000")
	p.until("(try 3 of 3): ")
	p.types("00000000")
	p.until("stop, and call the others\n")
	p.until("dropped. ")
	p.types("Ada's passphrase")
	p.until("Press Enter alone to end. ")
	p.types("Ada's passphrase") // as of a new key
	p.until("Press Enter alone to end. ")
	p.types("")
	last := p.ends(refused)
	require.NotContains(t, last, "passphrase", "nor is it shown")
	require.Empty(t, p.shellReads())

	// Interrupted, the terminal is as before.
	p = s.sit("sign", "-key", "Ada.key", "repo/open/request.json")
	p.pagesUntil("to sign: ")
	_, err := p.tty.WriteString("half a passphr\x03")
	require.NoError(t, err)
	require.Contains(t, p.ends(refused), "\nceremony: interrupted: nothing was signed\n", "in a line of its own")
	require.Empty(t, p.shellReads())
}
