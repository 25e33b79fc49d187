package ceremony

import (
	"fmt"
	"io"
	"strings"
)

// sheetWidth is the number of columns on a page in a fixed font.
const sheetWidth = 78

// WriteText writes the sheet as plain text of at most 78 columns, where names and
// digests allow it.
func (s Sheet) WriteText(w io.Writer) error {
	p := s.page()
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	rule := strings.Repeat("=", sheetWidth)
	line("%s", rule)
	for _, l := range wrap(p.Title, sheetWidth) {
		line("%s", l)
	}
	line("%s", rule)
	line("Made    %s", p.Made)
	for i, l := range wrap(p.Reason, sheetWidth-8) {
		line("%-8s%s", []string{"Reason", ""}[min(i, 1)], l)
	}
	if p.Alarm != "" {
		line("")
		for _, l := range wrap("!! "+p.Alarm, sheetWidth) {
			line("%s", l)
		}
	}
	line("\nDIGEST TO COMPARE, GROUP BY GROUP\n")
	for i, g := range p.Groups {
		fmt.Fprintf(&b, "   %d. %s", i+1, g)
		if i%4 == 3 {
			line("")
		}
	}
	if p.Based != nil {
		line("\nBASED ON ROOT VERSION %d\n", p.Based.Version)
		writeDigest(&b, p.Based.Digest)
	}
	for _, d := range p.Documents {
		writeDocument(&b, d)
	}
	for _, d := range p.Destroyed {
		line("\nONE-TIME KEYS OF %s, DESTROYED %s\n", strings.ToUpper(d.Role), d.At)
		for _, id := range d.KeyIDs {
			line("   %s", id)
		}
	}
	line("\nHOLDERS\n")
	for _, h := range p.Holders {
		name := Who{Name: h.Name}.orNone()
		line("   [%s] %s", map[bool]string{true: "signed", false: "      "}[h.Signed], name)
		line("            %s", h.KeyID)
		line("            by hand: ______________________________  on: ______________\n")
	}
	line("ALL KEYS\n")
	for _, k := range p.Keys {
		line("   %s", strings.Join(halves(k.KeyID), " "))
		line("      %s", k.orNone())
	}
	line("\nSTEPS\n")
	for i, step := range p.Steps {
		for j, l := range wrap(step, sheetWidth-10) {
			line("   %-6s %s", []string{fmt.Sprintf("[ ] %d", i+1), ""}[min(j, 1)], l)
		}
	}
	line("\nWITNESSES\n")
	for range 2 {
		line("   name: _______________________  by hand: ______________________________\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeDocument(b *strings.Builder, d pageDocument) {
	fmt.Fprintf(b, "\n%s VERSION %d\n\n", strings.ToUpper(d.Role), d.Version)
	writeDigest(b, d.Digest)
	fmt.Fprintf(b, "   expires %s; %s\n\n", d.Expires, d.State)
	for _, c := range d.Changes {
		for i, l := range wrap(c.Text, sheetWidth-15) {
			fmt.Fprintf(b, "   %-11s %s\n", []string{c.Role, ""}[min(i, 1)], l)
		}
	}
	if len(d.Changes) == 0 {
		b.WriteString("   nothing changes but the version\n")
	}
	for _, s := range d.Signers {
		fmt.Fprintf(b, "\n   then %s is signed by any %d of these %d:\n", s.Role, s.Threshold, len(s.Keys))
		for _, k := range s.Keys {
			fmt.Fprintf(b, "      %s\n", short(k))
		}
	}
	for _, warning := range d.Warnings {
		b.WriteString("\n")
		for i, l := range wrap(warning, sheetWidth-12) {
			fmt.Fprintf(b, "   %-8s %s\n", []string{"Beware:", ""}[min(i, 1)], l)
		}
	}
}

func writeDigest(b *strings.Builder, digest string) {
	half := len(digest) / 2
	fmt.Fprintf(b, "   %s\n   %s\n", digest[:half], digest[half+1:])
}

// wrap breaks a line between words. It gives at least one line.
func wrap(s string, width int) []string {
	lines := []string{""}
	for _, word := range strings.Fields(s) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case len([]rune(*last))+1+len([]rune(word)) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
