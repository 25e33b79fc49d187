package main

import (
	"fmt"
	"time"

	"github.com/bindery-tuf/bindery/delegation"
)

// visit is what one visit of the client cost.
type visit struct {
	who string
	traffic
}

// firstVisit lets a client that knows only root 1 download every file.
func (x *index) firstVisit(p *printer, dir string, files []file) (visit, error) {
	p.title("A client that knows nothing but 1.root.json")
	start := time.Now()
	c, err := newClient(x, x.url, dir)
	if err != nil {
		return visit{}, err
	}
	var size int64
	for _, f := range files {
		n, err := c.download(f.path)
		if err != nil {
			return visit{}, fmt.Errorf("client: %s: %w", f.path, err)
		}
		size += n
	}
	p.line("go-tuf's updater downloaded and verified %s of %s, %s, in %s.", number(int64(len(files))),
		count(len(files), "file"), byteSize(size), seconds(time.Since(start)))
	if c.form == delegation.Explicit {
		p.line("(go-tuf 2.4.2 can't follow bins in the explicit form. So from targets on each role was fetched")
		p.line("here and verified with go-tuf's trustedmetadata. python-tuf, tuf-js and tough follow them.)")
	}
	return visit{"the first time", c.traffic}, nil
}

// laterVisits lets the client come back, once with nothing new and once after
// a file was revoked, which it then must not find. In the end the file is
// published again, so that the index is left with all that it was given.
func (x *index) laterVisits(p *printer, dir string, first visit, revoked file) error {
	p.title("The client comes back")
	visits := []visit{first}
	c, err := newClient(x, x.url, dir)
	if err == nil {
		err = c.Refresh()
	}
	if err != nil {
		return fmt.Errorf("returning client: %w", err)
	}
	visits = append(visits, visit{"nothing new", c.traffic})

	start := time.Now()
	generation, err := x.revoke(revoked)
	if err != nil {
		return err
	}
	p.line("Revoked in generation %d, within %s: %s", generation, seconds(time.Since(start)), shortened(revoked.path, maxPhrase))
	if c, err = newClient(x, x.url, dir); err != nil {
		return err
	}
	_, err = c.download(revoked.path)
	switch info := c.GetTrustedMetadataSet(); {
	case err == nil:
		return fmt.Errorf("client: %s was revoked, and the client accepts it", revoked.path)
	case info.Snapshot == nil || info.Snapshot.Signed.Version < generation:
		return fmt.Errorf("returning client: %w", err)
	}
	p.line("The client says: %s", shortened(err.Error(), maxLine-len("The client says: ")))
	p.blank()
	printTraffic(p, append(visits, visit{"one file revoked", c.traffic}))

	start = time.Now()
	if generation, err = x.upload([]file{revoked}); err != nil {
		return err
	}
	p.blank()
	p.line("Published that file again in generation %d, within %s: the index is left with all its files.", generation, seconds(time.Since(start)))
	return nil
}

// printTraffic shows how many bytes of what were downloaded.
func printTraffic(p *printer, visits []visit) {
	heading := []string{"bytes downloaded"}
	for _, kind := range metadataKinds {
		heading = append(heading, ">"+kind)
	}
	rows := [][]string{append(heading, ">metadata", ">files")}
	for _, v := range visits {
		row := []string{v.who}
		for _, kind := range metadataKinds {
			row = append(row, number(v.bytes[kind]))
		}
		rows = append(rows, append(row, number(v.metadata()), number(v.bytes[kindFile])))
	}
	p.table(rows)
}
