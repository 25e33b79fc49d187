//go:build !unix

package disk

// There are no named pipes in folders, and no flag for links: see byLink.
const nonblock, nofollow = 0, 0
