//go:build amd64

package inside_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// programs are what the tests run in a sandbox.
var programs = map[string]func(args []string) error{
	"first": first, "second": second, "fill": fill, "speed": speed, "leave": leave,
	"calls": calls, "beside": beside, "two": two, "reread": reread, "lost": lost,
}

func inside(words []string) int {
	if err := programs[words[0]](words[1:]); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// first makes a tree, syncs it and stays.
func first([]string) error {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	steps := []func() error{
		func() error { return os.MkdirAll("/state/a/b", 0o750) },
		func() error { return synced("/state/a/draft", []byte("renamed")) },
		func() error { return os.Rename("/state/a/draft", "/state/a/b/final") },
		func() error { return os.Symlink("b/final", "/state/a/link") },
		func() error { return os.Link("/state/a/b/final", "/state/hard") },
		func() error { return synced("/state/big", big) },
		func() error { return synced("/state/gone", []byte("x")) },
		func() error { return os.Remove("/state/gone") },
		func() error { return mapped("/state/big", big) },
		unlinked,
		func() error { return syncDir("/state") },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	fmt.Println("synced")
	if err := os.WriteFile("/state/unsynced", []byte("perhaps"), 0o600); err != nil {
		return err
	}
	for {
		_ = syscall.Pause()
	}
}

func synced(name string, content []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// mapped compares a file with what a mapping of it shows, and writes through one.
func mapped(name string, want []byte) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := syscall.Mmap(int(f.Fd()), 0, len(want), syscall.PROT_READ|syscall.PROT_WRITE,
		syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	if !bytes.Equal(m, want) {
		return errors.New("the mapping differs")
	}
	copy(m[100000:], "through the mapping")
	if err := syscall.Munmap(m); err != nil {
		return err
	}
	return f.Sync()
}

// unlinked uses a file that has no name any more.
func unlinked() error {
	f, err := os.Create("/state/temporary")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Remove("/state/temporary"); err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte("still here"), 40000); err != nil {
		return err
	}
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 40000); err != nil || string(got) != "still here" {
		return fmt.Errorf("an unlinked file: %q, %v", got, err)
	}
	return nil
}

// second looks for what first left, and prints the tree.
func second([]string) error {
	for name, want := range map[string]string{"/state/a/b/final": "renamed", "/state/a/link": "renamed",
		"/state/hard": "renamed"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			return fmt.Errorf("%s: %q, %v", name, got, err)
		}
	}
	big, err := os.ReadFile("/state/big")
	if err != nil || len(big) != 1<<20 || string(big[100000:100019]) != "through the mapping" {
		return fmt.Errorf("big: %d bytes, %v", len(big), err)
	}
	hard, err := os.Stat("/state/hard")
	if err != nil || hard.Sys().(*syscall.Stat_t).Nlink != 2 {
		return fmt.Errorf("links: %+v, %v", hard, err)
	}
	dir, err := os.Stat("/state/a/b")
	if err != nil || dir.Mode() != os.ModeDir|0o750 {
		return fmt.Errorf("mode: %v, %v", dir.Mode(), err)
	}
	entries, err := os.ReadDir("/state")
	if err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Println(e.Name())
	}
	return nil
}

// fill writes until the volume is full.
func fill([]string) error {
	f, err := os.Create("/state/full")
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for {
		if _, err = f.Write(block); err != nil {
			break
		}
		if err = f.Sync(); err != nil {
			break
		}
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("full: %w", err)
	}
	return errors.Join(f.Close(), os.Remove("/state/full"), synced("/state/after", block))
}

// leave writes, syncs nothing and ends.
func leave([]string) error {
	return os.WriteFile("/state/left", bytes.Repeat([]byte("left"), 100000), 0o600)
}

// speed prints what writing, syncing and reading cost.
func speed([]string) error {
	const size = 64 << 20
	block := make([]byte, 1<<20)
	f, err := os.Create("/state/speed")
	if err != nil {
		return err
	}
	start := time.Now()
	for range size / len(block) {
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	wrote := time.Since(start)
	var waits []time.Duration
	for i := range 100 {
		start := time.Now()
		if _, err := f.WriteAt(block[:4096], int64(i)*40960); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		waits = append(waits, time.Since(start))
	}
	slices.Sort(waits)
	if err := f.Close(); err != nil {
		return err
	}
	fmt.Printf("write and sync 64 MiB: %.0f MB/s; 4 KiB write and fsync: p50 %s, p99 %s\n",
		size/1e6/wrote.Seconds(), waits[50], waits[98])
	return nil
}

// reread prints what reading costs in a sandbox that has not read it before, and what fsyncs at once
// cost.
func reread([]string) error {
	f, err := os.Open("/state/speed")
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	start, total := time.Now(), 0
	for {
		n, err := f.Read(block)
		total += n
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	read := time.Since(start)
	const writers, each = 8, 50
	var group sync.WaitGroup
	failed := make(chan error, writers)
	start = time.Now()
	for w := range writers {
		group.Go(func() {
			for range each {
				if err := synced(fmt.Sprintf("/state/writer-%d", w), block[:4096]); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	fmt.Printf("read %d MiB cold: %.0f MB/s; fsyncs of %d at once: %.0f a second\n", total>>20,
		float64(total)/1e6/read.Seconds(), writers, writers*each/time.Since(start).Seconds())
	return <-failed
}
