package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// decodeConfig reads JSON into v, a pointer to a struct. Lines that begin with // are comments. An
// unknown member, a member that appears twice, and a value of another type are errors that name the
// line and the member. Names count as they are written, in upper and lower case.
func decodeConfig(data []byte, v any) error {
	text := withoutComments(data)
	var whole any
	if err := json.Unmarshal(text, &whole); err != nil {
		at := len(text)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = int(syntax.Offset)
		}
		return fmt.Errorf("line %d: this is not JSON: %w", lineAt(text, at), err)
	}
	d := &configDecoder{text, json.NewDecoder(bytes.NewReader(text))}
	return d.value(reflect.ValueOf(v).Elem(), "")
}

// withoutComments blanks comments, and leaves the lines where they are.
func withoutComments(data []byte) []byte {
	lines := bytes.SplitAfter(data, []byte("\n"))
	for i, line := range lines {
		if bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("//")) {
			lines[i] = bytes.Repeat([]byte(" "), len(line))
			if bytes.HasSuffix(line, []byte("\n")) {
				lines[i][len(line)-1] = '\n'
			}
		}
	}
	return bytes.Join(lines, nil)
}

func lineAt(text []byte, offset int) int {
	return 1 + bytes.Count(text[:min(offset, len(text))], []byte("\n"))
}

// configDecoder walks through text that is known to be JSON.
type configDecoder struct {
	text []byte
	json *json.Decoder
}

// value reads the next value into v. Path names v in errors.
func (d *configDecoder) value(v reflect.Value, path string) error {
	kind := v.Kind()
	if _, own := v.Addr().Interface().(json.Unmarshaler); own || kind != reflect.Struct && kind != reflect.Map && kind != reflect.Pointer {
		var raw json.RawMessage
		if err := d.json.Decode(&raw); err != nil {
			return d.fail(path, err)
		}
		if string(raw) == "null" {
			return d.fail(path, errors.New("null is no value: leave the member out"))
		}
		if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
			if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
				err = fmt.Errorf("this is a JSON %s, and %s is wanted", wrong.Value, wanted(kind))
			}
			return d.fail(path, err)
		}
		return nil
	}
	if kind == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return d.value(v.Elem(), path)
	}
	if token, err := d.json.Token(); err != nil || token != json.Delim('{') {
		return d.fail(path, errors.Join(err, errors.New("an object in braces is wanted")))
	}
	if kind == reflect.Map {
		v.Set(reflect.MakeMap(v.Type()))
	}
	seen := map[string]bool{}
	for d.json.More() {
		token, err := d.json.Token()
		if err != nil {
			return d.fail(path, err)
		}
		name := token.(string)
		member := strings.TrimPrefix(path+"."+name, ".")
		if seen[name] {
			return d.fail(member, errors.New("this member appears twice"))
		}
		seen[name] = true
		if kind == reflect.Map {
			element := reflect.New(v.Type().Elem()).Elem()
			if err := d.value(element, member); err != nil {
				return err
			}
			v.SetMapIndex(reflect.ValueOf(name), element)
			continue
		}
		field, known := fieldOf(v, name)
		if !known {
			return d.fail(member, fmt.Errorf("unknown member: here can be %s", strings.Join(names(v), ", ")))
		}
		if err := d.value(field, member); err != nil {
			return err
		}
	}
	_, err := d.json.Token() // the closing brace
	return err
}

func (d *configDecoder) fail(path string, err error) error {
	line := lineAt(d.text, int(d.json.InputOffset()))
	if path == "" {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return fmt.Errorf("line %d: %s: %w", line, path, err)
}

func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("json") == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func names(v reflect.Value) (all []string) {
	for i := range v.NumField() {
		all = append(all, v.Type().Field(i).Tag.Get("json"))
	}
	return all
}

func wanted(kind reflect.Kind) string {
	switch kind {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	}
	return "a whole number"
}

// uris is a string or a list of strings.
type uris []string

func (u *uris) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*u = uris{one}
		return nil
	}
	if json.Unmarshal(data, (*[]string)(u)) != nil || len(*u) == 0 {
		return errors.New("want a URI, or a list of them with at least one")
	}
	return nil
}

// duration is a time.Duration as text, such as "90s", "12h" or "7d".
type duration time.Duration

func (d *duration) UnmarshalJSON(data []byte) error {
	const want = `want a time such as "90s", "12h" or "7d"`
	var text string
	if json.Unmarshal(data, &text) != nil {
		return errors.New(want)
	}
	factor := time.Duration(1)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		text, factor = days+"h", 24
	}
	parsed, err := time.ParseDuration(text)
	if err != nil || parsed*factor/factor != parsed {
		return errors.New(want)
	}
	*d = duration(parsed * factor)
	return nil
}
