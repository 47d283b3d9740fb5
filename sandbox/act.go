package sandbox

// Kind says what a record tells of. The numbers are part of the trail's format and never reused.
type Kind uint8

const (
	// The life of the sandbox. Those below KindExec are never subject to the policy.
	KindBirth      Kind = 1 // first record: what runs, under what (Birth as its Text, in JSON)
	KindRestore    Kind = 2 // first record after a restore: Digest of the snapshot, Text a Birth
	KindCheckpoint Kind = 3 // a snapshot was taken; Digest of it
	KindPause      Kind = 4
	KindResume     Kind = 5
	KindSession    Kind = 6 // an operator started a process inside: Path, Args, Digest
	KindContainer  Kind = 7 // a further container of the same pod started: Path, Args
	KindFinal      Kind = 8 // last record, written outside: Text says why, Result the exit status

	// Acts of the program.
	KindExec       Kind = 16 // Path resolved, Digest of the file, Args
	KindClone      Kind = 17 // Result the new process or thread, Flags of clone
	KindExit       Kind = 18 // Result the wait status
	KindSignal     Kind = 19 // kill, tkill, tgkill to another process: Result the target, Flags the signal
	KindPtrace     Kind = 20 // ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
	KindSetID      Kind = 21 // setuid and its kin, setgroups, capset; Args the ids
	KindCapability Kind = 22 // a call that needs a capability: Flags its number
	KindOpen       Kind = 32 // Path, Access, Flags of open, Mode
	KindUnlink     Kind = 33 // unlink, rmdir: Path
	KindRename     Kind = 34 // Path, Path2
	KindLink       Kind = 35 // link: Path the old, Path2 the new; symlink: Path2 the new, Path its text
	KindMake       Kind = 36 // mkdir, mknod, and creation by bind of a unix socket: Path, Mode
	KindAttr       Kind = 37 // chmod, chown, truncate, utimes, setxattr ...: Path
	KindMount      Kind = 38 // mount, umount, pivot_root, chroot, and the new mount calls: Path, Path2
	KindMapExec    Kind = 48 // mmap or mprotect with PROT_EXEC: Path when a file, Flags prot
	KindSocket     Kind = 64 // a socket other than inet stream/dgram or unix: Flags domain<<16|type
	KindConnect    Kind = 65 // Addr, or Path for a unix socket
	KindBind       Kind = 66
	KindListen     Kind = 67
	KindAccept     Kind = 68
	KindSend       Kind = 69 // a datagram to an address
	KindName       Kind = 70 // a name asked of the sandbox's resolver (written outside): Path the name
	KindSyscall    Kind = 96 // any other call, when the audit is full: Sysno, Words, Result
	KindModule     Kind = 97 // a call that no program inside has business with: bpf, module, kexec ...
)

// String returns the kind as the trail's commands print it and policy files name it.
func (k Kind) String() string { panic("unimplemented") }

// ParseKind is the inverse of Kind.String.
func ParseKind(text string) (Kind, error) { panic("unimplemented") }

// Core reports whether the kind is recorded when the audit is not full.
func (k Kind) Core() bool { panic("unimplemented") }

// Access is what an act does to a path: one bit or more.
type Access uint16

const (
	Read   Access = 1 << iota // open for reading, list a directory
	Write                     // open for writing, truncate
	Create                    // a new file, directory, node, symbolic link or socket
	Unlink                    // remove, or rename away, or over
	Rename                    // either end of a rename
	Link                      // either end of a hard link
	Attr                      // owner, mode, times, extended attributes
	Exec                      // run, or map executable
)

// Verdict is what the policy said of an act.
type Verdict uint8

const (
	Unjudged    Verdict = 0 // no policy speaks of this kind of act
	Allowed     Verdict = 1
	Refused     Verdict = 2 // the call returned Decision.Errno and had no effect
	WouldRefuse Verdict = 3 // mode observe: enforce would have refused it
)

// String returns "-", "allow", "refuse" or "would-refuse".
func (v Verdict) String() string { panic("unimplemented") }

// NoRule is the Rule of a decision that the default took.
const NoRule = 0xffff

// Decision is a verdict with its cause.
type Decision struct {
	Verdict Verdict
	Rule    uint16 // index into Policy.Rules(), or NoRule
	Errno   uint16 // what the call returns when refused: EACCES or EPERM, else 0
}

// Proto is a transport protocol in a network act.
type Proto uint8

const (
	AnyProto Proto = 0
	TCP      Proto = 6
	UDP      Proto = 17
	RawIP    Proto = 255 // raw and packet sockets
)
