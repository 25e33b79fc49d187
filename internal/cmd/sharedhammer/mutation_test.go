package main

import (
	"os"
	"testing"

	"github.com/bindery-tuf/bindery/internal/mutation"
	"github.com/bindery-tuf/bindery/internal/pgtest"
	"github.com/bindery-tuf/bindery/internal/s3test"
)

// mutations are mistakes of the kind that this command is to notice. Their names are short: they become paths.
var mutations = map[string][]mutation.Edit{
	// The fence is read and not locked: a leader that was overtaken in the middle of an append goes on.
	"SELECT as fence": {
		{"repository/pgjournal/append.go", "`UPDATE bindery.lead SET head = $1 WHERE epoch = $2 AND token = $3 AND head = $4 RETURNING sealed`", "`SELECT sealed FROM bindery.lead WHERE $1::text <> $4::text AND epoch = $2 AND token = $3`"},
		{"repository/pgjournal/append.go", "\t\t\treturn nil, fmt.Errorf(\"%s record of generation %d: %w\", r.Kind(), r.Generation, err)\n\t\t}\n\t}\n\treturn a, nil\n", "\t\t\treturn nil, fmt.Errorf(\"%s record of generation %d: %w\", r.Kind(), r.Generation, err)\n\t\t}\n\t}\n\t_, err = tx.Exec(ctx, l.sql(`UPDATE bindery.lead SET head = $1`), a.head)\n\treturn a, err\n"},
	},
	// The hammer gives each publisher another clock, and says so in this variable.
	"lease by local clock": {
		{"repository/pgjournal/lead.go", "const leased = `clock_timestamp() BETWEEN", "var local = `(clock_timestamp() - interval '1 day' + interval '1 day ` + os.Getenv(\"" + clockVariable + "\") + `')`\n\nvar leased = local + ` BETWEEN"},
		{"repository/pgjournal/lead.go", "renewed = clock_timestamp(), length = $3", "renewed = `+local+`, length = $3"},
		{"repository/pgjournal/lead.go", "SET renewed = clock_timestamp() WHERE", "SET renewed = `+local+` WHERE"},
	},
	"takeover in REPEATABLE READ": {
		{"repository/pgjournal/lead.go", "\ttx, err := j.begin(ctx)\n", "\ttx, err := j.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})\n"},
	},
	"no comparison after 412": {
		{"repository/bucket/bucket.go", "\t\trefusal, next = err, nil\n", "\t\treturn \"\", fmt.Errorf(\"%w: %w\", repository.ErrConflict, err)\n"},
	},
	"burnt files deleted early": {
		{"repository/open.go", "\tif p.snapshot, err = p.publishedSnapshot(); err != nil {\n", "\tfor _, a := range p.state.Attempts {\n\t\tif a.Generation > p.state.Last() {\n\t\t\tfor name := range a.Files {\n\t\t\t\t_ = p.cfg.Store.Delete(ctx, name)\n\t\t\t}\n\t\t}\n\t}\n\tif p.snapshot, err = p.publishedSnapshot(); err != nil {\n"},
	},
	// A claim begins after what was seen, and never looks back.
	"watermark over the sequence": {
		{"repository/pgjournal/lead.go", "lowest = min(lowest, p.place)", "lowest = max(lowest, p.place)"},
		{"repository/pgjournal/lead.go", "\tif s.looking || now.Sub(s.done) <", "\tif s.part > 0 || s.looking || now.Sub(s.done) <"},
	},
}

// TestMutations shows that the hammer can find something: each mutation is noticed.
// It compiles and runs the command for each, and so runs only where it is asked for.
func TestMutations(t *testing.T) {
	if os.Getenv(mutation.Variable) != "" {
		pgtest.NeedTool(t, "postgres")
		s3test.Need(t)
	}
	// Far longer than it takes: no schedule of processes can be repeated.
	mutation.RequireNoticed(t, mutations, "-duration", "3m", "-seed", "1")
}
