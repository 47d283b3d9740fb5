package sandbox

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"surety/base/errs"
)

// netActs are the words of the bits of NetAct, from the lowest.
var netActs = [...]string{"connect", "bind", "send", "lookup"}

const allNetActs = Connect | Bind | Send | Lookup

// String returns the words with commas, in the order of the bits: "connect,send"; "" for none.
func (a NetAct) String() string { return strings.Join(bitWords(uint16(a), netActs[:]), ",") }

// ports is a range of ports, both ends in it.
type ports struct{ low, high uint16 }

func (p ports) String() string {
	if p.low == p.high {
		return strconv.Itoa(int(p.low))
	}
	return fmt.Sprintf("%d-%d", p.low, p.high)
}

// netRule is a network rule made ready: exactly one of prefix, name and unix is set.
type netRule struct {
	effect effect
	prefix netip.Prefix
	name   string // lower case, no dot at the end; "*." before it when suffix
	unix   string // pattern
	ports  []ports
	proto  Proto
}

// speaks reports whether the rule is about the protocol and port.
func (r *netRule) speaks(proto Proto, port uint16) bool {
	if r.proto != AnyProto && r.proto != proto {
		return false
	}
	for _, span := range r.ports {
		if span.low <= port && port <= span.high {
			return true
		}
	}
	return len(r.ports) == 0
}

// netTable finds the rules of an address or name. Prefixes are looked up by each length there is,
// names by each of their suffixes.
type netTable struct {
	rules    []*netRule // in the order of the file
	first    uint16     // number of rules[0]
	lengths4 []int      // lengths of the IPv4 prefixes, longest first
	lengths6 []int
	prefixes map[netip.Prefix][]*netRule
	names    map[string][]*netRule // exact ones
	suffixes map[string][]*netRule // "*.x" under "x"
	unix     pathTable
	abstract []glob
}

func (t *netTable) findAddr(to netip.AddrPort, proto Proto, into *tally) {
	addr := to.Addr().Unmap().WithZone("")
	lengths := t.lengths6
	if addr.Is4() {
		lengths = t.lengths4
	}
	for _, length := range lengths {
		prefix, _ := addr.Prefix(length)
		addSpeaking(t.prefixes[prefix], proto, to.Port(), into)
	}
}

func addSpeaking(rules []*netRule, proto Proto, port uint16, into *tally) {
	for _, r := range rules {
		if r.speaks(proto, port) {
			into.add(r.effect)
		}
	}
}

// eachName calls visit with the lists of rules that speak of a DNS name.
func (t *netTable) eachName(name string, visit func(rules []*netRule)) {
	if len(t.names) == 0 && len(t.suffixes) == 0 {
		return
	}
	name = plainName(name)
	visit(t.names[name])
	for {
		dot := strings.IndexByte(name, '.')
		if dot < 0 {
			return
		}
		name = name[dot+1:]
		visit(t.suffixes[name])
	}
}

func (t *netTable) findName(name string, proto Proto, port uint16, into *tally) {
	t.eachName(name, func(rules []*netRule) { addSpeaking(rules, proto, port, into) })
}

// findLookup adds what the rules say of resolving a name: an allow of any of its ports, protocols
// or acts does, a deny only where it has neither port nor protocol.
func (t *netTable) findLookup(name string, into *tally) {
	t.eachName(name, func(rules []*netRule) {
		for _, r := range rules {
			e := r.effect
			if !e.deny {
				e.access = Access(Lookup)
			} else if len(r.ports) > 0 || r.proto != AnyProto {
				continue
			}
			into.add(e)
		}
	})
}

// plainName is a name in lower case and without the dot at its end.
func plainName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

func (t *netTable) findUnix(path string, into *tally) {
	if !strings.HasPrefix(path, "@") {
		t.unix.find(path, into)
		return
	}
	for i := range t.abstract {
		if t.abstract[i].pattern.match(path) {
			into.add(t.abstract[i].effect)
		}
	}
}

func (t *netTable) add(r *netRule) {
	t.rules = append(t.rules, r)
	switch {
	case r.prefix.IsValid():
		t.addPrefix(r)
	case strings.HasPrefix(r.unix, "@"):
		t.abstract = append(t.abstract, glob{newPattern(r.unix, false), r.effect})
	case r.unix != "":
		t.unix.add(r.unix, r.effect)
	default:
		if t.names == nil {
			t.names, t.suffixes = make(map[string][]*netRule), make(map[string][]*netRule)
		}
		if suffix, ok := strings.CutPrefix(r.name, "*."); ok {
			t.suffixes[suffix] = append(t.suffixes[suffix], r)
		} else {
			t.names[r.name] = append(t.names[r.name], r)
		}
	}
}

