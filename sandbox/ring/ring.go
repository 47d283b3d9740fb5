// Package ring is the shared memory between the kernel inside and the collector outside.
//
// Think of a file, mapped by two processes, with three things in it: a queue of records that one
// side fills and the other empties; a few words of control (a gate, the trace id being served, who
// sleeps); and the table of DNS names by address. The kernel inside numbers and chains each record
// before it publishes it, so what comes out of the queue proves itself. A full queue stops the
// program, not the record.
//
// # Invariants
//
//   - Bytes between head and tail are whole frames: a record as sandbox.Record.Append made it,
//     then its 32-byte chain head. Only the producer moves tail, after the bytes are there, and
//     only the consumer moves head: whoever dies at whatever instruction leaves whole frames.
//   - 0 <= tail-head <= size. Both count bytes since the ring was made and never wrap.
//   - The records of one ring are one chain, from zero. A sandbox that is restored gets a new ring.
//
// # Boundaries
//
// The two sides do not trust each other alike. What runs inside may be taken over and write
// anything anywhere in the file: the consumer copies before it looks, keeps its own head, bounds
// every length, survives a file cut beneath its mapping, and reports damage as errs.Corrupt. What
// runs outside could end the sandbox anyway, and is trusted. That the chain is right is the
// reader's to check (package trail).
//
// The bytes live in the page cache: they outlive every process, and not the machine.
//
// # Concurrency
//
// A Producer locks its own mutex and may be used by any goroutine. A Consumer belongs to one
// goroutine; Wake and Close may come from others. Methods of Ring may be called at any time; those
// of the host's side (Hold, Release, SetTrace, SetName, Counts) answer nothing or an error once
// the ring is closed, while those of the kernel's side (Write, AwaitRelease, Trace, NameOf) must
// not be called on a closed one. Waiting is by futex(2) on words of the file, shared between
// processes; the kernel's side uses no other system call, as its seccomp filter allows no more.
//
// # Sources
//
// futex(2); "Futexes Are Tricky" (Drepper, 2011) for the order of flag, check and wait.
package ring

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/base/ident"
)

// Ring is one mapping of a ring file. The file outlives both processes, so that what was recorded
// before a kill -9 is still read.
type Ring struct {
	file *os.File // nil when mapped from a descriptor
	size uint64   // bytes for records, a power of two

	naming sync.Mutex // makes one writer of trace id and names; taken after life

	life sync.RWMutex // held for reading while the host's side touches the mapping
	// base is the mapping: header, records, and the records once more right behind, so that a
	// frame which runs over the end is contiguous. nil once closed.
	base unsafe.Pointer
}

// Create makes the file at path with room for size bytes of records (a power of two) and maps it.
// The room is reserved on the disk. Errors: Invalid for a size out of bounds, Exists, NoSpace; no
// file is left behind.
func Create(path string, size int) (*Ring, error) {
	if size < MinSize || size > MaxSize || size&(size-1) != 0 {
		return nil, errs.New(errs.Invalid,
			"ring.create: size %d is not a power of two from %d to %d", size, MinSize, MaxSize)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, worldError(err, "ring.create")
	}
	r, err := format(file, uint64(size))
	if err != nil {
		_ = file.Close()    // nothing in it is wanted
		_ = os.Remove(path) // it is ours: Exclusive made it
		return nil, err
	}
	return r, nil
}

func format(file *os.File, size uint64) (*Ring, error) {
	// Reserved blocks: a disk that fills later must not turn a store into SIGBUS.
	err := unix.Fallocate(int(file.Fd()), 0, 0, int64(headerBytes+size))
	if err != nil {
		return nil, worldError(err, "ring.create: "+file.Name())
	}
	r, err := mapFile(file, size)
	if err != nil {
		return nil, err
	}
	*r.u32(offVersion) = version
	*r.u64(offSize) = size
	*r.u64(offMagic) = magic
	return r, nil
}

// Open maps an existing ring file: the collector that takes over after a crash. Errors: NotFound,
// Corrupt for a file that is no ring of this version.
func Open(path string) (*Ring, error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, worldError(err, "ring.open")
	}
	r, err := attach(file)
	if err != nil {
		_ = file.Close() // the error at hand says more
		return nil, err
	}
	return r, nil
}

// FromFD maps the ring whose file is fd: the kernel inside, before its own system calls are limited.
// The descriptor is closed: with it at hand a kernel that was taken over could cut the file short.
// On an error it is closed too.
func FromFD(fd int) (*Ring, error) {
	file := os.NewFile(uintptr(fd), "ring")
	if file == nil {
		return nil, errs.New(errs.Invalid, "ring.from_fd: %d is not a descriptor", fd)
	}
	r, err := attach(file)
	if closing := file.Close(); err == nil && closing != nil {
		err = worldError(closing, "ring.from_fd")
	}
	if err != nil {
		return nil, err
	}
	r.file = nil
	return r, nil
}

