package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/bindery-tuf/bindery/internal/benchmark"
)

// line is one line of -json.
type line struct {
	Job     string `json:"job"`
	Bindery int64  `json:"bindery_ns"`
	GoTUF   *int64 `json:"gotuf_ns"` // null where go-tuf has no such job
	Python  *int64 `json:"python_ns,omitempty"`
	Limit   int64  `json:"limit_ns"`
	Peak    int64  `json:"peak_bytes"`
	CPUs    int    `json:"cpus"`
}

// newPrinter returns a function that prints a result as soon as it is there.
func newPrinter(w io.Writer, o options) func(job, result) error {
	if o.json {
		encoder := json.NewEncoder(w)
		return func(j job, r result) error {
			return encoder.Encode(line{j.name, r.bindery, optional(r.gotuf), optional(r.python), r.limit, r.peak, r.cpus})
		}
	}
	begun := false
	return func(j job, r result) error {
		rows := [][]string{{j.name, fmt.Sprint(r.cpus), benchmark.Duration(r.bindery), benchmark.Duration(r.gotuf), benchmark.Duration(r.python), benchmark.Duration(r.limit),
			benchmark.Ratio(r.gotuf, r.bindery), benchmark.Bound(j.faster), benchmark.Ratio(r.bindery, r.limit), benchmark.Bound(j.within), size(r.peak)}}
		if !begun {
			begun = true
			rows = slices.Insert(rows, 0, []string{"job", "cpus", "bindery", "go-tuf", "python", "limit", "go-tuf/", "at least", "/limit", "at most", "heap"})
		}
		for _, cells := range rows {
			text := ""
			for i, width := range []int{-17, 5, 9, 9, 9, 9, 8, 9, 7, 8, 10} {
				if i != 4 || o.python {
					text += fmt.Sprintf("%*s", width, cells[i])
				}
			}
			if _, err := fmt.Fprintln(w, text); err != nil {
				return err
			}
		}
		return nil
	}
}

func optional(ns int64) *int64 {
	if ns == 0 {
		return nil
	}
	return &ns
}

func size(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
