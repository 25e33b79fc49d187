package storetest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bindery-tuf/bindery/repository"
)

var _ repository.Reader = (*MemJournal)(nil)

// Read implements repository.Reader.
func (j *MemJournal) Read(ctx context.Context) (repository.Log, repository.QueueStats, error) {
	if err := j.open(ctx); err != nil {
		return repository.Log{}, repository.QueueStats{}, fmt.Errorf("read: %w", err)
	}
	defer j.mu.Unlock()
	log, err := j.log()
	return log, j.stats(), err
}

// log is the newest checkpoint record and those after it, or all. The lock is held.
func (l *ledger) log() (repository.Log, error) {
	log := repository.Log{Epoch: l.epoch}
	for _, data := range l.records {
		var r repository.Record
		if err := json.Unmarshal(data, &r); err != nil {
			return repository.Log{}, err
		}
		if r.Kind == repository.KindCheckpoint {
			log.Records = nil
		}
		log.Records = append(log.Records, r)
	}
	return log, nil
}

func (l *ledger) stats() repository.QueueStats {
	s := repository.QueueStats{Pending: len(l.pending), Bytes: l.bytes}
	if s.Pending > 0 {
		s.Oldest = l.pending[0].item.Accepted
	}
	return s
}
