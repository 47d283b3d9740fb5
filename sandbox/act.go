package sandbox

import (
	"strconv"
	"strings"

	"surety/base/errs"
)

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
	KindClone      Kind = 17 // Flags of clone, Mode how many run already, Result the new one
	KindExit       Kind = 18 // Result the wait status
	KindSignal     Kind = 19 // kill and its kin to another process: Result it, Flags the signal
	KindPtrace     Kind = 20 // ptrace, process_vm_readv, process_vm_writev, pidfd_getfd
	KindSetID      Kind = 21 // setuid and its kin, setgroups, capset; Args the ids
	KindCapability Kind = 22 // a call that needs a capability: Flags its number
	KindOpen       Kind = 32 // Path, Access, Flags of open, Mode
	KindUnlink     Kind = 33 // unlink, rmdir: Path
	KindRename     Kind = 34 // Path, Path2
	KindLink       Kind = 35 // Path the old, Path2 the new; symlink: Path its text, Access Create
	KindMake       Kind = 36 // mkdir, mknod, and creation by bind of a unix socket: Path, Mode
	KindAttr       Kind = 37 // chmod, chown, truncate, utimes, setxattr ...: Path
	KindMount      Kind = 38 // mount, umount, pivot_root, chroot and the like: Path, Path2
	KindMapExec    Kind = 48 // mmap or mprotect with PROT_EXEC: Path when a file, Flags prot
	KindSocket     Kind = 64 // a socket other than inet stream/dgram or unix: Flags domain<<16|type
	KindConnect    Kind = 65 // Addr, Proto, Text the DNS name if any; or Path of a unix socket
	KindBind       Kind = 66
	KindListen     Kind = 67
	KindAccept     Kind = 68
	KindSend       Kind = 69 // a datagram to an address
	KindName       Kind = 70 // a name asked of the sandbox's resolver (written outside): Path the name
	KindSyscall    Kind = 96 // any other call, when the audit is full: Sysno, Words, Result
	KindModule     Kind = 97 // a call that no program inside has business with: bpf, module, kexec ...
)

// kindRow is what is fixed about a kind.
type kindRow struct {
	name string
	core bool
}

// kinds is indexed by Kind; a row without a name is no kind.
var kinds = [...]kindRow{
	KindBirth:      {"birth", true},
	KindRestore:    {"restore", true},
	KindCheckpoint: {"checkpoint", true},
	KindPause:      {"pause", true},
	KindResume:     {"resume", true},
	KindSession:    {"session", true},
	KindContainer:  {"container", true},
	KindFinal:      {"final", true},
	KindExec:       {"exec", true},
	KindClone:      {"clone", true},
	KindExit:       {"exit", true},
	KindSignal:     {"signal", true},
	KindPtrace:     {"ptrace", true},
	KindSetID:      {"setid", true},
	KindCapability: {"capability", true},
	KindOpen:       {"open", true},
	KindUnlink:     {"unlink", true},
	KindRename:     {"rename", true},
	KindLink:       {"link", true},
	KindMake:       {"make", true},
	KindAttr:       {"attr", true},
	KindMount:      {"mount", true},
	KindMapExec:    {"map-exec", true},
	KindSocket:     {"socket", true},
	KindConnect:    {"connect", true},
	KindBind:       {"bind", true},
	KindListen:     {"listen", true},
	KindAccept:     {"accept", true},
	KindSend:       {"send", true},
	KindName:       {"name", true},
	KindSyscall:    {"syscall", false},
	KindModule:     {"module", true},
}

// known reports whether this version of the format has the kind.
func (k Kind) known() bool { return int(k) < len(kinds) && kinds[k].name != "" }

// String returns the kind as the trail's commands print it and their filters name it; "kind(9)"
// for a number that is no kind.
func (k Kind) String() string {
	if !k.known() {
		return "kind(" + strconv.Itoa(int(k)) + ")"
	}
	return kinds[k].name
}

