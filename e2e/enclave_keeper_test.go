//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// keeperProgram builds a static program that keeps secrets: it tells digests and counts, never what it
// read, unless it is asked to give itself away.
func keeperProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "keeper.go")
	if err := os.WriteFile(source, []byte(keeperSource), 0o644); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-trimpath", "-o", filepath.Join(dir, "keeper"), source)
	build.Dir, build.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GO111MODULE=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return filepath.Join(dir, "keeper")
}

const keeperSource = `package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "keeper:", err)
		os.Exit(1)
	}
}

func store(name string, data []byte) {
	f, err := os.Create(name)
	check(err)
	_, err = f.Write(data)
	check(err)
	check(f.Sync())
	check(f.Close())
}

func main() {
	switch os.Args[1] {
	case "sum": // FILE...: their digests
		for _, name := range os.Args[2:] {
			data, err := os.ReadFile(name)
			check(err)
			fmt.Printf("%x\n", sha256.Sum256(data))
		}
	case "count": // FILE: one more each time, kept for good before it is told
		old, err := os.ReadFile(os.Args[2])
		if !os.IsNotExist(err) {
			check(err)
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(old)))
		store(os.Args[2], []byte(strconv.Itoa(n+1)))
		fmt.Println("count", n+1)
		if len(os.Args) > 3 { // and stays until its input ends
			io.Copy(io.Discard, os.Stdin)
		}
	case "hold": // FROM INTO: copies, in several forms, which stay until the input ends
		var all []byte
		files, err := os.ReadDir(os.Args[2])
		check(err)
		for _, f := range files {
			data, err := os.ReadFile(filepath.Join(os.Args[2], f.Name()))
			check(err)
			all = append(all, data...)
			store(filepath.Join(os.Args[3], f.Name()), data)
			store(filepath.Join(os.Args[3], f.Name()+".hex"), []byte(hex.EncodeToString(data)))
			store(filepath.Join("/tmp", f.Name()), bytes.Repeat(data, 2))
		}
		fmt.Printf("held %x\n", sha256.Sum256(all))
		io.Copy(io.Discard, os.Stdin)
	case "wait": // until it is told to end
		ended := make(chan os.Signal, 1)
		signal.Notify(ended, syscall.SIGTERM)
		fmt.Println("waiting")
		<-ended
	case "tell": // FILE: gives it away
		data, err := os.ReadFile(os.Args[2])
		check(err)
		os.Stdout.Write(data)
	default:
		check(fmt.Errorf("no %q", os.Args[1]))
	}
}
`
