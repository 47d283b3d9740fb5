package sandbox

import "net/netip"

// verdict turns what the rules say into a decision. speaks is whether the policy has any rule of
// the kind: without one and with a default of allow the act is unjudged.
func (c *Compiled) verdict(t *tally, speaks bool, errno uint16) Decision {
	switch {
	case t.deny != NoRule:
		return c.refuse(t.deny, errno)
	case !c.deny && !speaks:
		return Decision{Verdict: Unjudged, Rule: NoRule}
	case !c.deny:
		return Decision{Verdict: Allowed, Rule: NoRule}
	case t.want&^t.allowed != 0 || t.want == 0:
		return c.refuse(NoRule, errno)
	}
	return Decision{Verdict: Allowed, Rule: t.allow}
}

func (c *Compiled) refuse(rule, errno uint16) Decision {
	if c.mode == Enforce {
		return Decision{Verdict: Refused, Rule: rule, Errno: errno}
	}
	return Decision{Verdict: WouldRefuse, Rule: rule}
}

// Exec decides on running the file at path, whose SHA-256 is digest (zero when not computed). A
// policy that denies digests refuses a file without one. Refused with EACCES.
func (c *Compiled) Exec(path string, digest Digest) Decision {
	t := newTally(Exec)
	c.execPaths.find(path, &t)
	if e, known := c.execDigests[digest]; known {
		t.add(e)
	}
	if digest.IsZero() {
		t.deny = min(t.deny, c.refuseBlind)
	}
	return c.verdict(&t, c.execRules, EACCES)
}

// File decides on an act on path that needs all of access: it is refused where one bit is. No
// access at all is refused where the default denies. Refused with EACCES.
func (c *Compiled) File(path string, access Access) Decision {
	t := newTally(access)
	c.files.find(path, &t)
	return c.verdict(&t, c.files.rules > 0, EACCES)
}

// Net decides on an internet address. name is the DNS name that the sandbox's resolver gave the
// address for, "" when there is none: rules of names then do not match. Refused with EACCES.
func (c *Compiled) Net(act NetAct, proto Proto, to netip.AddrPort, name string) Decision {
	t := newTally(Access(act))
	c.net.findAddr(to, proto, &t)
	if name != "" {
		c.net.findName(name, proto, to.Port(), &t)
	}
	return c.verdict(&t, len(c.net.rules) > 0, EACCES)
}

// Unix decides on a unix socket at path, which begins with @ when abstract. Refused with EACCES.
func (c *Compiled) Unix(act NetAct, path string) Decision {
	t := newTally(Access(act))
	c.net.findUnix(path, &t)
	return c.verdict(&t, len(c.net.rules) > 0, EACCES)
}

// NameLookup decides on resolving a DNS name. It is allowed where a rule allows the name, be it
// for certain ports or acts alone, and denied where a rule denies its lookup whatever the port: a
// rule of addresses says nothing of names, so that none leaks out through their resolver. Refused
// with EACCES.
func (c *Compiled) NameLookup(name string) Decision {
	t := newTally(Access(Lookup))
	c.net.findLookup(name, &t)
	return c.verdict(&t, len(c.net.rules) > 0, EACCES)
}

// Ptrace decides on ptrace and its kin. Refused with EPERM.
func (c *Compiled) Ptrace() Decision { return c.decideToggle(c.ptrace, EPERM) }

// SetID decides on a change of user, group or capability sets. Refused with EPERM.
func (c *Compiled) SetID() Decision { return c.decideToggle(c.setid, EPERM) }

// Mount decides on a change of what is mounted. Refused with EPERM.
func (c *Compiled) Mount() Decision { return c.decideToggle(c.mount, EPERM) }

// ExecMemory decides on making memory executable that no file backs. Refused with EACCES.
func (c *Compiled) ExecMemory() Decision { return c.decideToggle(c.execMemory, EACCES) }

func (c *Compiled) decideToggle(t toggle, errno uint16) Decision {
	switch {
	case t.rule != NoRule && t.deny, t.rule == NoRule && c.deny:
		return c.refuse(t.rule, errno)
	case t.rule == NoRule:
		return Decision{Verdict: Unjudged, Rule: NoRule}
	}
	return Decision{Verdict: Allowed, Rule: t.rule}
}

// Capability decides on using capability number n (CAP_CHOWN is 0). Refused with EPERM.
func (c *Compiled) Capability(n int) Decision {
	listed := n >= 0 && n < 64 && c.capabilities&(1<<n) != 0
	return c.decideToggle(toggle{rule: c.capabilityRule, deny: !listed}, EPERM)
}

// Clone decides on one more process where running are there already. Without a limit it is
// unjudged, whatever the default. Refused with EAGAIN.
func (c *Compiled) Clone(running int) Decision {
	switch {
	case c.processRule == NoRule:
		return Decision{Verdict: Unjudged, Rule: NoRule}
	case running >= c.policy.Processes:
		return c.refuse(c.processRule, EAGAIN)
	}
	return Decision{Verdict: Allowed, Rule: c.processRule}
}
