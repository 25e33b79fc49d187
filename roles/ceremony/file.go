package ceremony

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/bindery-tuf/bindery/internal/cjson"
	"github.com/bindery-tuf/bindery/internal/schema"
)

// kind is one of the files that the package comment describes.
type kind struct {
	name   string // as in the member "format", before the version
	a      string // in a sentence
	limit  int    // bytes
	others schema.Members
}

const formatVersion = "/1"

func (k kind) format() string { return k.name + formatVersion }

var (
	requestKind  = kind{"bindery-ceremony-request", "a request", 8_000_000, requestMembers}
	responseKind = kind{"bindery-ceremony-response", "a response", 64_000, responseMembers}
	cardKind     = kind{"bindery-ceremony-card", "a card", 64_000, cardMembers}
	notebookKind = kind{"bindery-ceremony-notebook", "a notebook", 1_000_000, notebookMembers}
)

// decode reads a file of this kind into v, a pointer to a struct.
func (k kind) decode(file []byte, v any) error {
	if err := k.check(file); err != nil {
		return fmt.Errorf("%s: %w", strings.TrimPrefix(k.a, "a "), err)
	}
	return json.Unmarshal(file, v)
}

func (k kind) check(file []byte) error {
	if len(file) > k.limit {
		return fmt.Errorf("%d bytes, and %s has at most %d", len(file), k.a, k.limit)
	}
	tree, err := cjson.Decode(file)
	if err != nil {
		return fmt.Errorf("damaged, or another kind of file (%w): take another copy", err)
	}
	// The kind of file is checked first: the likeliest mistake is the wrong file.
	if err := k.checkFormat(tree); err != nil {
		return err
	}
	members := schema.Members{"format": schema.Text}
	for name, rule := range k.others {
		members[name] = rule
	}
	optional := schema.Members{}
	if k.name == notebookKind.name {
		optional["trusted"] = members["trusted"]
		delete(members, "trusted")
	}
	return schema.Closed(members, optional)(tree)
}

func (k kind) checkFormat(tree any) error {
	object, _ := tree.(map[string]any)
	format, _ := object["format"].(string)
	if format == k.format() {
		return nil
	}
	for _, other := range []kind{requestKind, responseKind, cardKind, notebookKind} {
		if strings.HasPrefix(format, other.name+"/") {
			if other.name == k.name {
				return fmt.Errorf("format %q, and this program knows %q: use the version of the program that wrote it", format, k.format())
			}
			return fmt.Errorf("this file is %s, and %s is wanted", other.a, k.a)
		}
	}
	if _, ok := object["signed"]; ok {
		return fmt.Errorf("this file is TUF metadata, and %s is wanted", k.a)
	}
	return fmt.Errorf("no member \"format\" that says %q: not %s", k.format(), k.a)
}

// checkText refuses text that would mislead on a screen: several lines, text that runs backwards,
// invisible spaces.
func checkText(what, s string, limit int) error {
	switch {
	case s == "":
		return fmt.Errorf("%s is empty", what)
	case len(s) > limit:
		return fmt.Errorf("%s has %d bytes, at most %d", what, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s is not valid UTF-8", what)
	case !norm.NFC.IsNormalString(s):
		return fmt.Errorf("%s %q is not in NFC", what, s)
	case strings.ContainsFunc(s, hides):
		return fmt.Errorf("%s %q has characters that can't be printed", what, s)
	case s != strings.Join(strings.Fields(s), " "):
		return fmt.Errorf("%s %q has spaces at an end, or several together", what, s)
	}
	return nil
}

// hides reports whether r is invisible: a control or format character, or a blank letter or mark.
func hides(r rune) bool {
	const brailleBlank = '\u2800'
	return !unicode.IsPrint(r) || r == brailleBlank ||
		unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// withKeyID is the form of a key that is shown after its name.
var withKeyID = regexp.MustCompile(`(?i)\([0-9a-f]{8}\)|^key [0-9a-f]{8}$`)

// checkName is checkText for the name of a person or a key.
func checkName(what, s string) error {
	if err := checkText(what, s, nameLimit); err != nil {
		return err
	}
	if withKeyID.MatchString(s) {
		return fmt.Errorf("%s %q reads like one that is shown with its key ID", what, s)
	}
	return nil
}

const nameLimit, reasonLimit = 80, 500

// nameRule is for the name of a person or a key.
func nameRule(v any) error {
	if err := schema.Text(v); err != nil {
		return err
	}
	return checkName("the name", v.(string))
}

// sha256Rule is 64 digits of lower-case hexadecimal.
func sha256Rule(v any) error {
	if err := schema.LowerHex(v); err != nil {
		return err
	}
	if len(v.(string)) != 2*len(Digest{}) {
		return errors.New("not the 64 digits of a SHA-256")
	}
	return nil
}

// encode writes v as a line of JSON. Its callers pass only values that can be encoded.
func encode(v any) []byte {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
