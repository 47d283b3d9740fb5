// Package sandbox is the vocabulary of secure containers: what a program inside may do, what each
// of its acts looks like in the audit trail, and how the trail proves that nothing is missing.
//
// Think of a sandbox as a kernel of our own around a program. Every call the program makes is an
// Act. A Policy gives each act a Decision before it has an effect; the act and its decision become
// one Record; records are numbered from one without a gap and each carries the hash of all before
// it (Chain). What runs inside the boundary (package kernel), what collects outside (package trail)
// and what reads years later share the rules here and nothing else.
//
// # Invariants
//
//   - The first record of a trail is a Birth: the digests of image, policy, binary and
//     configuration.
//   - Record n+1 is hashed over record n. A trail without a KindFinal record at its end is a sandbox
//     that still runs, or one whose end has not been written yet.
//   - An act refused by the policy has no effect and leaves a record; so does an act allowed.
//   - A rule that denies beats every rule that allows; what no rule names is the default's.
//
// # Boundaries
//
// Pure: no clock, disk, socket or kernel. Paths are absolute, cleaned and resolved by the kernel
// before they come here; addresses are parsed. YAML is read by package policyfile.
//
// # Sources
//
// System-call numbers and errors are Linux's on x86-64 (man 2 syscalls, asm-generic/errno.h).
package sandbox
