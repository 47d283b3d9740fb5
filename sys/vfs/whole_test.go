package vfs

import (
	"os"
	"path/filepath"
	"testing"

	"surety/base/errs"
)

// At whichever operation a replacement fails, and whatever the power cut after it takes, the file
// holds the old content or the new one.
func TestWriteWholeIsOldOrNew(t *testing.T) {
	for failing := 1; ; failing++ {
		fs := NewMemory()
		if err := fs.MakeDir("d"); err != nil {
			t.Fatal(err)
		}
		if err := WriteWhole(fs, "d/f", []byte("the old content")); err != nil {
			t.Fatal(err)
		}
		operation := 0
		fs.SetFault(func(op Op) error {
			if operation++; operation == failing {
				return errs.New(errs.NoSpace, "planted at %s", op.Kind)
			}
			return nil
		})
		err := WriteWhole(fs, "d/f", []byte("the new"))
		fs.SetFault(nil)
		fs.Crash(uint64(failing))
		got, readErr := ReadWhole(fs, "d/f", 100)
		if readErr != nil {
			t.Fatal(readErr)
		}
		if operation < failing { // nothing failed
			if err != nil || string(got) != "the new" {
				t.Fatalf("got %q, %v", got, err)
			}
			return
		}
		if !errs.Is(err, errs.NoSpace) {
			t.Errorf("operation %d: got %v, want the planted error", failing, err)
		}
		if string(got) != "the old content" && string(got) != "the new" {
			t.Errorf("operation %d: the file holds %q", failing, got)
		}
		if err := WriteWhole(fs, "d/f", []byte("again")); err != nil {
			t.Errorf("operation %d: after it: %v", failing, err)
		}
	}
}

func TestReadWholeRefusals(t *testing.T) {
	fs := NewMemory()
	if _, err := ReadWhole(fs, "absent", 10); !errs.Is(err, errs.NotFound) {
		t.Errorf("absent: got %v", err)
	}
	if err := WriteWhole(fs, "f", make([]byte, 11)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadWhole(fs, "f", 10); !errs.Is(err, errs.TooLarge) {
		t.Errorf("too long: got %v", err)
	}
}

func TestRequirePrivate(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key")
	if err := WriteWhole(OS{}, name, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	if err := (OS{}).RequirePrivate(name); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := (OS{}).RequirePrivate(name); !errs.Is(err, errs.Forbidden) {
		t.Fatalf("got %v", err)
	}
}
