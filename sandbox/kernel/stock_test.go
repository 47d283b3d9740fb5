//go:build amd64

package kernel_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCallsMeanWhatTheyDoInStock tries every call that names files on every kind of path, under our
// table with a policy that allows all and under the stock runsc that $SURETY_RUNSC names: each must
// return the same and leave the same behind.
func TestCallsMeanWhatTheyDoInStock(t *testing.T) {
	needRoot(t)
	runsc := os.Getenv("SURETY_RUNSC")
	if runsc == "" {
		t.Skip("set SURETY_RUNSC to a stock runsc to compare with")
	}
	for _, uid := range []uint32{0, 1000} {
		compare(t, runsc, plan{args: []string{"grid /grid"}, files: map[string]string{"/grid/": ""},
			uid: uid})
	}
}

func compare(t *testing.T, runsc string, p plan) {
	t.Helper()
	if p.uid == 0 {
		p.caps = []string{"CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN", "CAP_MKNOD"}
	}
	want := strings.Split(stock(t, runsc, p), "\n")
	p.policy = enforce()
	status, got := boot(t, p).run()
	mine := strings.Split(got, "\n")
	if status.ExitStatus() != 0 || len(mine) != len(want) || len(want) < 1000 {
		t.Fatalf("%v, %d lines, want %d: %.200s", status, len(mine), len(want), got)
	}
	differ := 0
	for i := range want {
		if mine[i] != want[i] && !slices.ContainsFunc(likeLinux, func(start string) bool {
			return strings.HasPrefix(mine[i], start)
		}) {
			if differ++; differ <= 60 {
				t.Errorf("user %d: ours  %s\nstock %s", p.uid, mine[i], want[i])
			}
		}
	}
	t.Logf("user %d: %d of %d cases differ", p.uid, differ, len(want))
}

// likeLinux are cases in which we see that a name is taken, or is not, before gVisor sees what else
// is wrong, and so agree with Linux.
var likeLinux = []string{`unlink "missing/" ENOENT`, `link-to "/proc/self/cwd" EEXIST`,
	`link-to "/proc/self" EEXIST`, `mkchr "missing/x" ENOENT`, `mkchr "file/x" ENOTDIR`,
	`mkchr "dangling/x" ENOENT`, `mkchr "locked/x" EACCES`, `open-0x841 "locked" EISDIR`,
	`open-0x841 "/proc/self" EISDIR`, `open-0x840 "locked" EISDIR`, `open-0x20840 "locked" EISDIR`}

// stock runs the same program from the same bundle under another runsc, and returns what it wrote.
func stock(t testing.TB, runsc string, p plan) string {
	t.Helper()
	like := &box{t: t, dir: t.TempDir()}
	like.root = filepath.Join(like.dir, "rootfs")
	like.fill(p)
	like.bundle(p)
	cmd := exec.Command(runsc, "--root="+filepath.Join(like.dir, "state"), "--network=none",
		"--platform=systrap", "--ignore-cgroups", "--overlay2=none", "--file-access=exclusive", "run",
		"--bundle="+like.dir, fmt.Sprintf("peer%d-%d", os.Getpid(), time.Now().UnixNano()))
	out, err := cmd.Output()
	like.forget()
	if err != nil {
		t.Fatalf("%s: %v", runsc, err)
	}
	return string(out)
}
