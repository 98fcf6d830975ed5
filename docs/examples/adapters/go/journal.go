package main

// A durable store: the state of store.go, and a file with a line for every operation that changed it. The line is on the disk
// before the operation is answered; opening the file does the operations again, at the times they were done.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Unknown says that an operation may or may not have happened: its line may or may not have reached the disk.
type Unknown struct{ cause error }

func (u *Unknown) Error() string { return "the journal could not be written: " + u.cause.Error() }

type Store struct {
	mutex   sync.Mutex
	now     func() int64
	state   *state
	file    *os.File
	handles int   // how often it is open in this process; the last one closes the file
	failed  error // once a line is lost, memory and disk differ: nothing more is done until the file is opened again
}

// opened has the stores that this process has open: whoever opens one again shares it.
var opened = struct {
	sync.Mutex
	stores map[string]*Store
}{stores: map[string]*Store{}}

type line struct {
	At   int64           `json:"at"`
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"`
}

// Open opens the journal at that path, a new one if there is none. Only one process may have it open.
func Open(path string, now func() int64) (*Store, error) {
	opened.Lock()
	defer opened.Unlock()
	if s := opened.stores[path]; s != nil {
		s.handles++
		return s, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	s := &Store{now: now, state: newState(), file: file, handles: 1}
	if err := errors.Join(syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), s.replay(path), syncDir(path)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	opened.stores[path] = s
	return s, nil
}

// Close closes one handle.
func (s *Store) Close() error {
	opened.Lock()
	defer opened.Unlock()
	if s.handles--; s.handles > 0 {
		return nil
	}
	delete(opened.stores, s.file.Name())
	return s.file.Close()
}

// syncDir makes sure that a new file is still in its directory after a crash.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *Store) replay(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	whole := 0
	for number, text := range bytes.SplitAfter(content, []byte("\n")) {
		entry, ok := parse(text)
		if !ok {
			if whole+len(text) < len(content) {
				return fmt.Errorf("%s: line %d is damaged", path, number+1)
			}
			break // the last line was being written when the process ended: that operation was never answered
		}
		if err := replays[entry.Op](s.state, entry.At, entry.Args); err != nil {
			return fmt.Errorf("%s: line %d cannot be done again: %v", path, number+1, err)
		}
		whole += len(text)
	}
	if err := s.file.Truncate(int64(whole)); err != nil {
		return err
	}
	_, err = s.file.Seek(int64(whole), 0)
	return err
}

// A line of the file is a checksum of the JSON, the JSON, a newline.
func (s *Store) write(entry line) error {
	text := asJSON(entry)
	if _, err := fmt.Fprintf(s.file, "%08x %s\n", crc32.ChecksumIEEE(text), text); err != nil {
		return err
	}
	return s.file.Sync()
}

func parse(text []byte) (entry line, ok bool) {
	var sum uint32
	if len(text) < 10 || text[len(text)-1] != '\n' {
		return entry, false
	}
	body := text[9 : len(text)-1]
	_, err := fmt.Sscanf(string(text[:8]), "%08x", &sum)
	ok = err == nil && sum == crc32.ChecksumIEEE(body) && json.Unmarshal(body, &entry) == nil && replays[entry.Op] != nil
	return entry, ok
}

func asJSON(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // our own records: this cannot fail
	}
	return text
}

// replays does an operation of the journal again.
var replays = map[string]func(*state, int64, json.RawMessage) error{}

// journaled makes an operation that changes the state one of the durable store.
func journaled[A, R any](name string, do func(*state, int64, A) (R, error)) func(*Store, A) (R, error) {
	replays[name] = func(s *state, now int64, args json.RawMessage) error {
		var a A
		if err := json.Unmarshal(args, &a); err != nil {
			return err
		}
		_, err := do(s, now, a)
		return err
	}
	return func(s *Store, a A) (result R, err error) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.failed != nil {
			return result, &Refusal{"backend", "the journal failed before: " + s.failed.Error(), nil}
		}
		now, args := s.now(), asJSON(a)
		if result, err = do(s.state, now, a); err != nil {
			return result, err // refused: nothing happened, nothing is written
		}
		if s.failed = s.write(line{now, name, args}); s.failed != nil {
			return result, &Unknown{s.failed}
		}
		return result, nil
	}
}

// reading makes an operation that only looks one of the durable store.
func reading[A, R any](do func(*state, int64, A) (R, error)) func(*Store, A) (R, error) {
	return func(s *Store, a A) (result R, err error) {
		s.mutex.Lock()
		defer s.mutex.Unlock()
		if s.failed != nil {
			return result, &Refusal{"backend", "the journal failed before: " + s.failed.Error(), nil}
		}
		return do(s.state, s.now(), a)
	}
}

// The operations of a durable store.
var (
	ClaimLeaseOp      = journaled("claim_lease", (*state).claimLease)
	RenewLeaseOp      = journaled("renew_lease", (*state).renewLease)
	ReleaseLeaseOp    = journaled("release_lease", (*state).releaseLease)
	CommitOp          = journaled("commit", (*state).commit)
	EnqueueOp         = journaled("enqueue", (*state).enqueue)
	ClaimReadyOp      = journaled("claim_ready", (*state).claimReady)
	ClaimByIDsOp      = journaled("claim_by_ids", (*state).claimByIDs)
	RenewClaimOp      = journaled("renew_claim", (*state).renewClaim)
	AbandonClaimOp    = journaled("abandon_claim", (*state).abandonClaim)
	CancelOp          = journaled("cancel", (*state).cancel)
	TombstoneOp       = journaled("tombstone", (*state).tombstone)
	VacuumOp          = journaled("vacuum", (*state).vacuum)
	CollectOp         = journaled("collect", (*state).collect)
	RecordIntentOp    = journaled("record_intent", (*state).recordIntent)
	CommitRefsOp      = journaled("commit_refs", (*state).commitRefs)
	ForgetOp          = journaled("forget", (*state).forget)
	SaveMetaOp        = journaled("save_meta", (*state).saveMeta)
	LoadOp            = reading((*state).load)
	LoadNodeOp        = reading((*state).loadNode)
	ListOp            = reading((*state).list)
	ListPendingOp     = reading((*state).listPending)
	ListUncommittedOp = reading((*state).listUncommitted)
	LoadMetaOp        = reading((*state).loadMeta)
)
