package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/bindery-tuf/bindery/delegation"
)

// findByHand is find for bins in the explicit form, which go-tuf 2.4.2 can't follow
// (it compares path_hash_prefixes with the hash in base64). It walks from targets
// to the bin itself; verifying each role is still go-tuf's work.
func (c *client) findByHand(path string) (*metadata.TargetFiles, error) {
	if c.GetTrustedMetadataSet().Targets[metadata.TARGETS] == nil {
		if err := c.Refresh(); err != nil {
			return nil, err
		}
	}
	trusted := c.GetTrustedMetadataSet()
	bins, err := c.role(&trusted, delegation.BinsRole, metadata.TARGETS)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(path))
	hash := hex.EncodeToString(sum[:])
	isIn := func(prefix string) bool { return strings.HasPrefix(hash, prefix) }
	i := slices.IndexFunc(bins.Signed.Delegations.Roles, func(r metadata.DelegatedRole) bool {
		return slices.ContainsFunc(r.PathHashPrefixes, isIn)
	})
	if i < 0 {
		return nil, fmt.Errorf("no bin for %s", path)
	}
	bin, err := c.role(&trusted, bins.Signed.Delegations.Roles[i].Name, delegation.BinsRole)
	if err != nil {
		return nil, err
	}
	info, ok := bin.Signed.Targets[path]
	if !ok {
		return nil, fmt.Errorf("target %s not found", path)
	}
	return info, nil
}

// role returns a delegated role, fetched and verified unless it was before.
func (c *client) role(trusted *trustedmetadata.TrustedMetadata, name, delegator string) (*metadata.Metadata[metadata.TargetsType], error) {
	if role := trusted.Targets[name]; role != nil {
		return role, nil
	}
	meta, ok := trusted.Snapshot.Signed.Meta[name+".json"]
	if !ok {
		return nil, fmt.Errorf("the snapshot does not name %s", name)
	}
	kept := filepath.Join(c.cfg.LocalMetadataDir, name+".json")
	if data, err := os.ReadFile(kept); err == nil {
		// What was kept is verified again, and is refused if it is not the version wanted.
		if role, err := trusted.UpdateDelegatedTargets(data, name, delegator); err == nil {
			return role, nil
		}
	}
	url := fmt.Sprintf("%s/%d.%s.json", c.cfg.RemoteMetadataURL, meta.Version, name)
	length := c.cfg.TargetsMaxLength
	if meta.Length != 0 {
		length = meta.Length
	}
	data, err := c.cfg.Fetcher.DownloadFile(url, length, 0)
	if err != nil {
		return nil, err
	}
	role, err := trusted.UpdateDelegatedTargets(data, name, delegator)
	if err != nil {
		return nil, err
	}
	return role, os.WriteFile(kept, data, 0o600)
}
