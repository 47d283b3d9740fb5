package egress

import (
	"net/netip"

	"surety/base/errs"
	"surety/sandbox"
)

// judge decides where a packet of the sandbox may go. It is immutable.
type judge struct {
	own      Addresses
	compiled *sandbox.Compiled // nil: everything ordinary is allowed
	special  *sandbox.Compiled // the rules that name special addresses, and no others; nil: none does
	host     bool              // one of them names the host
}

// newJudge finds the rules that name special destinations: those that allow the host's name or
// alias, or nothing but link-local addresses.
func newJudge(own Addresses, compiled *sandbox.Compiled) (*judge, error) {
	j := &judge{own: own, compiled: compiled}
	if compiled == nil {
		return j, nil
	}
	only := sandbox.Policy{Version: "v1", Mode: "enforce", Default: "deny",
		Exec: []sandbox.ExecRule{{Allow: "/**"}}} // a policy that runs nothing does not compile
	for _, rule := range compiled.Policy().Network {
		host := j.namesHost(rule.Allow)
		if host || namesLinkLocal(rule.Allow) {
			only.Network = append(only.Network, rule)
		}
		j.host = j.host || host
	}
	if len(only.Network) == 0 {
		return j, nil
	}
	var err error
	j.special, err = sandbox.Compile(only)
	return j, errs.Wrap(err, "egress: rules of special addresses")
}

// namesHost reports whether a rule's subject is the host's name, or its alias and nothing more.
func (j *judge) namesHost(subject string) bool {
	if canonicalName(subject) == HostName {
		return true
	}
	prefix, ok := prefixOf(subject)
	return ok && prefix.IsSingleIP() && j.own.blockOf(prefix.Addr()) == blockHost
}

// namesLinkLocal reports whether a rule's subject lies within the link-local addresses.
func namesLinkLocal(subject string) bool {
	prefix, ok := prefixOf(subject)
	least := 10 // fe80::/10
	if prefix.Addr().Is4() {
		least = 16 // 169.254.0.0/16
	}
	return ok && prefix.Addr().IsLinkLocalUnicast() && prefix.Bits() >= least
}

func prefixOf(text string) (netip.Prefix, bool) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), true
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	return netip.Prefix{}, false
}

// ruling is what the judge said of one destination.
type ruling struct {
	target   netip.AddrPort // where the host connects
	decision sandbox.Decision
	refused  string // why not; "" when allowed
}

// decide rules on going to a destination of which the resolver said name. UDP inside may be an act
// of connecting or of sending, which cannot be told apart here: either is enough.
func (j *judge) decide(proto sandbox.Proto, to netip.AddrPort, name string) ruling {
	no := func(why string) ruling {
		return ruling{refused: why, decision: sandbox.Decision{Verdict: sandbox.Refused,
			Rule: sandbox.NoRule, Errno: sandbox.EACCES}}
	}
	addr := to.Addr().Unmap()
	to = netip.AddrPortFrom(addr, to.Port())
	what := j.own.blockOf(addr)
	switch what {
	case blockNever:
		return no("the address leads nowhere")
	case blockHost:
		name = HostName
		if j.special == nil || ask(j.special, proto, to, name).Verdict != sandbox.Allowed {
			return no("no rule names this port of the host's loopback (" + HostName + ")")
		}
	case blockLinkLocal:
		name = "" // an outside name must not lead to a metadata service
		if j.special == nil || ask(j.special, proto, to, name).Verdict != sandbox.Allowed {
			return no("no rule names the link-local address")
		}
	}
	r := ruling{target: to, decision: ask(j.compiled, proto, to, name)}
	if r.decision.Verdict == sandbox.Refused {
		r.refused = "the policy refuses it"
	}
	if what == blockHost {
		r.target = netip.AddrPortFrom(loopback(addr), to.Port())
	}
	return r
}

// ask one policy about an address.
func ask(p *sandbox.Compiled, proto sandbox.Proto, to netip.AddrPort, name string) sandbox.Decision {
	if p == nil {
		return sandbox.Decision{Verdict: sandbox.Unjudged, Rule: sandbox.NoRule}
	}
	d := p.Net(sandbox.Connect, proto, to, name)
	if d.Verdict == sandbox.Refused && proto == sandbox.UDP {
		if sent := p.Net(sandbox.Send, proto, to, name); sent.Verdict != sandbox.Refused {
			return sent
		}
	}
	return d
}

// lookup rules on asking for a name, which is lower case and has no dot at its end.
func (j *judge) lookup(name string) sandbox.Decision {
	switch {
	case name == HostName && !j.host:
		return sandbox.Decision{Verdict: sandbox.Refused, Rule: sandbox.NoRule,
			Errno: sandbox.EACCES}
	case name == HostName && j.compiled.NameLookup(name).Verdict == sandbox.Refused:
		// A rule may name the host by its alias, which says nothing of the name: it is ours to tell.
		return sandbox.Decision{Verdict: sandbox.Unjudged, Rule: sandbox.NoRule}
	case j.compiled == nil:
		return sandbox.Decision{Verdict: sandbox.Unjudged, Rule: sandbox.NoRule}
	}
	return j.compiled.NameLookup(name)
}

// checkHosts checks the static names of a configuration.
func checkHosts(hosts map[string][]netip.Addr) error {
	for name, addrs := range hosts {
		if name != canonicalName(name) || !plainName(name) {
			return errs.New(errs.Invalid, "egress: static name %q is not a lower-case DNS name", name)
		}
		for _, addr := range addrs {
			if !addr.IsValid() || addr.Is4In6() {
				return errs.New(errs.Invalid, "egress: static name %q: address %s", name, addr)
			}
		}
	}
	return nil
}