// ParseKind is the inverse of Kind.String for kinds that exist. Errors: Invalid.
func ParseKind(text string) (Kind, error) {
	for k := range kinds {
		if text != "" && kinds[k].name == text {
			return Kind(k), nil
		}
	}
	return 0, errs.New(errs.Invalid, "sandbox.kind: %q is not one of %s", text,
		strings.Join(KindNames(), ", "))
}

// KindNames returns the names of all kinds, in the order of their numbers.
func KindNames() (names []string) {
	for k := range kinds {
		if kinds[k].name != "" {
			names = append(names, kinds[k].name)
		}
	}
	return names
}

// Core reports whether the kind is recorded when the audit is not full: all but KindSyscall. False
// for a number that is no kind.
func (k Kind) Core() bool { return k.known() && kinds[k].core }

// Access is what an act does to a path: one bit or more. The bits are part of the trail's format.
type Access uint16

const (
	Read   Access = 1   // open for reading, list a directory
	Write  Access = 2   // open for writing, truncate
	Create Access = 4   // a new file, directory, node, symbolic link or socket
	Unlink Access = 8   // remove, or rename away, or over
	Rename Access = 16  // either end of a rename
	Link   Access = 32  // either end of a hard link
	Attr   Access = 64  // owner, mode, times, extended attributes
	Exec   Access = 128 // map as code, as a linker maps a library

	allAccess Access = 255
)

// accesses are the words of the bits of Access, from the lowest.
var accesses = [...]string{
	"read", "write", "create", "unlink", "rename", "link", "attr", "exec",
}

// String returns the words with commas, in the order of the bits: "read,write"; "" for none.
func (a Access) String() string { return strings.Join(bitWords(uint16(a), accesses[:]), ",") }

// bitWords returns the words of the bits set in set, lowest first.
func bitWords(set uint16, words []string) (list []string) {
	for bit, word := range words {
		if set&(1<<bit) != 0 {
			list = append(list, word)
		}
	}
	return list
}

// Verdict is what the policy said of an act.
type Verdict uint8

const (
	Unjudged    Verdict = 0 // no policy speaks of this kind of act
	Allowed     Verdict = 1
	Refused     Verdict = 2 // the call returned Decision.Errno and had no effect
	WouldRefuse Verdict = 3 // mode observe: enforce would have refused it
)

// verdicts is indexed by Verdict.
var verdicts = [...]string{"-", "allow", "refuse", "would-refuse"}

// String returns "-", "allow", "refuse" or "would-refuse"; "verdict(9)" for a number that is none.
func (v Verdict) String() string {
	if int(v) < len(verdicts) {
		return verdicts[v]
	}
	return "verdict(" + strconv.Itoa(int(v)) + ")"
}

// ParseVerdict is the inverse of Verdict.String. Errors: Invalid.
func ParseVerdict(text string) (Verdict, error) {
	for v := range verdicts {
		if verdicts[v] == text {
			return Verdict(v), nil
		}
	}
	return 0, errs.New(errs.Invalid, "sandbox.verdict: %q is not one of %s", text,
		strings.Join(verdicts[:], ", "))
}

// NoRule is the Rule of a decision that the default took.
const NoRule = 0xffff

// Decision is a verdict with its cause.
type Decision struct {
	Verdict Verdict
	Rule    uint16 // index into Policy.Rules(), or NoRule
	Errno   uint16 // what the call returns when Refused: see the constants below, else 0
}

// The errors of refused calls, as Linux numbers them.
const (
	EPERM  = 1  // ptrace, setid, mount, capability
	EAGAIN = 11 // clone
	EACCES = 13 // exec, files, network, names, executable memory
)

// Proto is a transport protocol in a network act.
type Proto uint8

const (
	AnyProto Proto = 0
	TCP      Proto = 6
	UDP      Proto = 17
	RawIP    Proto = 255 // raw and packet sockets
)

// String returns "tcp", "udp", "raw", "" for any, or "proto(9)".
func (p Proto) String() string {
	switch p {
	case AnyProto:
		return ""
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case RawIP:
		return "raw"
	}
	return "proto(" + strconv.Itoa(int(p)) + ")"
}
