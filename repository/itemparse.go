package repository

import (
	"bytes"
	"strconv"

	"github.com/bindery-tuf/bindery/internal/jsontext"
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
	return jsontext.Decode[Item](data)
}

// parsePlain reads an item whose texts have no escapes, and whose targets have no custom
// data. Whatever else it cuts wrongly is noticed, for it doesn't give the same bytes
// when it is written again.
func parsePlain(data []byte) (Item, bool) {
	c := jsontext.NewCutter(data)
	text := func() string { return string(c.Until(`"`)) } // up to its closing quote
	c.Must(`{"id":"`)
	it := Item{ID: text()}
	if c.Next(`,"add":[`) {
		for more := true; more; more = c.Next(`,`) {
			c.Must(`{"path":"`)
			t := roles.Target{Path: text(), Hashes: make(map[string]string, 1)}
			c.Must(`,"length":`)
			t.Length, _ = strconv.ParseInt(string(c.Until(`,`)), 10, 64)
			c.Must(`"hashes":{`)
			for c.Next(`"`) {
				name := text()
				c.Must(`:"`)
				t.Hashes[name] = text()
				c.Next(`,`)
			}
			c.Must(`}}`)
			it.Add = append(it.Add, t)
		}
		c.Must(`]`)
	}
	if c.Next(`,"remove":[`) {
		for c.Next(`"`) {
			it.Remove = append(it.Remove, text())
			c.Next(`,`)
		}
		c.Must(`]`)
	}
	c.Must(`,"accepted":"`)
	if err := it.Accepted.UnmarshalText(c.Until(`"`)); err != nil {
		return Item{}, false
	}
	var room usualItem
	again, err := it.appendJSON(room[:0])
	return it, err == nil && bytes.Equal(again, data)
}
