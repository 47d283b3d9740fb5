//go:build e2e

// Package e2e drives the built binary from outside, as a person and as a program would: through its
// command line, its HTTP door and its console, and with signals.
//
// The binary is bin/surety, or what SURETY_BIN names; `make test` builds it first. A test that
// cannot find it, or Chromium where it needs that, fails: nothing here is skipped.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"surety/api/evidence/v1/evidencev1connect"
	guardv1 "surety/api/guard/v1"
	"surety/api/guard/v1/guardv1connect"
	"surety/api/ledger/v1/ledgerv1connect"
	"surety/api/lending/v1/lendingv1connect"
	"surety/api/node/v1/nodev1connect"
)

// binary returns the program under test.
func binary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("SURETY_BIN")
	if path == "" {
		path = filepath.Join("..", "bin", "surety")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the program is not built: %v; run `make build`", err)
	}
	return path
}

// commandLimit is how long a command may take: a start that should be refused and is not goes on.
const commandLimit = 20 * time.Second

// tokenLimit is how long a node may take to see that a token was made or revoked.
const tokenLimit = 10 * time.Second

// node is a running `surety up`.
type node struct {
	dir     string
	address string // host:port of its HTTP door
	command *exec.Cmd
	output  *transcript
	exited  chan struct{}
}

// transcript keeps what a process wrote.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *transcript) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *transcript) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// startNode starts `surety up` on a data directory, on a free port, and waits until it answers. It
// is stopped when the test ends.
func startNode(t *testing.T, dir string, args ...string) *node {
	t.Helper()
	n := launchNode(t, dir, args...)
	if err := n.ready(30 * time.Second); err != nil {
		t.Fatalf("%v\n%s", err, n.output)
	}
	return n
}

// timeLapse returns the arguments of a node whose business days last 42 ms. A node that is fed by the
// API alone keeps the calendar, so it is given a file, which has no rows.
func timeLapse(t *testing.T) []string {
	t.Helper()
	return []string{"--applications", writeFile(t, "none.csv", formHeader), "--days-per-minute", "1440"}
}

// launchNode starts `surety up` and does not wait for it.
func launchNode(t *testing.T, dir string, args ...string) *node {
	t.Helper()
	n := &node{dir: dir, output: &transcript{}, exited: make(chan struct{})}
	n.command = exec.Command(binary(t), append([]string{"up", "--data-dir", dir,
		"--http", "127.0.0.1:0", "--set", "ledger.address=127.0.0.1:0"}, args...)...)
	n.command.Stdout, n.command.Stderr = n.output, n.output
	if err := n.command.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = n.command.Wait() // the exit status is read from ProcessState
		close(n.exited)
	}()
	t.Cleanup(func() { n.stop(t) })
	return n
}

// ready waits until the node answers on its HTTP door and lends.
func (n *node) ready(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if n.discover() && n.answers(ctx) && n.lends(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.exited:
			return errors.New("the node ended before it was ready")
		case <-ctx.Done():
			return errors.New("the node was not ready in time")
		}
	}
}

// discover reads where the node listens from what it wrote into its data directory.
func (n *node) discover() bool {
	data, err := os.ReadFile(filepath.Join(n.dir, "node.json"))
	if err != nil {
		return false
	}
	var record struct {
		PID       int               `json:"pid"`
		Addresses map[string]string `json:"addresses"`
	}
	if json.Unmarshal(data, &record) != nil || record.PID != n.command.Process.Pid {
		return false
	}
	n.address = record.Addresses["http"]
	return n.address != ""
}

func (n *node) answers(ctx context.Context) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.url("/healthz"), nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body) // only the status matters
	return response.StatusCode == http.StatusOK
}

// lends reports whether money may leave: the guard is awake.
func (n *node) lends(ctx context.Context) bool {
	status, err := n.guard().Status(ctx, connect.NewRequest(&guardv1.StatusRequest{}))
	return err == nil && status.Msg.MoneyOutAllowed
}

// url returns the address of a path of the node.
func (n *node) url(path string) string { return "http://" + n.address + path }

// lending, ledger, evidence, guard and board return clients of the node's services, without a token.
func (n *node) lending() lendingv1connect.LendingServiceClient {
	return lendingv1connect.NewLendingServiceClient(http.DefaultClient, n.url(""))
}

