//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// exampleLimit is when an example is taken to hang; what it takes is in the log.
const exampleLimit = 3 * time.Minute

// TestEnclaveExamples runs each example from an empty directory, as its reader does. A script compares
// what the program says inside and outside by itself, and fails where that differs.
func TestEnclaveExamples(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		want []string
	}{
		{"python", []string{"Harbour: 3 people, mean age 38.0", "median age, by a forked child: 42.5",
			"sum of ages, by another program: 261", "the same outside"}},
		{"node", []string{"lamp at a cost of 1999: price 2829", "a child process says 42", "the same outside"}},
		{"go", []string{"stamp ", "by key ", "the same outside"}},
		{"tflite", []string{"TensorFlow Lite 2.9.0", "output classificators [1x896x1] sum ",
			"the same outside, to the last bit", "all told"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := newKeep(t)
			out := example(t, k, row.name)
			for _, want := range append(row.want, "SIMULATED: no memory protection.", "sha384:") {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

// freePort is a port of loopback that nobody listens on now.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// example runs an example in a directory of its own, twice: the second time with what the first left.
func example(t *testing.T, k *keep, name string) string {
	t.Helper()
	var said bytes.Buffer
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), exampleLimit)
		defer cancel()
		c := exec.CommandContext(ctx, filepath.Join("..", "examples", name, "run"), filepath.Join(k.dir, name))
		c.Env = append(os.Environ(), "SURETY_BIN="+binary(t), "PORT="+freePort(t), "TMPDIR="+
			filepath.Join(k.dir, "tmp"))
		said.Reset()
		c.Stdout, c.Stderr = &said, &said
		began := time.Now()
		if err := c.Run(); err != nil {
			t.Fatalf("examples/%s/run: %v after %s\n%s", name, err, time.Since(began), &said)
		}
		t.Logf("examples/%s/run: %s", name, time.Since(began))
	}
	return said.String()
}
