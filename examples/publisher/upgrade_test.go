package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/internal/thorough"
)

// A newer publisher writes records that an older one doesn't know. Both change places while the index goes
// on inserting; the older one refuses the records, and the newer one goes on with them.
func TestRollingUpgrade(t *testing.T) {
	if !thorough.Long() {
		t.Skip("it builds another publisher: BINDERY_LONG=1 runs it")
	}
	s := newSite(t)
	index := s.withDatabase()
	s.config["standby"] = true
	program := newerProgram(t)

	// The load: one item after the other, until it is told to stop.
	var inserted atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				n := int(inserted.Load()) + 1
				insert(t, index, fmt.Sprintf("load-%d", n), adds(fmt.Sprintf("load/%d", n), n), true)
				inserted.Add(1)
			}
		}
	}()
	// some waits until more items were inserted, from the beginning to the end of what goes on meanwhile.
	some := func() {
		t.Helper()
		for enough := inserted.Load() + 5; inserted.Load() < enough; time.Sleep(20 * time.Millisecond) {
			select {
			case <-stopped:
				require.FailNow(t, "the load ended")
			default:
			}
		}
	}
	probe := func(r *running, id string) {
		t.Helper()
		insert(t, index, id, adds(id, 1), true)
		require.Contains(t, r.do("GET", "/v1/items/"+id+"?wait=1m", "", http.StatusOK), `"state":"published"`)
	}

	older := s.spawn()
	older.until("/lead", http.StatusOK)
	newer := s.spawnProgram(program)
	newer.until("/standby", http.StatusOK)
	some()
	probe(older, "by-older")

	older.stop()
	newer.until("/lead", http.StatusOK)
	some()
	probe(newer, "by-newer")

	// The older one comes back as a standby, and must not publish when the newer one is gone.
	older = s.spawn()
	older.until("/standby", http.StatusOK)
	newer.stop()
	for !strings.Contains(older.log.String(), "written by a newer version of Bindery") {
		time.Sleep(50 * time.Millisecond)
	}
	older.do("GET", "/lead", "", http.StatusServiceUnavailable)
	older.do("PUT", "/v1/items/refused", adds("refused", 1), http.StatusServiceUnavailable)
	some() // while nobody can publish

	// Nothing was harmed: the newer one goes on, with all that was inserted meanwhile.
	newer = s.spawnProgram(program)
	newer.until("/lead", http.StatusOK)
	some()
	probe(newer, "after")
	close(stop)
	<-stopped
	var paths []string
	for n := range inserted.Load() {
		id := fmt.Sprintf("load-%d", n+1)
		require.Contains(t, newer.do("GET", "/v1/items/"+id+"?wait=1m", "", http.StatusOK), `"state":"published"`, id)
		paths = append(paths, fmt.Sprintf("load/%d", n+1))
	}
	for n, length := range s.findAll(newer.url[forClients], paths...) {
		require.EqualValues(t, n+1, length, paths[n])
	}
	newer.do("GET", "/v1/items/refused", "", http.StatusNotFound)
}

// newerProgram is the publisher of a version whose commit records have a member more.
func newerProgram(t *testing.T) string {
	t.Helper()
	top, err := filepath.Abs("../..")
	require.NoError(t, err)
	dir := t.TempDir()
	overlay := map[string]string{}
	for i, edit := range [][3]string{
		{"repository/ledger/record.go", "type Commit struct{}", "type Commit struct {\n\tNewer bool `json:\"newer,omitempty\"`\n}"},
		{"repository/publish.go", "p.append(ctx, gen, &ledger.Commit{})", "p.append(ctx, gen, &ledger.Commit{Newer: true})"},
	} {
		name := filepath.Join(top, filepath.FromSlash(edit[0]))
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, 1, strings.Count(string(source), edit[1]), edit[1])
		overlay[name] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		require.NoError(t, os.WriteFile(overlay[name], []byte(strings.Replace(string(source), edit[1], edit[2], 1)), 0o600))
	}
	data, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), data, 0o600))
	program := filepath.Join(dir, "publisher")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}
