package passphrase

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// person is at the other end of a terminal, which has a name.
type person struct {
	*os.File
	name   string
	screen bytes.Buffer
}

func newPerson(t *testing.T) *person {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	fd := int(f.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	p := &person{File: f, name: fmt.Sprintf("/dev/pts/%d", number)}
	// Someone else has the terminal open all the time, as a shell does.
	shell, err := os.OpenFile(p.name, os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, shell.Close()) })
	return p
}

// sees waits until the screen shows text.
func (p *person) sees(t *testing.T, text string) {
	for one := make([]byte, 1); !strings.Contains(p.screen.String(), text); {
		if _, err := io.ReadFull(p, one); err != nil {
			t.Error(err)
			return
		}
		p.screen.Write(one)
	}
}

// echo reports whether the terminal shows what is typed.
func (p *person) echo(t *testing.T) bool {
	t.Helper()
	f, err := os.OpenFile(p.name, os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	defer f.Close()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	require.NoError(t, err)
	return state.Lflag&unix.ECHO != 0
}

// answering asks at a terminal where keys are typed at the prompt.
func answering(t *testing.T, typed string) (answer []byte, screen string, err error) {
	t.Helper()
	p := newPerson(t)
	require.True(t, p.echo(t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.sees(t, prompt+": ")
		p.WriteString(typed)
		p.sees(t, "\r\n")
	}()
	answer, err = terminal("linux", p.name)(t.Context(), prompt)
	<-done
	require.True(t, p.echo(t), "the terminal is as it was")
	return answer, p.screen.String(), err
}

func TestTerminal(t *testing.T) {
	for typed, want := range map[string]string{
		"correct horse\r":                "correct horse",
		"corect\x7f\x7f\x7frect horse\r": "correct horse", // a correction
		"pässwörd\r":                     "pässwörd",
		strings.Repeat("x", 1024) + "\r": strings.Repeat("x", 1024),
	} {
		answer, screen, err := answering(t, typed)
		require.NoError(t, err)
		require.Equal(t, want, string(answer))
		require.Equal(t, prompt+": \r\n", screen, "nothing of what was typed")
	}
}

func TestTerminalRefuses(t *testing.T) {
	for typed, want := range map[string]string{
		"\r":                             "the passphrase is empty",
		"\x03":                           "no passphrase was given",
		"abc\x03":                        "no passphrase was given",
		"\x04":                           "no passphrase was given",
		strings.Repeat("x", 1025) + "\r": "the passphrase is longer than 1024 bytes",
	} {
		answer, _, err := answering(t, typed)
		require.Nil(t, answer)
		require.ErrorContains(t, err, "ask for the passphrase at the terminal: "+want)
		require.NotContains(t, err.Error(), "xx")
	}
}

func TestTerminalConfirmed(t *testing.T) {
	p := newPerson(t)
	go func() {
		for _, prompt := range []string{prompt + ": ", prompt + ", once more: "} {
			p.sees(t, prompt)
			p.WriteString("correct horse\r")
		}
	}()
	answer, err := Confirmed(terminal("linux", p.name))(t.Context(), prompt)
	require.NoError(t, err)
	require.Equal(t, "correct horse", string(answer))
}

func TestTerminalGivenUp(t *testing.T) {
	p := newPerson(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		p.sees(t, prompt+": ")
		p.WriteString("hunter2")
		cancel()
	}()
	_, err := terminal("linux", p.name)(ctx, prompt)
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, p.echo(t), "the terminal is as it was")
	_, err = terminal("linux", p.name)(ctx, prompt)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNoTerminal(t *testing.T) {
	_, err := terminal("linux", t.TempDir()+"/tty")(t.Context(), prompt)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "no terminal (a file descriptor can be used instead)")
	_, err = terminal("linux", "/dev/null")(t.Context(), prompt)
	require.ErrorIs(t, err, unix.ENOTTY)
}

func TestPrompt(t *testing.T) {
	require.Equal(t, "key \ufffd[2J of ö", printable("key \x1b[2J of ö"))
}
