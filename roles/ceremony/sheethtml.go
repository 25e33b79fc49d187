package ceremony

import (
	_ "embed"
	"html/template"
	"io"
)

//go:embed sheet.html
var sheetSource string

var sheetTemplate = template.Must(template.New("sheet").Parse(sheetSource))

// WriteHTML writes the sheet as one HTML page that needs nothing else.
func (s Sheet) WriteHTML(w io.Writer) error { return sheetTemplate.Execute(w, s.page()) }
