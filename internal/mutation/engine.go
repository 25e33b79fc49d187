package mutation

// Mistakes of the engine that more than one program must notice.
var (
	// SwapBeforeSnapshot: the timestamp is swapped before the snapshot is written.
	SwapBeforeSnapshot = []Edit{
		{"repository/publish.go", "if err := p.write(ctx, ledger.Name(a.number, metadata.SNAPSHOT), top.snapshotFile); err != nil {", "p.late, p.lateName = top.snapshotFile, ledger.Name(a.number, metadata.SNAPSHOT)\n\tif err := error(nil); err != nil {"},
		{"repository/publish.go", "\tif err := p.append(ctx, gen, &ledger.Commit{}); err != nil {", "\tif p.late != nil {\n\t\tif err := p.cfg.Store.Create(ctx, p.lateName, p.late); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\tif err := p.append(ctx, gen, &ledger.Commit{}); err != nil {"},
		{"repository/publish.go", "\tcfg   Config\n", "\tcfg   Config\n\tlate []byte\n\tlateName string\n"},
	}
	// BurntVersionAgain: a burnt version is used again.
	BurntVersionAgain = []Edit{
		{"repository/publish.go", "gen := p.state.Planned + 1", "gen := p.state.Generation + 1"},
		{"repository/ledger/state.go", "if r.Generation <= s.Planned {", "if false {"},
	}
)