func (n *node) ledger() ledgerv1connect.LedgerServiceClient {
	return ledgerv1connect.NewLedgerServiceClient(http.DefaultClient, n.url(""))
}

func (n *node) evidence() evidencev1connect.EvidenceServiceClient {
	return evidencev1connect.NewEvidenceServiceClient(http.DefaultClient, n.url(""))
}

func (n *node) guard() guardv1connect.GuardServiceClient {
	return guardv1connect.NewGuardServiceClient(http.DefaultClient, n.url(""))
}

func (n *node) board() nodev1connect.NodeServiceClient {
	return nodev1connect.NewNodeServiceClient(http.DefaultClient, n.url(""))
}

// wait lets the node run for some milliseconds: a fault's moment, not a wait for something. A node
// that ends meanwhile fails the test unless it may.
func (n *node) wait(t *testing.T, millis int, mayEnd bool) {
	t.Helper()
	timer := time.NewTimer(time.Duration(millis) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-n.exited:
		if !mayEnd {
			t.Fatalf("the node ended by itself\n%s", n.output)
		}
	}
}

// kill ends the node at once, as a power cut of the process would.
func (n *node) kill(t *testing.T) {
	t.Helper()
	if err := n.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-n.exited
}

// stop asks the node to end and waits for it.
func (n *node) stop(t *testing.T) {
	t.Helper()
	if err := n.command.Process.Signal(syscall.SIGTERM); err != nil {
		<-n.exited
		return
	}
	select {
	case <-n.exited:
	case <-time.After(30 * time.Second):
		t.Errorf("the node did not stop\n%s", n.output)
		n.kill(t)
	}
}

// run runs a command of the program against a node's data directory and returns what it wrote to
// standard output; any exit status but want fails the test.
func run(t *testing.T, dir string, want int, args ...string) string {
	t.Helper()
	out, errOut, status := execute(t, dir, "", args...)
	if status != want {
		t.Fatalf("surety %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), status, want, out, errOut)
	}
	return out
}

// ask runs a command with -o json, which must succeed, and reads its answer.
func ask(t *testing.T, dir string, into proto.Message, args ...string) {
	t.Helper()
	out := run(t, dir, 0, append(args, "-o", "json")...)
	if err := protojson.Unmarshal([]byte(out), into); err != nil {
		t.Fatalf("surety %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// refused runs a command that must fail with the exit status, and whose complaint must have all the
// words; it returns the complaint.
func refused(t *testing.T, dir string, want int, words []string, args ...string) string {
	t.Helper()
	out, errOut, status := execute(t, dir, "", args...)
	if status != want || out != "" {
		t.Errorf("surety %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), status, want, out, errOut)
	}
	for _, word := range words {
		if !strings.Contains(errOut, word) {
			t.Errorf("surety %s says nothing of %q:\n%s", strings.Join(args, " "), word, errOut)
		}
	}
	return errOut
}

// execute runs a command of the program with a text on its standard input, and returns what it
// wrote and its exit status.
func execute(t *testing.T, dir, input string, args ...string) (out, errOut string, status int) {
	t.Helper()
	var outText, errText strings.Builder
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	command := exec.CommandContext(ctx, binary(t), args...)
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(input), &outText, &errText
	command.Env = append(os.Environ(), "SURETY_DATA_DIR="+dir)
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outText.String(), errText.String(), command.ProcessState.ExitCode()
}

// until waits until a condition holds, and fails the test where it does not in time. The condition
// says what it sees, for the failure.
func until(t *testing.T, limit time.Duration, what string, holds func() (bool, string)) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for {
		held, seen := holds()
		if held {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("not in %s: %s; %s", limit, what, seen)
		}
	}
}

// says waits until a node's output has the words.
func (n *node) says(t *testing.T, words string) {
	t.Helper()
	until(t, 20*time.Second, "the node says "+words, func() (bool, string) {
		return strings.Contains(n.output.String(), words), n.output.String()
	})
}

// adminToken returns the token that the first start of a node has shown.
func (n *node) adminToken(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`admin token, shown this once: (surety_\S+)`).FindStringSubmatch(n.output.String())
	if found == nil {
		t.Fatalf("no token was shown\n%s", n.output)
	}
	return found[1]
}
