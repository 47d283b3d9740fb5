// Package kernel is what runs inside the boundary: gVisor's kernel with every act of the program
// judged and recorded before it happens.
//
// gVisor answers a program's system calls from a table of functions. Main replaces the functions of
// the calls a policy or an auditor cares about by ones of the same meaning that work in a fixed
// order: copy each argument out of the program's memory once; find what it names in the kernel's
// own file tree and hold on to what was found; ask the policy about the name of the thing held;
// write the record with the verdict; and only then act, on the thing held. A second thread that
// rewrites the path or swaps a symbolic link meanwhile changes nothing, since no path is walked
// twice. Calls that nobody cares about keep gVisor's own function, untouched.
//
// Processes that come from outside (the first of a container, and those an operator starts) pass no
// call of ours on their way in. They are met where the platform makes a context for a new task: it
// is given work to do before its first instruction, which waits for the gate, judges its executable
// and records it.
//
// # Records
//
// A core record says what was asked and what the policy said to it. It is written before the act,
// so it does not say whether the kernel's own rules then let it through, with these exceptions
// (Done is set): a clone is recorded with the number of the new task after it was made and before
// its first instruction; an accepted connection with its peer before the program sees it; a
// system call of the full level with its result. There is one record for each act, except that
// exec writes one for each file it takes: a script, its interpreter, the ELF loader. A path that
// leads nowhere is no act and has no core record, and nor has a descriptor of O_PATH, which grants
// nothing by itself: what is done through it is judged then.
//
// # Invariants
//
//   - Without a sink, every judged call fails with EPERM and no process begins to run.
//   - When a record cannot be written the kernel ends at once (exit status ExitUnaudited).
//   - No path is resolved again after it was judged.
//   - The pathname judged is the object's own, from the root of its container's mounts, whatever
//     root, directory, link or descriptor the program reached it by.
//
// # Boundaries
//
// A program that may mount can give files new names: policies that speak of paths should deny
// mount. A script is judged by what it holds when it is run; its interpreter reads it later, so a
// policy that names scripts by digest should deny writing to them. The calls that configure network
// interfaces (ioctl, netlink, setsockopt) are gVisor's to allow by capability, and are not judged.
//
// # Concurrency
//
// Everything here runs on gVisor's task goroutines but for the sink's start. The sink is set once,
// before the first task exists. sink.cloning is taken before any lock of gVisor's task set; records
// are written with no lock of ours held but the ring's.
package kernel