// attach checks a ring file's header, which the other side may have written, and maps the file.
func attach(file *os.File) (*Ring, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, worldError(err, "ring.open")
	}
	name := filepath.Base(file.Name())
	size := uint64(info.Size()) - headerBytes
	if !info.Mode().IsRegular() || uint64(info.Size()) <= headerBytes ||
		size < MinSize || size > MaxSize || size&(size-1) != 0 {
		return nil, errs.New(errs.Corrupt, "ring.open: %s: %d bytes is no ring's length", name,
			info.Size())
	}
	r, err := mapFile(file, size)
	if err != nil {
		return nil, err
	}
	err = r.guarded("ring.open", func() error {
		if *r.u64(offMagic) != magic || *r.u32(offVersion) != version || *r.u64(offSize) != size {
			return errs.New(errs.Corrupt, "ring.open: %s has magic %x, version %d, size %d; want "+
				"%x, %d, %d", name, *r.u64(offMagic), *r.u32(offVersion), *r.u64(offSize),
				uint64(magic), version, size)
		}
		return nil
	})
	if err != nil {
		_ = r.unmap() // the error at hand says more
		return nil, err
	}
	return r, nil
}

// mapFile maps the header and the records, and the records again behind themselves.
func mapFile(file *os.File, size uint64) (*Ring, error) {
	whole := uintptr(headerBytes + 2*size)
	base, err := unix.MmapPtr(-1, 0, nil, whole, unix.PROT_NONE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, worldError(err, "ring.map")
	}
	r := &Ring{file: file, size: size, base: base}
	const access, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED | unix.MAP_FIXED
	fd := int(file.Fd())
	_, err = unix.MmapPtr(fd, 0, base, uintptr(headerBytes+size), access, flags)
	if err == nil {
		again := unsafe.Add(base, headerBytes+size)
		_, err = unix.MmapPtr(fd, headerBytes, again, uintptr(size), access, flags)
	}
	if err != nil {
		_ = r.unmap() // the error at hand says more
		return nil, worldError(err, "ring.map")
	}
	return r, nil
}

// File is the ring's file, to be donated to the kernel; nil where the ring came from a descriptor.
// It belongs to the ring.
func (r *Ring) File() *os.File { return r.file }

// Close unmaps the ring and closes its file; what is in the file stays. Closing twice is no error.
func (r *Ring) Close() error {
	r.life.Lock()
	defer r.life.Unlock()
	if r.base == nil {
		return nil
	}
	err := r.unmap()
	if r.file != nil {
		if closing := r.file.Close(); err == nil {
			err = worldError(closing, "ring.close")
		}
	}
	return err
}

func (r *Ring) unmap() error {
	err := unix.MunmapPtr(r.base, uintptr(headerBytes+2*r.size))
	r.base = nil
	return worldError(err, "ring.close")
}

// guarded runs f, which touches the mapping, for the host's side: on a closed ring it does not run,
// and a page that is gone (the file was cut) is an error and not the end of the process.
func (r *Ring) guarded(op string, f func() error) (err error) {
	r.life.RLock()
	defer r.life.RUnlock()
	if r.base == nil {
		return errs.New(errs.Unavailable, "%s: the ring is closed", op)
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = errs.New(errs.Corrupt, "%s: the file ends at a fault %#x bytes into its mapping", op,
				p.Addr()-uintptr(r.base))
		default:
			panic(p)
		}
	}()
	return f()
}

// Counts are totals since the ring was made, readable from outside at any time.
type Counts struct {
	Records, Refused, WouldRefuse uint64
	Waits                         uint64 // times a writer found the ring full
	Bytes                         uint64
}

// Counts returns the totals, as the kernel inside states them; zeros once the ring is closed.
func (r *Ring) Counts() Counts {
	var c Counts
	_ = r.guarded("ring.counts", func() error { // a ring without pages has no counts
		c = Counts{Records: r.load(offRecords), Refused: r.load(offRefused),
			WouldRefuse: r.load(offWouldRefuse), Waits: r.load(offWaits), Bytes: r.load(offTail)}
		return nil
	})
	return c
}

// SetTrace names the request being served; zero for none.
func (r *Ring) SetTrace(id ident.ID) {
	_ = r.guarded("ring.set_trace", func() error { // who would read it is gone with the ring
		r.naming.Lock()
		defer r.naming.Unlock()
		high, low := split(id.Bytes())
		r.publish(offTrace, func() {
			r.store(offTrace+8, high)
			r.store(offTrace+16, low)
		})
		return nil
	})
}

// Trace is what records are stamped with.
func (r *Ring) Trace() ident.ID {
	var high, low uint64
	if !r.consistent(offTrace, func() { high, low = r.load(offTrace+8), r.load(offTrace+16) }) {
		return ident.ID{}
	}
	if high|low == 0 {
		return ident.ID{}
	}
	return ident.FromBytes(join(high, low))
}

// worldError gives an error of a system call its kind; nil stays nil.
func worldError(err error, op string) error {
	kind := errs.Internal
	switch {
	case err == nil:
		return nil
	case os.IsNotExist(err):
		kind = errs.NotFound
	case os.IsExist(err):
		kind = errs.Exists
	case os.IsPermission(err):
		kind = errs.Forbidden
	case isNoSpace(err):
		kind = errs.NoSpace
	}
	return errs.As(kind, err, "%s", op)
}
