package ceremony

import (
	"fmt"
	"io"
	"strings"

	"github.com/bindery-tuf/bindery/internal/columns"
)

// sheetWidth is the number of columns on a page in a fixed font.
const sheetWidth = 78

// WriteText writes the sheet as plain text of at most 78 columns. No word is cut: only a word that is
// wider itself goes beyond.
func (s Sheet) WriteText(w io.Writer) error {
	p := s.page()
	t := &textSheet{}
	rule := strings.Repeat("=", sheetWidth)
	t.line(rule)
	t.hang("", p.Title)
	t.line(rule)
	t.line("Made    " + p.Made)
	t.hang("Reason  ", p.Reason)
	for _, alarm := range p.Alarms {
		t.line("")
		t.hang("!! ", alarm)
	}
	t.title("Digest of this request: compare it group by group")
	t.numbered(p.Groups)
	if p.Based != nil {
		t.title(fmt.Sprintf("Based on root version %d", p.Based.Version))
		t.digest(*p.Based)
	}
	for _, d := range p.Documents {
		t.document(d)
	}
	for _, d := range p.Destroyed {
		t.title("One-time keys of " + d.Role + ", destroyed " + d.At)
		for _, id := range d.KeyIDs {
			t.keyID("   ", id)
		}
	}
	t.title("Holders")
	for _, h := range p.Holders {
		t.hang("   ["+map[bool]string{true: "signed", false: "      "}[h.Signed]+"] ", Who{Name: h.Name}.orNone())
		t.keyID("            ", h.KeyID)
		t.line("            by hand: ______________________________  on: ______________")
		t.line("")
	}
	t.line("ALL KEYS")
	t.line("")
	for _, k := range p.Keys {
		t.keyID("   ", k.KeyID)
		t.hang("      ", k.orNone())
	}
	t.title("Steps")
	for i, step := range p.Steps {
		t.hang(fmt.Sprintf("   %-6s ", fmt.Sprintf("[ ] %d", i+1)), step)
	}
	t.title("Witnesses")
	for range 2 {
		t.line("   name: _______________________  by hand: ______________________________")
		t.line("")
	}
	_, err := io.WriteString(w, t.String())
	return err
}

// textSheet is a sheet as text.
type textSheet struct{ strings.Builder }

func (t *textSheet) line(s string) { t.WriteString(s + "\n") }

func (t *textSheet) title(s string) { t.line("\n" + strings.ToUpper(s) + "\n") }

// hang writes a text whose lines are all below the beginning of the first.
func (t *textSheet) hang(first, text string) {
	indent := columns.Width(first)
	for _, l := range columns.Wrap(text, sheetWidth-indent) {
		t.line(strings.TrimRight(first+l, " "))
		first = strings.Repeat(" ", indent)
	}
}

// numbered writes a digest whose groups people ask each other for.
func (t *textSheet) numbered(groups [8]string) {
	for i, g := range groups {
		fmt.Fprintf(t, "   %d. %s", i+1, g)
		if i%4 == 3 {
			t.line("")
		}
	}
}

func (t *textSheet) digest(m pageMark) {
	t.line("   digest of " + m.Name + ":")
	t.numbered(m.Groups)
}

// keyID writes a key ID in groups, on one line or, if that is too narrow, half by half.
func (t *textSheet) keyID(indent, id string) {
	lines := halves(id)
	if one := strings.Join(lines, " "); columns.Width(indent+one) <= sheetWidth {
		lines = []string{one}
	}
	for _, l := range lines {
		t.line(indent + l)
	}
}

func (t *textSheet) document(d pageDocument) {
	t.title(d.Name)
	t.digest(d.pageMark)
	t.hang("   ", "expires "+d.Expires+"; "+d.State)
	t.line("")
	for _, c := range d.Changes {
		t.hang("   "+columns.Pad(c.Role, 11)+" ", c.Text)
	}
	if len(d.Changes) == 0 {
		t.line("   nothing changes but the version")
	}
	for _, s := range d.Signers {
		t.line("")
		t.hang("   ", fmt.Sprintf("then %s is signed by any %d of these %d:", s.Role, s.Threshold, len(s.Keys)))
		for _, k := range s.Keys {
			id, name := shortCells(k)
			t.hang("      "+id+"  ", name)
		}
	}
	for _, warning := range d.Warnings {
		t.line("")
		t.hang("   Beware:  ", warning)
	}
}
