package bench

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
)

// TestSmallest runs the programs that are made by hand, on this machine.
func TestSmallest(t *testing.T) {
	for _, row := range []struct {
		name  string
		then  int
		words int // that it writes before it is killed; 0: it ends by itself
	}{{"exit", sayAndExit, 0}, {"wait", sayAndWait, 1}, {"repeat", sayAndRepeat, 3}} {
		file := filepath.Join(t.TempDir(), row.name)
		if err := os.WriteFile(file, smallest("word\n", row.then), 0o755); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(file)
		if row.words == 0 {
			if out, err := command.Output(); err != nil || string(out) != "word\n" {
				t.Errorf("%s: %q, %v", row.name, out, err)
			}
			continue
		}
		stream, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stream)
		for range row.words {
			if !lines.Scan() || lines.Text() != "word" {
				t.Errorf("%s: %q, %v", row.name, lines.Text(), lines.Err())
			}
		}
		command.Process.Kill()
		if command.Wait() == nil {
			t.Errorf("%s ended by itself", row.name)
		}
	}
}

func TestSandboxRefusals(t *testing.T) {
	for _, bad := range []SandboxConfig{{Rounds: 0, Events: 1}, {Rounds: 1, Events: 0}} {
		bad.Dir = t.TempDir()
		if _, err := Sandbox(context.Background(), bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestSandboxReport(t *testing.T) {
	b := &sandboxBench{}
	b.add("case", "of", "ms", []float64{3, 1, 2})
	b.add("none", "of", "ms", nil)
	b.report.Notes = []string{"a note"}
	var text strings.Builder
	if err := b.report.Write(&text); err != nil || len(b.report.Rows) != 1 || b.report.Rows[0].Median != 2 ||
		b.report.Rows[0].Min != 1 || !strings.Contains(text.String(), "a note") {
		t.Errorf("%+v, %v: %s", b.report, err, text.String())
	}
	if p := proportional(os.Getpid()); p <= 0 {
		t.Errorf("this process weighs %f MB", p)
	}
}