func (t *netTable) addPrefix(r *netRule) {
	if t.prefixes == nil {
		t.prefixes = make(map[netip.Prefix][]*netRule)
	}
	lengths := &t.lengths6
	if r.prefix.Addr().Is4() {
		lengths = &t.lengths4
	}
	at := 0
	for at < len(*lengths) && (*lengths)[at] > r.prefix.Bits() {
		at++
	}
	if at == len(*lengths) || (*lengths)[at] != r.prefix.Bits() {
		*lengths = append(*lengths, 0)
		copy((*lengths)[at+1:], (*lengths)[at:])
		(*lengths)[at] = r.prefix.Bits()
	}
	t.prefixes[r.prefix] = append(t.prefixes[r.prefix], r)
}

// hiddenBy returns a rule that denies all that rule number speaks of, or NoRule.
func (t *netTable) hiddenBy(number uint16, effort *int) uint16 {
	r := t.rules[number-t.first]
	by := uint16(NoRule)
	look := func(rules []*netRule) {
		for _, d := range rules {
			if d != r && d.hides(r) {
				by = min(by, d.effect.rule)
			}
		}
	}
	switch {
	case r.prefix.IsValid():
		t.lookWider(r.prefix, look)
	case strings.HasPrefix(r.unix, "@"):
		whole := newPattern(r.unix, false)
		for i := range t.abstract {
			g := &t.abstract[i]
			if covering([]effect{g.effect}, r.effect) != NoRule && g.pattern.covers(whole, effort) {
				return g.effect.rule
			}
		}
	case r.unix != "":
		return t.unix.hiddenBy(r.unix, r.effect, effort)
	default:
		name, isSuffix := strings.CutPrefix(r.name, "*.")
		if isSuffix {
			look(t.suffixes[name])
		}
		t.eachName(name, look)
	}
	return by
}

func (t *netTable) lookWider(prefix netip.Prefix, look func(rules []*netRule)) {
	lengths := t.lengths6
	if prefix.Addr().Is4() {
		lengths = t.lengths4
	}
	for _, length := range lengths {
		if length <= prefix.Bits() {
			wider, _ := prefix.Addr().Prefix(length)
			look(t.prefixes[wider])
		}
	}
}

// hides reports whether d, whose address or name is as wide as r's, denies all of r.
func (d *netRule) hides(r *netRule) bool {
	if covering([]effect{d.effect}, r.effect) == NoRule ||
		d.proto != AnyProto && d.proto != r.proto || len(r.ports) == 0 && len(d.ports) > 0 {
		return false
	}
	for _, span := range r.ports {
		held := len(d.ports) == 0
		for _, wider := range d.ports {
			held = held || wider.low <= span.low && span.high <= wider.high
		}
		if !held {
			return false
		}
	}
	return true
}

func (c *compiler) network(rules []NetRule) {
	c.out.net.first = uint16(len(c.out.words))
	for i, r := range rules {
		field := fmt.Sprintf("network[%d]", i)
		text, deny, ok := c.side(field, r.Allow, r.Deny)
		if !ok {
			return
		}
		ready := netRule{effect: effect{deny: deny}}
		text = c.target(sideName(field, deny), text, &ready)
		if deny {
			r.Deny = text
		} else {
			r.Allow = text
		}
		c.netWords(field, &r, &ready)
		ready.effect.rule = c.rule("network ", field, verb(deny)+text+netSays(r))
		if c.err != nil {
			return
		}
		c.out.net.add(&ready)
		c.out.policy.Network = append(c.out.policy.Network, r)
	}
}

// netSays is what a rule says besides its target.
func netSays(r NetRule) (says string) {
	if len(r.Ports) > 0 {
		says += " ports " + strings.Join(r.Ports, ",")
	}
	if r.Protocol != "" {
		says += " protocol " + r.Protocol
	}
	if len(r.Act) > 0 {
		says += " act " + strings.Join(r.Act, ",")
	}
	return says
}

// target reads what a rule is about and returns it in its one form.
func (c *compiler) target(field, text string, into *netRule) string {
	if path, isUnix := strings.CutPrefix(text, "unix:"); isUnix {
		check := checkPattern
		if strings.HasPrefix(path, "@") {
			check = checkWildcards
		}
		if err := check(path); err != nil {
			c.fail(field, "%s", err)
		}
		into.unix = path
		return text
	}
	if strings.Contains(text, "/") || strings.Contains(text, ":") || endsInNumber(text) {
		prefix, err := parsePrefix(text)
		if err != nil {
			c.fail(field, "%s", err)
			return text
		}
		into.prefix = prefix
		if prefix.IsSingleIP() {
			return prefix.Addr().String()
		}
		return prefix.String()
	}
	name := plainName(text)
	if err := checkName(name); err != nil {
		c.fail(field, "%s", err)
	}
	into.name = name
	return name
}

