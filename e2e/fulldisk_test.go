//go:build e2e

package e2e

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	lendingv1 "surety/api/lending/v1"
)

// TestFullDisk fills the disk of a node that is under load: requests get an error that says so,
// what there is can still be read, the node can be stopped, nothing that was acknowledged is lost,
// and once there is room a start goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Logf("this user may not mount (%v): the size of files is limited instead of the disk's", err)
		limitedFiles(t, dir)
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // nothing depends on it
	args := []string{"--rate", "0", "--set", "ledger.segment_bytes=4MiB"}
	j := newJournal(t, testSeed(t))
	n := startNode(t, dir, args...)
	openCrashAccounts(t, n)
	ballast := leave(t, dir, 12<<20)
	said := j.fill(t, n, 100)
	t.Logf("%d applications, %d repayments, %d transfers, then: %v", len(j.told), len(j.repaid), len(j.moved), said)
	if len(j.told) == 0 || said["no space left"] == 0 || said["other"] > 0 {
		t.Errorf("requests were refused with %v\n%.4000s", said, n.output)
	}
	if now := board(t, n); now.Applications < uint64(len(j.told)) {
		t.Errorf("on a full disk the board shows %d applications of %d", now.Applications, len(j.told))
	}
	n.stop(t)
	// With no room a start is refused, or what little there is lets it serve. It must not do harm.
	full := launchNode(t, dir, args...)
	if err := full.ready(commandLimit); err == nil {
		full.stop(t)
	} else if said := full.output.String(); !strings.Contains(said, "no space left") ||
		!strings.Contains(said, "nothing that was acknowledged is lost") {
		t.Errorf("a start with no room: %v\n%s", err, said)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	j.goesOn(t, dir, args)
}

// leave fills a file system but for some bytes, and returns the file that does.
func leave(t *testing.T, dir string, left int64) (ballast string) {
	t.Helper()
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	ballast = filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, int64(disk.Bavail)*disk.Bsize-left), 0o600); err != nil {
		t.Fatal(err)
	}
	return ballast
}

// goesOn starts a node that has room again and holds it to the journal.
func (j *journal) goesOn(t *testing.T, dir string, args []string) {
	t.Helper()
	n := startNode(t, dir, args...)
	j.verify(t, n, len(j.told))
	for range 20 {
		if err := j.submit(t.Context(), n, j.take()); err != nil {
			t.Fatalf("with room again: %v\n%s", err, n.output)
		}
	}
	j.verify(t, n, 20)
	j.verifyLog(t, n)
	run(t, dir, 0, "ledger", "verify")
}

// fill sends work until a number of requests were refused, or the node is gone, and returns what
// was said how often.
func (j *journal) fill(t *testing.T, n *node, refusals int) map[string]int {
	t.Helper()
	said := map[string]int{}
	var mu sync.Mutex
	enough := func(err error) bool {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil:
		case cutOff(err):
			said["gone"]++
		case strings.Contains(err.Error(), "no space left"):
			said["no space left"]++
		case connect.CodeOf(err) == connect.CodeUnavailable:
			said["not available"]++
		default:
			said["other"]++
			t.Logf("on a full disk: %v", err)
		}
		return said["gone"] > 0 || said["no space left"]+said["not available"]+said["other"] >= refusals
	}
	var group sync.WaitGroup
	for worker := range crashWorkers {
		random := rand.New(rand.NewPCG(j.seed, uint64(worker)))
		group.Go(func() {
			for !enough(j.one(t.Context(), n, random)) {
			}
		})
	}
	group.Wait()
	return said
}

// limitedFiles is TestFullDisk where nobody may mount: a write that would make a file larger than is
// allowed fails.
func limitedFiles(t *testing.T, dir string) {
	t.Helper()
	args := []string{"--rate", "0", "--set", "ledger.segment_bytes=4MiB"}
	j := newJournal(t, testSeed(t))
	n := startNode(t, dir, args...)
	openCrashAccounts(t, n)
	const size = 4<<20 + 64<<10 // a segment and a little
	err := unix.Prlimit(n.command.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: size}, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := j.fill(t, n, 100)
	t.Logf("%d applications, %d repayments, %d transfers, then: %v", len(j.told), len(j.repaid), len(j.moved), said)
	if len(j.told) == 0 || said["gone"] > 0 {
		t.Errorf("requests were refused with %v\n%.4000s", said, n.output)
	}
	n.kill(t)
	j.goesOn(t, dir, args)
}

// TestRoomAgain frees the disk of a node that was not stopped: what it refused it takes now, or it
// says that it has to be started again, and either way nothing is lost.
func TestRoomAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		if !errors.Is(err, syscall.EPERM) {
			t.Fatal(err)
		}
		t.Logf("this user may not mount: TestFullDisk limits the size of files instead")
		return
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }) // nothing depends on it
	args := []string{"--rate", "0", "--set", "ledger.segment_bytes=4MiB"}
	j := newJournal(t, testSeed(t))
	n := startNode(t, dir, args...)
	openCrashAccounts(t, n)
	ballast := leave(t, dir, 12<<20)
	j.fill(t, n, 50)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	loan := j.loans[0]
	took := false
	until(t, 20*time.Second, "the node takes work, or says that it does not", func() (bool, string) {
		_, err := n.lending().Repay(t.Context(), connect.NewRequest(&lendingv1.RepayRequest{Loan: loan,
			Amount: "100", Reference: "room-again"}))
		took = err == nil
		status, health := call{method: "GET", path: "/healthz"}.do(t, n)
		return took || status == 503, health
	})
	j.repaid["room-again"] = &lendingv1.RepayRequest{Loan: loan, Amount: "100", Reference: "room-again"}
	if !took {
		delete(j.repaid, "room-again")
		j.repaying["room-again"] = &lendingv1.RepayRequest{Loan: loan, Amount: "100", Reference: "room-again"}
	}
	t.Logf("with room again, without a start: taken %t", took)
	n.stop(t)
	j.goesOn(t, dir, args)
}
