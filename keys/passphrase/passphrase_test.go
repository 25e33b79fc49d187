package passphrase

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bindery-tuf/bindery/keys"
	"github.com/stretchr/testify/require"
)

const prompt = "Passphrase of key file /root.key"

// answers is a Source that gives one after the other and notes the prompts.
func answers(prompts *[]string, answers ...string) Source {
	return func(_ context.Context, prompt string) ([]byte, error) {
		*prompts = append(*prompts, prompt)
		if len(answers) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		answer := answers[0]
		answers = answers[1:]
		return []byte(answer), nil
	}
}

func TestConfirmed(t *testing.T) {
	var prompts []string
	got, err := Confirmed(answers(&prompts, "correct horse", "correct horse"))(t.Context(), prompt)
	require.NoError(t, err)
	require.Equal(t, "correct horse", string(got))
	require.Equal(t, []string{prompt, prompt + ", once more"}, prompts)

	for _, c := range []struct {
		answers []string
		asked   int
		want    string
	}{
		{[]string{"hunter2", "hunter3"}, 2, "the two passphrases differ"},
		{[]string{"hunter2", "hunter2 "}, 2, "the two passphrases differ"},
		{[]string{"hunter2", ""}, 2, "the two passphrases differ"},
		{[]string{"", ""}, 1, "the passphrase is empty"},
		{[]string{strings.Repeat("x", 1025)}, 1, "longer than 1024 bytes"},
		{[]string{"hunter2"}, 2, "unexpected EOF"},
		{nil, 1, "unexpected EOF"},
	} {
		prompts = nil
		got, err := Confirmed(answers(&prompts, c.answers...))(t.Context(), prompt)
		require.ErrorContains(t, err, c.want)
		require.NotContains(t, err.Error(), "hunter")
		require.Nil(t, got)
		require.Len(t, prompts, c.asked)
	}
}

func TestCheckNew(t *testing.T) {
	for secret, want := range map[string]string{
		"": "the passphrase is empty", "x": "fewer than 8 characters", "1234567": "fewer than 8 characters", "äöüäöüä": "fewer than 8 characters",
		"xxxxxxxx": "one character again and again", "        ": "one character again and again",
	} {
		require.ErrorContains(t, CheckNew([]byte(secret)), want, secret)
		var prompts []string
		got, err := Confirmed(answers(&prompts, secret, secret))(t.Context(), prompt)
		require.ErrorContains(t, err, want, secret)
		require.Nil(t, got)
	}
	for _, secret := range []string{"correct horse", "12345678", "äöüäöüäö"} {
		require.NoError(t, CheckNew([]byte(secret)))
	}
}

// readAll calls a Source until it fails.
func readAll(t *testing.T, s Source) (got []string, err error) {
	t.Helper()
	for {
		one, err := s(t.Context(), prompt)
		if err != nil {
			require.Nil(t, one)
			return got, err
		}
		got = append(got, string(one))
	}
}

