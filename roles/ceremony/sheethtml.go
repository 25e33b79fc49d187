package ceremony

import (
	_ "embed"
	"html/template"
	"io"
	"strings"
)

//go:embed sheet.html
var sheetSource string

var sheetTemplate = template.Must(template.New("sheet").Funcs(template.FuncMap{
	"halves": halves,
	"short":  short,
	"inc":    func(i int) int { return i + 1 },
}).Parse(sheetSource))

// WriteHTML writes the sheet as one HTML page that needs nothing else. It is laid out
// for paper, A4 and Letter.
func (s Sheet) WriteHTML(w io.Writer) error { return sheetTemplate.Execute(w, s.page()) }

// halves are a digest in groups, and where its line may break. Key IDs may be anything
// else, too.
func halves(s string) []string {
	d, err := ParseDigest(s)
	groups := d.Groups()
	if err != nil || strings.Join(groups[:], "") != strings.ReplaceAll(s, " ", "") {
		return []string{s} // upper case, which makes it another key ID
	}
	return []string{strings.Join(groups[:4], " "), strings.Join(groups[4:], " ")}
}
