// Package runtime starts, watches and stops sandboxes on this host.
//
// Think of each sandbox as three processes. The supervisor is this binary executed again: it owns
// everything outside the boundary (the audit collector, the gateway, the log, the control socket)
// and one gVisor container. The kernel (sentry) runs the program; a file server (gofer) exists only
// when the sandbox shows files of the host. Both die with the supervisor, by the host kernel's
// parent-death signal, so nothing runs unwatched.
//
// All that one sandbox leaves on the host while it lives stands in its instance directory; any
// process of the same user may open a handle on it (Host.Find), because every operation goes
// through the supervisor's control socket. A supervisor that died without finishing is finished by
// whoever looks next (Host.List, Host.Find, Sandbox.Wait): the ring is drained into the trail, the
// final record written, cgroups and gVisor's state removed.
//
// # Invariants
//
//   - The program's first instruction runs after the birth record is in the trail.
//   - A sandbox whose trail cannot be written is killed.
//   - Removing a sandbox never removes its trail.
//   - A layer that a caller brings as memory is in no file: not by us, a snapshot or a core dump.
//   - Into a closed sandbox its supervisor lets nobody look, whoever asks.
//
// # Concurrency
//
// Host and Sandbox are safe for concurrent use, from several processes too: creation locks the
// instance directory, and a state file is replaced whole.
package runtime
