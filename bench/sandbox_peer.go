package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/wallclock"
)

// peer is another runtime of OCI bundles on this machine.
type peer struct {
	name    string
	program string
	flags   []string // before its command
	state   string
	runs    int
}

// peers are those that were found, each with a state directory of its own.
func (b *sandboxBench) peers() []*peer {
	var list []*peer
	for _, p := range []*peer{
		{name: "runsc", program: b.config.Runsc, flags: []string{"--network=none"}},
		{name: "runc", program: b.config.Runc},
	} {
		if p.program != "" {
			p.state = filepath.Join(b.config.Dir, p.name)
			list = append(list, p)
		}
	}
	return list
}

// leavePeers takes away what stock runsc leaves mounted in its state directory.
func (b *sandboxBench) leavePeers() {
	for _, p := range b.peers() {
		_ = syscall.Unmount(filepath.Join(p.state, "null-netns"), syscall.MNT_DETACH) // or is not there
	}
}

// bundle writes a bundle that runs args from the root directory.
func (b *sandboxBench) bundle(root string, args ...string) (string, error) {
	dir, err := os.MkdirTemp(b.config.Dir, "bundle-")
	if err != nil {
		return "", errs.As(errs.NoSpace, err, "bench.sandbox")
	}
	kinds := []map[string]string{{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
		{"type": "network"}}
	content, err := json.Marshal(map[string]any{"ociVersion": "1.0.2",
		"root": map[string]any{"path": root, "readonly": true},
		"process": map[string]any{"args": args, "cwd": "/", "env": []string{"PATH=/"},
			"user": map[string]int{"uid": 0, "gid": 0}, "noNewPrivileges": true},
		"mounts": []map[string]string{{"destination": "/proc", "type": "proc", "source": "proc"}},
		"linux":  map[string]any{"namespaces": kinds}})
	if err != nil {
		return "", err
	}
	return dir, errs.Wrap(os.WriteFile(filepath.Join(dir, "config.json"), content, 0o600),
		"bench.sandbox")
}

// command runs a bundle under a name that was not used before.
func (p *peer) command(ctx context.Context, bundle string) *exec.Cmd {
	p.runs++
	args := append([]string{"--root", p.state}, p.flags...)
	return exec.CommandContext(ctx, p.program, append(args, "run", "--bundle", bundle,
		p.name+"-bench-"+strconv.Itoa(os.Getpid())+"-"+strconv.Itoa(p.runs))...)
}

// firstOutput is the time from the start of a peer to its program's first byte.
func (p *peer) firstOutput(ctx context.Context, bundle string) (clock.Duration, error) {
	watch := wallclock.System()
	read, write, err := os.Pipe()
	if err != nil {
		return 0, errs.As(errs.Unavailable, err, "bench.sandbox: pipe")
	}
	defer read.Close()
	command := p.command(ctx, bundle)
	var complaints bytes.Buffer
	command.Stdout, command.Stderr = write, &complaints
	began := watch.Now()
	if err := command.Start(); err != nil {
		write.Close()
		return 0, errs.As(errs.Unavailable, err, "bench.sandbox: %s", p.name)
	}
	write.Close()
	_, readErr := read.Read(make([]byte, 1))
	took := watch.Now().Sub(began)
	if err := command.Wait(); err != nil || readErr != nil {
		return 0, errs.As(errs.Unavailable, err, "bench.sandbox: %s: %s", p.name, &complaints)
	}
	return took, nil
}

// output is all that a peer's program writes.
func (p *peer) output(ctx context.Context, bundle string) ([]byte, error) {
	out, err := p.command(ctx, bundle).Output()
	return out, errs.As(errs.Unavailable, err, "bench.sandbox: %s", p.name)
}
