package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/runsc/container"

	"surety/base/errs"
	"surety/sandbox"
	"surety/sandbox/image"
	"surety/sandbox/kernel"
	"surety/sandbox/ring"
)

// openTrail makes the ring and the trail that drains it.
func (v *supervisor) openTrail(told *order) error {
	shared, err := ring.Create(v.s.file(ringFile), ringBytes)
	if err != nil {
		return err
	}
	v.ring = shared
	v.later(func() { _ = shared.Close() })
	shared.Hold()
	v.collector, err = openCollector(v.s, told.Trail, shared, func(cause error) {
		v.log.Error("audit", "error", cause)
		v.end("audit: " + cause.Error())
	})
	return err
}

// boundary measures what is inside: image, policy, binary, configuration; and tells the kernel.
func (v *supervisor) boundary(*order) error {
	source := ""
	if v.spec.Root.Image != "" {
		seals := filepath.Join(v.s.host.config.Root, "seals")
		if err := os.MkdirAll(seals, 0o700); err != nil {
			return errs.Wrap(err, "sandbox %s: shared images", v.s.id)
		}
		sealed, err := image.Share(context.Background(), seals, v.spec.Root.Image, v.spec.Root.Digest)
		if err != nil {
			return err
		}
		v.later(func() { _ = sealed.Close() })
		source, v.state.Image = sealed.Path(), sealed.Digest
	}
	oci, err := v.s.bundle(&v.spec, source)
	if err != nil {
		return err
	}
	if err := v.wire(oci); err != nil {
		return err
	}
	if err := v.s.writeBundle(oci); err != nil {
		return err
	}
	birth, err := v.birth()
	if err != nil {
		return err
	}
	audit := v.s.file(policyFile)
	if v.conf, err = v.s.settings(&v.spec, oci, audit); err != nil {
		return err
	}
	v.oci = oci
	return kernel.InitConfig(audit, kernel.Config{Ring: v.s.file(ringFile),
		Policy: v.policy.Canonical(), Birth: birth})
}

// birth is what the first record says.
func (v *supervisor) birth() (sandbox.Birth, error) {
	binary, err := v.s.host.binaryDigest()
	if err != nil {
		return sandbox.Birth{}, err
	}
	config, err := json.Marshal(&v.spec)
	if err != nil {
		return sandbox.Birth{}, errs.Wrap(err, "encode spec")
	}
	host, err := os.Hostname()
	if err != nil {
		return sandbox.Birth{}, errs.Wrap(err, "name of this machine")
	}
	b := sandbox.Birth{
		Sandbox:  v.s.id,
		Image:    v.state.Image,
		Policy:   v.state.Policy,
		Binary:   binary,
		Config:   fmt.Sprintf("sha256:%x", sha256.Sum256(config)),
		Class:    string(v.spec.Class),
		Mode:     v.modeName(),
		Audit:    v.levelName(),
		Key:      v.collector.publicKey(),
		Host:     host,
		Platform: platformName,
	}
	if v.spec.Snapshot != "" {
		b.Snapshot, b.Earlier, err = readSnapshot(v.spec.Snapshot)
	}
	return b, err
}

func (v *supervisor) modeName() string {
	switch {
	case v.spec.Learn:
		return "learn"
	case v.policy.Mode() == sandbox.Enforce:
		return "enforce"
	}
	return "observe"
}

func (v *supervisor) levelName() string {
	if v.policy.Level() == sandbox.FullAudit {
		return "full"
	}
	return "core"
}

// ignite boots the kernel and waits for its birth record. The program is held at the gate.
func (v *supervisor) ignite(told *order) error {
	log.SetTarget(&log.GoogleEmitter{Writer: &log.Writer{Next: libraryWriter{v.log}}})
	log.SetLevel(log.Warning)
	made, err := container.New(v.conf, container.Args{
		ID: v.s.id, Spec: v.oci, BundleDir: v.s.file(bundleDir), Attached: true,
		ConsoleSocket: told.ConsoleSocket,
	})
	if err != nil {
		return errs.As(errs.Internal, err, "sandbox %s: boot", v.s.id)
	}
	v.container = made
	v.mu.Lock()
	v.state.Kernel = made.SandboxPid()
	v.mu.Unlock()
	failed := make(chan error, 1)
	go func() {
		err := v.begin()
		if err != nil {
			failed <- err
		}
		v.started <- err
	}()
	select {
	case <-v.collector.born:
		return nil
	case err := <-failed:
		return errs.As(errs.Internal, err, "sandbox %s: start", v.s.id)
	case <-v.collector.broken:
		return errs.New(errs.Internal, "sandbox %s: its audit broke before it was born", v.s.id)
	}
}

// begin lets the kernel make the program, anew or from a snapshot: it returns once the gate has
// been opened and the program runs.
func (v *supervisor) begin() error {
	if v.spec.Snapshot != "" {
		return v.container.Restore(v.conf, v.spec.Snapshot, false, false, nil)
	}
	return v.container.Start(v.conf)
}

func digestOf(f io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", errs.Wrap(err, "digest")
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
