package main

import (
	"path"
	"regexp"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/fetcher"

	"github.com/bindery-tuf/bindery/delegation"
)

// traffic is a fetcher that counts what it fetched, by kind.
type traffic struct {
	fetcher fetcher.Fetcher
	bytes   map[string]int64
}

func (t *traffic) DownloadFile(url string, maxLength int64, timeout time.Duration) ([]byte, error) {
	data, err := t.fetcher.DownloadFile(url, maxLength, timeout)
	t.bytes[kindOf(path.Base(url))] += int64(len(data))
	return data, err
}

func (t *traffic) metadata() (sum int64) {
	for _, kind := range metadataKinds {
		sum += t.bytes[kind]
	}
	return sum
}

const (
	kindBin  = "bin-n" // PEP 458's name for a role that is one bin
	kindFile = "file"
)

var metadataKinds = []string{metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS, delegation.BinsRole, kindBin}

var (
	timestampName = regexp.MustCompile(`^timestamp\.json$`)
	roleName      = regexp.MustCompile(`^[0-9]+\.(root|snapshot|targets|bins)\.json$`)
	binName       = regexp.MustCompile(`^[0-9]+\.bins-[0-9a-f]+\.json$`)
)

// kindOf tells from its name what a fetched file is.
func kindOf(name string) string {
	if timestampName.MatchString(name) {
		return metadata.TIMESTAMP
	}
	if role := roleName.FindStringSubmatch(name); role != nil {
		return role[1]
	}
	if binName.MatchString(name) {
		return kindBin
	}
	return kindFile
}
