package presence

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"surety/base/errs"
)

func TestLife(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if _, err := Find(dir); !errs.Is(err, errs.Unavailable) {
		t.Errorf("before: %v", err)
	}
	hold, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); !errs.Is(err, errs.Unavailable) {
		t.Errorf("before it listens: %v", err)
	}
	record := Record{PID: os.Getpid(), Addresses: map[string]string{"http": "127.0.0.1:1"}}
	if err := hold.Publish(record); err != nil {
		t.Fatal(err)
	}
	found, err := Find(dir)
	if err != nil || found.Addresses["http"] != "127.0.0.1:1" {
		t.Errorf("found %+v, %v", found, err)
	}
	_, err = Acquire(dir)
	if !errs.Is(err, errs.Locked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("a second node got %v", err)
	}
	if err := hold.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); !errs.Is(err, errs.Unavailable) {
		t.Errorf("after: %v", err)
	}
}

// TestRecordOfACrash leaves the record without the lock, as a killed process does.
func TestRecordOfACrash(t *testing.T) {
	dir := t.TempDir()
	hold, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := hold.Publish(Record{PID: 1}); err != nil {
		t.Fatal(err)
	}
	if err := hold.lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); !errs.Is(err, errs.Unavailable) {
		t.Errorf("found a node that is gone: %v", err)
	}
	again, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
}

func TestAcquireWhereAFileStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Acquire(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

// TestPublishWhereItCannot blocks the record's place and sees that the directory stays held.
func TestPublishWhereItCannot(t *testing.T) {
	dir := t.TempDir()
	hold, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(dir, recordName+".new")
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := hold.Publish(Record{PID: 1}); err == nil {
		t.Error("a record was written over a directory")
	}
	if _, err := Acquire(dir); !errs.Is(err, errs.Locked) ||
		!strings.Contains(err.Error(), "another process") {
		t.Errorf("a second node got %v", err)
	}
	if err := hold.Release(); err != nil {
		t.Fatal(err)
	}
}

// TestBrokenRecord sees that a record which is not one counts as a node that does not listen yet.
func TestBrokenRecord(t *testing.T) {
	dir := t.TempDir()
	hold, err := Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Find(dir); !errs.Is(err, errs.Unavailable) {
		t.Errorf("found %v", err)
	}
	if err := hold.Release(); err != nil {
		t.Fatal(err)
	}
}
