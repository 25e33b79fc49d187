package dirjournal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bindery-tuf/bindery/repository"
	"github.com/bindery-tuf/bindery/repository/dirjournal"
	"github.com/bindery-tuf/bindery/repository/storetest"
)

func TestJournal(t *testing.T) { storetest.TestJournal(t, place) }

func place(t *testing.T) storetest.Place {
	dir := t.TempDir()
	j, err := dirjournal.Create(dir)
	require.NoError(t, err)
	require.NoError(t, j.Close())
	return storetest.Place{Open: func() (repository.Journal, error) {
		j, err := dirjournal.Open(dir)
		if err != nil {
			return nil, err
		}
		return j, nil
	}}
}