// endsInNumber reports whether the last label is a number: then the text is meant as an address
// (no top-level domain is a number).
func endsInNumber(text string) bool {
	return isNumber(text[strings.LastIndexByte(text, '.')+1:])
}

// parsePrefix reads an address or a CIDR. One of IPv4 in IPv6 form becomes IPv4.
func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if !strings.Contains(text, "/") {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(text); err == nil && addr.Zone() != "" {
			return prefix, errs.New(errs.Invalid, "%q has a zone, which no rule can speak of", text)
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if err != nil {
		return prefix, errs.New(errs.Invalid, "%q is not an address, CIDR, DNS name or unix:path",
			text)
	}
	if prefix.Addr().Is4In6() {
		if prefix.Bits() < 96 {
			return prefix, errs.New(errs.Invalid, "%q mixes IPv4 and IPv6", text)
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	if masked := prefix.Masked(); masked != prefix {
		return prefix, errs.New(errs.Invalid, "%q has bits behind its length: the block is %s",
			text, masked)
	}
	return prefix, nil
}

// checkName checks a name in lower case, which may begin with "*.": RFC 1035 section 2.3.1, with
// the underscore that services use.
func checkName(name string) error {
	plain := strings.TrimPrefix(name, "*.")
	if len(plain) > 253 || plain == "" {
		return errs.New(errs.Invalid, "a name of %d bytes is not within 1 and 253", len(plain))
	}
	for label := range strings.SplitSeq(plain, ".") {
		if label == "" || len(label) > 63 {
			return errs.New(errs.Invalid, "%q has a label of %d bytes, not within 1 and 63", name,
				len(label))
		}
		if label[0] == '-' || label[len(label)-1] == '-' || !isLabel(label) {
			return errs.New(errs.Invalid, "%q is no address and no DNS name: label %q", name, label)
		}
	}
	return nil
}

func isLabel(label string) bool {
	for i := range len(label) {
		char := label[i]
		letter := char >= 'a' && char <= 'z' || char >= '0' && char <= '9'
		if !letter && char != '-' && char != '_' {
			return false
		}
	}
	return true
}

// netWords reads ports, protocol and acts, and leaves them in r in their one form.
func (c *compiler) netWords(field string, r *NetRule, into *netRule) {
	acts := NetAct(c.wordBits(field+".act", r.Act, netActs[:]))
	r.Act = bitWords(uint16(acts), netActs[:])
	if acts == 0 {
		acts = allNetActs
	}
	switch {
	case into.name != "" && acts&Bind != 0 && acts != allNetActs:
		c.fail(field+".act", "bind is to an address, and %s is a name", into.name)
	case into.name == "" && acts&Lookup != 0 && acts != allNetActs:
		c.fail(field+".act", "lookup is of a name, and this is none")
	case into.unix != "" && len(r.Ports) > 0:
		c.fail(field+".ports", "a unix socket has none")
	case into.unix != "" && r.Protocol != "":
		c.fail(field+".protocol", "a unix socket has none")
	}
	into.effect.access = Access(acts)
	switch c.protocol(field+".protocol", r.Protocol) {
	case "tcp":
		into.proto = TCP
	case "udp":
		into.proto = UDP
	case "raw":
		into.proto = RawIP
		if len(r.Ports) > 0 {
			c.fail(field+".ports", "raw sockets have none")
		}
	}
	r.Ports = append([]string(nil), r.Ports...)
	for i, text := range r.Ports {
		span := c.portRange(fmt.Sprintf("%s.ports[%d]", field, i), text)
		for _, before := range into.ports {
			if before.low <= span.high && span.low <= before.high {
				c.fail(fmt.Sprintf("%s.ports[%d]", field, i), "%s and %s overlap", before, span)
			}
		}
		into.ports = append(into.ports, span)
		r.Ports[i] = span.String()
	}
}

// protocol checks the word; empty is any.
func (c *compiler) protocol(field, value string) string {
	if value == "" {
		return ""
	}
	return c.choice(field, value, "tcp", "udp", "raw")
}

func (c *compiler) portRange(field, text string) ports {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	low, errLow := strconv.ParseUint(first, 10, 16)
	high, errHigh := strconv.ParseUint(last, 10, 16)
	switch {
	case errLow != nil || errHigh != nil:
		c.fail(field, "%q is not a port of 0 to 65535, or two with a dash", text)
	case low > high:
		c.fail(field, "%q is an empty range", text)
	}
	return ports{uint16(low), uint16(high)}
}
