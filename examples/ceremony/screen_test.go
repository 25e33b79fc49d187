package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/roles/ceremony"
)

// idOf is the key ID of somebody's card, in groups.
func (s *stage) idOf(name string) [8]string {
	s.t.Helper()
	h, err := readCard(s.card(name))
	require.NoError(s.t, err)
	d, err := ceremony.ParseDigest(h.Key.ID())
	require.NoError(s.t, err)
	return d.Groups()
}

// showsKey makes sure that a screen shows, once, that a key comes or goes.
func (s *stage) showsKey(screen, role, what, name string) {
	s.t.Helper()
	groups := s.idOf(name)
	lines := regexp.MustCompile(`(?m)^  (?:   |you)  ` + role + ` +` + what + ` +` + strings.Join(groups[:4], " ") + "  " + name +
		`\n +` + strings.Join(groups[4:], " ") + `$`)
	require.Lenf(s.t, lines.FindAllString(screen, -1), 1, "%s\n%s", lines, screen)
}

// The first digits of a key ID can be had again by trying: of a key that comes or goes, a
// holder sees all, before the name.
func TestScreenOfKeys(t *testing.T) {
	s := asked(t)
	_, screen := s.sign("Ada")
	for _, name := range []string{"Ada", "Bob", "Cleo"} {
		s.showsKey(screen, "root", "key added", name)
	}
	s.showsKey(screen, "snapshot", "key added", "web")
	s.showsKey(screen, "timestamp", "key added", "web")
	s.showsKey(screen, "each bin", "key added", "bins")
	for _, name := range []string{"Ada", "Bob", "Cleo", "web", "bins"} {
		require.Contains(t, screen, "  "+s.idOf(name)[0]+"  "+name+"\n", "who can sign")
	}
	sheet, _ := s.run(done, "", "sheet", "-dir", s.path("repo"))
	for _, name := range []string{"Ada", "Bob", "Cleo", "web", "bins"} {
		id := s.idOf(name)
		require.Contains(t, sheet, "   "+strings.Join(id[:], " ")+"\n      "+name+"\n")
	}
}

func TestDays(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		365 * day:                   "365 days",
		365*day - time.Minute:       "365 days",
		365*day - 13*time.Hour:      "364 days",
		2 * day:                     "2 days",
		2*day - time.Second:         "47 hours",
		time.Hour - time.Nanosecond: "0 hours",
	} {
		require.Equal(t, want, days(d))
	}
}
