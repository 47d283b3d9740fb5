package kernel

import (
	"crypto/sha256"
	"io"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"surety/sandbox"
)

// fileKey is what a digest is kept under: a file that changes changes its ctime, which no program
// can set.
type fileKey struct {
	major, minor uint32
	inode, size  uint64
	changed      linux.StatxTimestamp
}

// digests keeps the digests of executables.
type digests struct {
	mu      sync.Mutex
	known   map[fileKey]sandbox.Digest
	pending map[fileKey]chan struct{} // being computed; closed when done
}

func newDigests() *digests {
	return &digests{known: make(map[fileKey]sandbox.Digest),
		pending: make(map[fileKey]chan struct{})}
}

// of returns the SHA-256 of a file's bytes. A file that changed while it was read is read again by
// whoever asks next: the key is taken before. One that is being read is waited for.
func (d *digests) of(ctx context.Context, file *vfs.FileDescription) (sandbox.Digest, error) {
	key, err := keyOf(ctx, file)
	if err != nil {
		return sandbox.Digest{}, err
	}
	for {
		sum, busy, ok := d.look(key)
		if ok {
			return sum, nil
		}
		if busy == nil {
			break
		}
		<-busy
	}
	sum, err := hash(ctx, file)
	after, failed := keyOf(ctx, file)
	d.done(key, sum, err == nil && failed == nil && after == key)
	return sum, err
}

// look returns a digest that is known, or what to wait for, or neither: then the caller computes it
// and calls done.
func (d *digests) look(key fileKey) (sandbox.Digest, chan struct{}, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum, ok := d.known[key]
	busy := d.pending[key]
	if !ok && busy == nil {
		d.pending[key] = make(chan struct{})
	}
	return sum, busy, ok
}

func (d *digests) done(key fileKey, sum sandbox.Digest, keep bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.pending[key])
	delete(d.pending, key)
	if !keep {
		return
	}
	if len(d.known) >= maxDigests {
		clear(d.known)
	}
	d.known[key] = sum
}

func keyOf(ctx context.Context, file *vfs.FileDescription) (fileKey, error) {
	stat, err := file.Stat(ctx, vfs.StatOptions{
		Mask: linux.STATX_INO | linux.STATX_SIZE | linux.STATX_CTIME})
	return fileKey{major: stat.DevMajor, minor: stat.DevMinor, inode: stat.Ino, size: stat.Size,
		changed: stat.Ctime}, err
}

func hash(ctx context.Context, file *vfs.FileDescription) (sandbox.Digest, error) {
	var sum sandbox.Digest
	sha := sha256.New()
	buffer := make([]byte, hashBytes)
	for at := int64(0); ; {
		n, err := file.PRead(ctx, usermem.BytesIOSequence(buffer), at, vfs.ReadOptions{})
		sha.Write(buffer[:n])
		at += n
		if err == io.EOF || err == nil && n == 0 {
			sha.Sum(sum[:0])
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
	}
}
