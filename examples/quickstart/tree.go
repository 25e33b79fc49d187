package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/bindery-tuf/bindery/delegation"
	"github.com/bindery-tuf/bindery/roles"
)

// printRoles shows who may sign what, as the published documents say it.
func (x *index) printRoles(ctx context.Context, p *printer) error {
	root, err := published[metadata.RootType](ctx, x, metadata.ROOT)
	if err != nil {
		return err
	}
	targets, err := published[metadata.TargetsType](ctx, x, metadata.TARGETS)
	if err != nil {
		return err
	}
	bins, err := published[metadata.TargetsType](ctx, x, delegation.BinsRole)
	if err != nil {
		return err
	}
	status, err := x.repo.Status(ctx)
	if err != nil {
		return err
	}
	first, last := x.layout.Name(0), x.layout.Name(x.layout.Len()-1)
	authorities := func(role string) (roles.Authority, error) { return roles.RootAuthority(root, role) }
	rows := [][]string{{"role", "signed by", "key IDs", "the keys are", "expires"}}
	for _, r := range []struct {
		shown, role string
		authority   func(string) (roles.Authority, error)
		keys        string
		expires     time.Time
	}{
		{"root", metadata.ROOT, authorities, "offline, 3 people", root.Expires()},
		{"├─ targets", metadata.TARGETS, authorities, "offline, destroyed", targets.Expires()},
		{"│  └─ bins", delegation.BinsRole, delegated(targets), "offline, destroyed", bins.Expires()},
		{"│     └─ " + first + " … " + last[len(x.layout.Prefix()):], first, delegated(bins), "online", status.FirstBinExpires},
		{"├─ snapshot", metadata.SNAPSHOT, authorities, "online", status.Roles["snapshot"].Expires},
		{"└─ timestamp", metadata.TIMESTAMP, authorities, "online", status.Roles["timestamp"].Expires},
	} {
		a, err := r.authority(r.role)
		if err != nil {
			return err
		}
		rows = append(rows, []string{
			r.shown, fmt.Sprintf("%d of %d", a.Threshold, len(a.Keys)), keyIDs(a), r.keys, r.expires.Format(time.DateOnly),
		})
	}
	p.table(rows)
	return nil
}

func delegated(by *roles.Document[metadata.TargetsType]) func(string) (roles.Authority, error) {
	return func(role string) (roles.Authority, error) { return roles.DelegatedAuthority(by, role) }
}

// keyIDs are the beginnings of the IDs, enough to tell the keys apart.
func keyIDs(a roles.Authority) string {
	var ids []string
	for _, key := range a.Keys {
		ids = append(ids, key.ID()[:min(8, len(key.ID()))])
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// printSizes shows what lies in the metadata folder.
func (x *index) printSizes(ctx context.Context, p *printer) error {
	type sizes struct {
		files              int
		least, most, total int64
	}
	kinds := map[string]*sizes{}
	for info, err := range x.metadata.List(ctx) {
		if err != nil {
			return err
		}
		kind := kindOf(info.Name)
		s := kinds[kind]
		if s == nil {
			s = &sizes{least: info.Size}
			kinds[kind] = s
		}
		s.files++
		s.total += info.Size
		s.least, s.most = min(s.least, info.Size), max(s.most, info.Size)
	}
	rows := [][]string{{"metadata", ">files", ">smallest", ">largest", ">all"}}
	for _, kind := range metadataKinds {
		if s := kinds[kind]; s != nil {
			rows = append(rows, []string{kind, number(int64(s.files)), byteSize(s.least), byteSize(s.most), byteSize(s.total)})
		}
	}
	p.table(rows)
	return nil
}
