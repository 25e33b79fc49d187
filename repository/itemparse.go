package repository

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/bindery-tuf/bindery/roles"
)

// ParseItem reads the JSON of an item that a journal kept. It is strict about what it
// doesn't know, since to ignore that would be to lose it, and validates nothing else.
// What MarshalJSON wrote is read by hand, in a third of the time: a journal reads each
// upload once for its generation, and what is queued whenever it is opened.
func ParseItem(data []byte) (Item, error) {
	if it, ok := parsePlain(data); ok {
		return it, nil
	}
	var it Item
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&it); err != nil {
		return it, err
	}
	if _, err := d.Token(); err != io.EOF {
		return it, errors.New("there is something behind the JSON")
	}
	return it, nil
}

// parsePlain reads an item whose texts have no escapes, and whose targets have no custom
// data. Whatever else it cuts wrongly is noticed, for it doesn't give the same bytes
// when it is written again.
func parsePlain(data []byte) (Item, bool) {
	c := cutter{rest: data}
	c.must(`{"id":"`)
	it := Item{ID: c.text()}
	if c.next(`,"add":[`) {
		for more := true; more; more = c.next(`,`) {
			c.must(`{"path":"`)
			t := roles.Target{Path: c.text(), Hashes: make(map[string]string, 1)}
			c.must(`,"length":`)
			t.Length, _ = strconv.ParseInt(c.until(`,`), 10, 64)
			c.must(`"hashes":{`)
			for c.next(`"`) {
				name := c.text()
				c.must(`:"`)
				t.Hashes[name] = c.text()
				c.next(`,`)
			}
			c.must(`}}`)
			it.Add = append(it.Add, t)
		}
		c.must(`]`)
	}
	if c.next(`,"remove":[`) {
		for c.next(`"`) {
			it.Remove = append(it.Remove, c.text())
			c.next(`,`)
		}
		c.must(`]`)
	}
	c.must(`,"accepted":"`)
	if err := it.Accepted.UnmarshalText([]byte(c.text())); err != nil {
		return Item{}, false
	}
	var room usualItem
	again, err := it.appendJSON(room[:0])
	return it, err == nil && bytes.Equal(again, data)
}

// cutter cuts pieces off the front of a text. Nothing is left of it once it went on
// in another way than it must.
type cutter struct{ rest []byte }

// next tells whether the text goes on with piece, and cuts it off.
func (c *cutter) next(piece string) (found bool) {
	c.rest, found = bytes.CutPrefix(c.rest, []byte(piece))
	return found
}

func (c *cutter) must(piece string) {
	if !c.next(piece) {
		c.rest = nil
	}
}

// until cuts off what is before end, and end.
func (c *cutter) until(end string) string {
	text, rest, _ := bytes.Cut(c.rest, []byte(end))
	c.rest = rest
	return string(text)
}

// text is until the closing quote.
func (c *cutter) text() string { return c.until(`"`) }
