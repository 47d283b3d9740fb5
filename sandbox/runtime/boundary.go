package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"

	"surety/base/errs"
	"surety/sandbox/image"
	"surety/sandbox/trail"
)

// loadKey opens the host's key of seals.
func (v *supervisor) loadKey(*order) (err error) {
	v.key, err = trail.LoadKey(filepath.Join(v.s.host.config.Root, "audit.key"))
	return err
}

// incarnate makes the body of the spec's class and boots it.
func (v *supervisor) incarnate(told *order) error {
	if v.spec.Class == VM {
		return v.incarnateMachine(told)
	}
	c, err := newCell(v.s.id, v.s.dir, &v.spec, v.log)
	if err != nil {
		return err
	}
	c.rootless, c.debug = told.Rootless, told.Debug
	v.body, v.policy, v.names = c, c.policy, c.ring.SetName
	v.later(c.close)
	v.state.Policy = policyDigest(c.policy)
	if v.collector, err = openCollector(v, told.Trail, ringSource(c.ring)); err != nil {
		return err
	}
	sealed, err := v.measureImage()
	if err != nil {
		return err
	}
	path := ""
	if sealed != nil {
		path = sealed.Path()
	}
	if c.layers, err = v.holdLayers(); err != nil {
		return err
	}
	if err := c.compose(path); err != nil {
		return err
	}
	if err := v.wire(c); err != nil {
		return err
	}
	binary, host, err := v.identity()
	if err != nil {
		return err
	}
	birth, err := c.birth(v.state.Image, binary, v.key.Public().String(), host)
	if err != nil {
		return err
	}
	return c.ignite(birth, told.ConsoleSocket)
}

// measureImage takes or makes the sealed copy of the image; nil where the root is a directory.
func (v *supervisor) measureImage() (*image.Sealed, error) {
	if v.spec.Root.Image == "" {
		return nil, nil
	}
	sealed, err := v.share(v.spec.Root.Image, v.spec.Root.Digest)
	if err != nil {
		return nil, err
	}
	v.state.Image = sealed.Digest
	return sealed, nil
}

// share takes or makes the sealed copy of a file, held until the sandbox has ended.
func (v *supervisor) share(path, digest string) (*image.Sealed, error) {
	sealed, err := v.s.host.Share(context.Background(), path, digest)
	if err != nil {
		return nil, errs.Wrap(err, "sandbox %s", v.s.id)
	}
	v.later(func() { _ = sealed.Close() })
	return sealed, nil
}

// Share returns the sealed copy of an image that the sandboxes of this host share, made here where
// none of them has it. While it is open, a sandbox that is created from the image need not read it
// again. Kind Corrupt where the file has another digest.
func (h *Host) Share(ctx context.Context, path, digest string) (*image.Sealed, error) {
	seals := filepath.Join(h.config.Root, "seals")
	if err := os.MkdirAll(seals, 0o700); err != nil {
		return nil, errs.Wrap(err, "shared images")
	}
	return image.Share(ctx, seals, path, digest)
}

// identity is the digest of this program and the name of this machine.
func (v *supervisor) identity() (binary, host string, err error) {
	if binary, err = v.s.host.binaryDigest(); err != nil {
		return "", "", err
	}
	host, err = os.Hostname()
	return binary, host, errs.Wrap(err, "name of this machine")
}

// awaken begins the program's making and waits for the birth record: the program is held at the
// gate then.
func (v *supervisor) awaken(*order) error {
	v.mu.Lock()
	v.state.Kernel = v.body.pid()
	v.mu.Unlock()
	failed := make(chan error, 1)
	go func() {
		err := v.body.begin()
		if err != nil {
			failed <- err
		}
		v.started <- err
	}()
	select {
	case <-v.collector.born:
		return nil
	case err := <-failed:
		return errs.Wrap(err, "sandbox %s: start", v.s.id)
	case <-v.collector.broken:
		v.end("its audit broke")
		<-v.started // ends with the kernel; gVisor's state is its own until then
		return errs.Wrap(v.collector.err, "sandbox %s: its audit broke before it was born", v.s.id)
	}
}

func digestOf(f io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", errs.Wrap(err, "digest")
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
