package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test's own program is each process that the hammer starts.
func TestMain(m *testing.M) {
	if told := os.Getenv(processVariable); told != "" {
		os.Exit(runProcess(told))
	}
	os.Exit(m.Run())
}

// The files of a lane are as its page says, after each item, also across eras and rollbacks.
func TestNext(t *testing.T) {
	holds := map[string]string{}
	var last state
	for i := range 200 {
		era := 1 + i/50
		if i%3 == 0 {
			it, _ := next(3, era, last, "x", true)
			require.NoError(t, it.Validate())
		}
		it, now := next(3, era, last, "y", false)
		require.NoError(t, it.Validate())
		require.True(t, last.before(now))
		for _, added := range it.Add {
			holds[added.Path] = added.Hashes["sha256"]
		}
		for _, path := range it.Remove {
			delete(holds, path)
		}
		last = now
		require.Equal(t, pageTarget(3, now).Hashes["sha256"], holds[indexPath(3)])
		for slot, by := range now.Slots {
			_, there := holds[slotPath(3, slot)]
			require.Equal(t, by != "", there)
		}
	}
}

// What is inserted is what the package that reads it makes of the item.
func TestBody(t *testing.T) {
	it, _ := next(3, 1, state{}, "x", false)
	want, err := it.Entry()
	require.NoError(t, err)
	require.JSONEq(t, string(want.Body), string(body(it)))
}

// What was promised of a lane before a promotion is void, even if it is heard of later. A generation isn't.
func TestPromises(t *testing.T) {
	b := &book{era: 1}
	require.NoError(t, b.promise(2, 1, 7, 40))
	generation, promised, _ := b.floor(time.Hour)
	require.Zero(t, generation)
	require.Zero(t, promised[2])
	generation, promised, _ = b.floor(0)
	require.EqualValues(t, 40, generation)
	require.Equal(t, state{Era: 1, N: 7}, promised[2])
	require.NoError(t, b.promise(2, 1, 8, 41))
	b.newEra(2)
	require.NoError(t, b.promise(2, 1, 9, 42))
	generation, promised, era := b.floor(0)
	require.EqualValues(t, 42, generation)
	require.Zero(t, promised[2])
	require.Equal(t, 2, era)
	require.NoError(t, b.promise(2, 2, 1, 43))
	_, promised, _ = b.floor(0)
	require.Equal(t, state{Era: 2, N: 1}, promised[2])
	require.Error(t, b.promise(lanes, 2, 1, 43))
}

func TestPosition(t *testing.T) {
	require.Less(t, position("0/FFFFFFFF"), position("1/0"))
	require.True(t, lostItem{replica: "0/2A"}.after("0/2B"))
	require.False(t, lostItem{replica: "0/2A"}.after("0/2A"))
}
