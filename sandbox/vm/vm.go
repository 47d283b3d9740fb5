// Package vm puts a virtual machine around a sandbox: Debian's QEMU and cloud kernel outside, this
// very binary as the guest's init and agent inside, and in there the same kernel of our own that
// runs sandboxes without a machine.
//
// Think of the machine as a wire with two ends. Machine is the end outside: it starts QEMU with
// three files (kernel, initial file system, image) and talks to the guest over three virtio-serial
// ports. GuestMain is the end inside: pid 1 of the guest, which loads the drivers and hands the
// sandbox to an Inside, which the runtime implements with what it runs sandboxes with anywhere,
// measuring the image included. So nothing of policy or audit is decided here; this package moves bytes.
//
// The ports are told apart by name: control carries requests and answers, stdio the streams of the
// processes inside with a window for each, and trail the frames of the audit ring. The trail is
// taken from the ring inside only when the collector outside has acknowledged it: a collector that
// does not take stops the program, as it does without a machine.
//
// # Invariants
//
//   - Software emulation is never used unless it was asked for by name, and hardware is believed
//     only after a guest has reported from 64-bit mode (Probe): a device node proves nothing.
//   - QEMU sees no file of the host but the three, has no network but the given wire, and dies with
//     the process that started it; the guest's panic ends the machine.
//   - Whatever arrives from the guest is bounded before it is stored.
//
// # Boundaries
//
// The package knows neither the runtime's spec nor the policy: both pass through as bytes. It opens
// no trail and writes no record.
//
// # Concurrency
//
// Machine is safe for concurrent use, but Next and Advance belong to one goroutine. Each port has
// one reading goroutine, ended by closing the port, which Close does and waits for.
package vm
