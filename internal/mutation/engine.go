package mutation

// Mistakes of the engine that more than one program must notice.
var (
	// SwapBeforeSnapshot: the timestamp is swapped before the snapshot is written.
	SwapBeforeSnapshot = []Edit{
		{"repository/generation.go", "if err := p.cfg.Store.Create(gctx, name, snapshotFile); err != nil {", "p.late, p.lateName = snapshotFile, name\n\tif err := error(nil); err != nil {"},
		{"repository/publisher.go", "\trec, err := p.state.record(KindCommit,", "\tif p.late != nil {\n\t\tif err := p.cfg.Store.Create(ctx, p.lateName, p.late); err != nil {\n\t\t\treturn err\n\t\t}\n\t}\n\trec, err := p.state.record(KindCommit,"},
		{"repository/publisher.go", "\tcfg     Config\n", "\tcfg     Config\n\tlate []byte\n\tlateName string\n"},
	}
	// BurntVersionAgain: a burnt version is used again.
	BurntVersionAgain = []Edit{
		{"repository/generation.go", "gen := p.state.planned + 1", "gen := p.state.generation + 1"},
		{"repository/state.go", "if r.Generation <= s.planned {", "if false {"},
	}
)