func TestLines(t *testing.T) {
	const none = "no line left"
	long := strings.Repeat("x", 1024)
	for input, c := range map[string]struct {
		want []string
		err  string
	}{
		"":                      {nil, none},
		"correct horse":         {[]string{"correct horse"}, none},
		"correct horse\n":       {[]string{"correct horse"}, none},
		"correct horse\r\n":     {[]string{"correct horse"}, none},
		"correct horse\n\n":     {[]string{"correct horse"}, "the passphrase is empty"},
		"correct horse\r\r\n":   {[]string{"correct horse\r"}, none},
		"correct horse\r":       {[]string{"correct horse\r"}, none},
		" \tcorrect horse \t\n": {[]string{" \tcorrect horse \t"}, none},
		"one\ntwo\r\nthree":     {[]string{"one", "two", "three"}, none},
		"\n":                    {nil, "the passphrase is empty"},
		"\r\n":                  {nil, "the passphrase is empty"},
		"\nhunter2\n":           {nil, "the passphrase is empty"},
		"pässwörd\n":            {[]string{"pässwörd"}, none},
		long:                    {[]string{long}, none},
		long + "\n":             {[]string{long}, none},
		long + "\r\ntwo":        {[]string{long, "two"}, none},
		long + "x":              {nil, "longer than 1024 bytes"},
		long + "x\nhunter2\n":   {nil, "longer than 1024 bytes"},
		long + "xxxhunter2":     {nil, "longer than 1024 bytes"},
	} {
		got, err := readAll(t, lines(strings.NewReader(input), "file descriptor 3"))
		require.Equal(t, c.want, got, "%q", input)
		require.ErrorContains(t, err, "read the passphrase from file descriptor 3: ")
		require.ErrorContains(t, err, c.err, "%q", input)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := lines(endless{}, "x")(t.Context(), prompt)
	require.ErrorContains(t, err, "longer than 1024 bytes")
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// After an error nobody knows whose passphrase comes next.
func TestLinesAfterAnError(t *testing.T) {
	s := lines(strings.NewReader("\nhunter2\n"), "x")
	_, first := s(t.Context(), prompt)
	_, second := s(t.Context(), prompt)
	require.EqualError(t, second, "read the passphrase from x: an earlier read failed: "+errors.Unwrap(first).Error())
}

func TestLinesGivenUp(t *testing.T) {
	r, w := io.Pipe()
	s := lines(r, "x")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		w.Write([]byte("hun")) // returns once it is read
		cancel()
	}()
	_, err := s(ctx, prompt)
	require.ErrorIs(t, err, context.Canceled)
	_, err = s(t.Context(), prompt)
	require.ErrorContains(t, err, "an earlier read failed")
	_, err = s(ctx, prompt)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, w.Close())
}

// A question waits for the one before it, no longer than its context.
func TestInTurn(t *testing.T) {
	asked, answered := make(chan struct{}), make(chan struct{})
	s := inTurn(func(context.Context, string) ([]byte, error) {
		asked <- struct{}{}
		<-answered
		return []byte("x"), nil
	})
	done := make(chan error)
	go func() {
		_, err := s(t.Context(), prompt)
		done <- err
	}()
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, err := s(ctx, prompt)
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	close(answered)
	require.NoError(t, <-done)
}

func FuzzLines(f *testing.F) {
	for _, input := range []string{"", "one\ntwo", "one\r\n", "\n", "\r", "a\x00b\n", strings.Repeat("x", 1030)} {
		f.Add(input)
	}
	f.Fuzz(func(t *testing.T, input string) {
		got, err := readAll(t, lines(strings.NewReader(input), "x"))
		require.Error(t, err)
		rest := input
		for _, line := range got {
			require.NotEmpty(t, line)
			require.LessOrEqual(t, len(line), 1024)
			require.NotContains(t, line, "\n")
			require.True(t, strings.HasPrefix(rest, line))
			rest = strings.TrimPrefix(strings.TrimPrefix(rest[len(line):], "\r"), "\n")
		}
	})
}

// With a key file, and the wrong one.
func TestWithKeyFile(t *testing.T) {
	s, err := keys.GenerateEd25519()
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "key")
	answer, err := Confirmed(lines(strings.NewReader("correct horse\ncorrect horse\n"), "x"))(t.Context(), "New passphrase")
	require.NoError(t, err)
	require.NoError(t, keys.WriteFile(name, s, answer))

	r := keys.Resolver{"file": keys.FileOpener(lines(strings.NewReader("wrong horse\ncorrect horse\n"), "x"))}
	_, err = r.Open(t.Context(), "file:"+name, s.Public())
	require.ErrorIs(t, err, keys.ErrPassphrase)
	require.ErrorContains(t, err, name)
	require.NotContains(t, err.Error(), "horse")
	opened, err := r.Open(t.Context(), "file:"+name, s.Public())
	require.NoError(t, err)
	require.True(t, opened.Public().Same(s.Public()))
	_, err = r.Open(t.Context(), "file:"+name, s.Public())
	require.ErrorContains(t, err, "no line left")
}
