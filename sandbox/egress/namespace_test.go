package egress_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/egress"
	"surety/sys/wallclock"
)

// childHold makes a namespace, says its number and path, and stays until its input ends.
func childHold() error {
	ns, err := egress.NewNamespace(egress.Wire{})
	if err != nil {
		return err
	}
	id, err := ns.ID()
	if err != nil {
		return err
	}
	fmt.Println(id, ns.Path())
	io.Copy(io.Discard, os.Stdin)
	return ns.Close()
}

// childRootless does all that a wire needs and reaches the resolver of its gateway.
func childRootless() error {
	ns, err := egress.NewNamespace(egress.Wire{})
	if err != nil {
		return err
	}
	g, err := egress.Open(egress.Config{Link: ns.Link(), Clock: wallclock.System()})
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() { ran <- g.Run(context.Background()) }()
	err = ns.Do(func() error {
		c, err := net.DialTimeout("tcp", "10.90.0.1:53", 10*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
	return errors.Join(err, g.Close(), <-ran, ns.Close())
}

// eventually waits until ok holds; it fails the test when it does not within ten seconds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within ten seconds: %s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// holders are what refers to the network namespace with the number: processes, threads, open files
// and mounts of the whole machine.
func holders(t testing.TB, id string) []string {
	t.Helper()
	name := "net:[" + id + "]"
	var found []string
	for _, pattern := range []string{"/proc/[0-9]*/ns/net", "/proc/[0-9]*/task/[0-9]*/ns/net",
		"/proc/[0-9]*/fd/*"} {
		links, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && to == name {
				found = append(found, link)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), name) {
		found = append(found, "a mount")
	}
	return found
}

func TestNamespaceLeavesNothing(t *testing.T) {
	ns, err := egress.NewNamespace(egress.Wire{})
	if err != nil {
		t.Fatal(err)
	}
	number, err := ns.ID()
	if err != nil {
		t.Fatal(err)
	}
	id := fmt.Sprint(number)
	inside := func() error {
		own, err := os.Readlink("/proc/thread-self/ns/net")
		if err == nil && own != "net:["+id+"]" {
			err = fmt.Errorf("in %s, not in %s", own, id)
		}
		return err
	}
	if err := ns.Do(inside); err != nil {
		t.Fatal(err)
	}
	if got := len(holders(t, id)); got == 0 {
		t.Fatal("an open namespace has no holder: the count is blind")
	}
	for range 2 { // closing twice is closing
		if err := ns.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "namespace let go", func() bool { return len(holders(t, id)) == 0 })
	if own, err := os.Readlink("/proc/self/ns/net"); err != nil || own == "net:["+id+"]" {
		t.Fatalf("the process itself is in %s: %v", own, err)
	}
}

func TestNamespaceOutlivesNoKill(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "hold")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var id, path string
	if _, err := fmt.Fscan(bufio.NewReader(out), &id, &path); err != nil {
		t.Fatal(err)
	}
	// Another process enters by the path, as the runtime's does.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || fmt.Sprint(stat.Ino) != id {
		t.Fatalf("%s is namespace %d, not %s: %v", path, stat.Ino, id, err)
	}
	unix.Close(fd)
	if len(holders(t, id)) == 0 {
		t.Fatal("a held namespace has no holder: the count is blind")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	eventually(t, "namespace of a killed holder gone", func() bool { return len(holders(t, id)) == 0 })
}

// TestRootless runs the whole wire as user 65534 in a user namespace. Where the kernel forbids those
// it must say so and name the remedy.
func TestRootless(t *testing.T) {
	out, err := asNobody(t, true)
	if err != nil && !userNamespaces() {
		t.Logf("this kernel gives user 65534 no user namespace: %v %s", err, out)
		return
	}
	if err != nil {
		t.Fatalf("rootless: %v: %s", err, out)
	}
}

func TestNoCapability(t *testing.T) {
	out, err := asNobody(t, false)
	if err == nil || !strings.Contains(out, "CAP_SYS_ADMIN") || !strings.Contains(out, "user namespace") {
		t.Fatalf("without capabilities: %v: %s", err, out)
	}
}

// userNamespaces reports whether the kernel lets everybody make a user namespace.
func userNamespaces() bool {
	for _, name := range []string{"/proc/sys/kernel/unprivileged_userns_clone",
		"/proc/sys/user/max_user_namespaces"} {
		if data, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(data)) == "0" {
			return false
		}
	}
	_, err := os.Stat("/proc/self/ns/user")
	return err == nil
}

// asNobody runs childRootless as user 65534, in a user namespace of its own or not. The test binary
// lies where that user may not look, so it is given as an open file.
func asNobody(t *testing.T, namespace bool) (string, error) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	attr := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if namespace {
		attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}},
			Credential:  &syscall.Credential{NoSetGroups: true}}
	}
	cmd := &exec.Cmd{Path: "/proc/self/fd/3", Args: []string{"child", "rootless"},
		Env: []string{childEnv + "=1"}, ExtraFiles: []*os.File{self}, SysProcAttr: attr}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestWireRefused(t *testing.T) {
	for _, mtu := range []int{-1, 1279, 65522} {
		if _, err := egress.NewNamespace(egress.Wire{MTU: mtu}); !errs.Is(err, errs.Invalid) {
			t.Errorf("mtu %d: %v", mtu, err)
		}
	}
}
