package sandbox

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// reach is one thing that was done with an address or name.
type reach struct {
	proto Proto // AnyProto for one that a rule cannot say
	act   NetAct
	port  uint16 // 0 for raw sockets
}

type reaches map[reach]bool

func (s reaches) addAll(other reaches) {
	maps.Copy(s, other)
}

// learntNet is what a run did on the network. The zero value is nothing.
type learntNet struct {
	blocks   map[netip.Prefix]reaches
	names    map[string]reaches // with none: looked up alone
	unix     learntPath         // its access is a NetAct
	abstract map[string]NetAct
}

// add learns from a record of a network act. One that has a name in Text is learnt by name: the
// addresses behind it change.
func (l *learntNet) add(r *Record) {
	act := netActOf(r.Kind)
	name := plainName(r.Text)
	switch {
	case r.Kind == KindName:
		if name = plainName(r.Path); isName(name) {
			addReach(&l.names, name, nil)
		}
	case r.Addr.IsValid() && act != Bind && isName(name):
		addReach(&l.names, name, reaches{reachOf(r, act): true})
	case r.Addr.IsValid():
		addr := r.Addr.Addr().Unmap().WithZone("")
		block := netip.PrefixFrom(addr, addr.BitLen())
		addReach(&l.blocks, block, reaches{reachOf(r, act): true})
	case strings.HasPrefix(r.Path, "@"):
		if l.abstract == nil {
			l.abstract = make(map[string]NetAct)
		}
		l.abstract[literalPattern(r.Path)] |= act
	default:
		l.unix.add(r.Path, Access(act))
	}
}

// isName reports whether a rule can name it.
func isName(name string) bool {
	return name != "" && name[0] != '*' && !endsInNumber(name) && checkName(name) == nil
}

func reachOf(r *Record, act NetAct) reach {
	switch r.Proto {
	case TCP, UDP:
		return reach{r.Proto, act, r.Addr.Port()}
	case RawIP:
		return reach{RawIP, act, 0}
	}
	return reach{AnyProto, act, r.Addr.Port()}
}

func addReach[K comparable](into *map[K]reaches, key K, more reaches) {
	if *into == nil {
		*into = make(map[K]reaches)
	}
	if (*into)[key] == nil {
		(*into)[key] = make(reaches)
	}
	(*into)[key].addAll(more)
}

func (l *learntNet) rules() (rules []NetRule) {
	blocks := foldBlocks(l.blocks)
	for _, block := range slices.SortedFunc(maps.Keys(blocks), comparePrefixes) {
		text := block.String()
		if block.IsSingleIP() {
			text = block.Addr().String()
		}
		rules = append(rules, reachRules(text, blocks[block])...)
	}
	names := foldNames(l.names)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		rules = append(rules, reachRules(name, names[name])...)
	}
	l.unix.each(learnedNets, func(pattern string, access Access) {
		rules = append(rules, unixRule(pattern, NetAct(access)))
	})
	if len(l.abstract) > MaxLearned {
		all := NetAct(0)
		for _, act := range l.abstract { // a union: the order cannot show
			all |= act
		}
		return append(rules, unixRule("@**", all))
	}
	for _, name := range slices.Sorted(maps.Keys(l.abstract)) {
		rules = append(rules, unixRule(name, l.abstract[name]))
	}
	return rules
}

func unixRule(pattern string, act NetAct) NetRule {
	return NetRule{Allow: "unix:" + pattern, Act: bitWords(uint16(act), netActs[:])}
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// foldBlocks names the network (/24, of IPv6 /64) of more than MaxLearned addresses in it, and
// wider ones while there are more than learnedNets.
func foldBlocks(blocks map[netip.Prefix]reaches) map[netip.Prefix]reaches {
	blocks = widen(blocks, 24, 64, MaxLearned)
	for _, bits := range [...][2]int{{24, 64}, {16, 48}, {8, 32}, {0, 0}} {
		if len(blocks) > learnedNets {
			blocks = widen(blocks, bits[0], bits[1], 0)
		}
	}
	return blocks
}

// widen puts blocks of the given lengths in the place of more than keep narrower ones in each.
func widen(blocks map[netip.Prefix]reaches, bits4, bits6, keep int) map[netip.Prefix]reaches {
	wide := func(block netip.Prefix) netip.Prefix {
		bits := bits6
		if block.Addr().Is4() {
			bits = bits4
		}
		wider, _ := block.Addr().Prefix(min(bits, block.Bits()))
		return wider
	}
	inside := make(map[netip.Prefix]int)
	for block := range blocks { // a count: the order cannot show
		inside[wide(block)]++
	}
	out := make(map[netip.Prefix]reaches)
	for block, done := range blocks { // a union: the order cannot show
		if wider := wide(block); inside[wider] > keep {
			block = wider
		}
		addReach(&out, block, done)
	}
	return out
}

// foldNames names the domain of more than MaxLearned names right below it, and wider ones while
// there are more than learnedNets. A top-level domain is named in that case alone.
func foldNames(names map[string]reaches) map[string]reaches {
	below := make(map[string]int)
	for name := range names { // a count: the order cannot show
		_, parent, _ := strings.Cut(name, ".")
		below[parent]++
	}
	out := make(map[string]reaches)
	for name, done := range names { // a union: the order cannot show
		_, parent, _ := strings.Cut(name, ".")
		if below[parent] > MaxLearned && strings.Contains(parent, ".") {
			name = "*." + parent
		}
		addReach(&out, name, done)
	}
	longest := 0
	for name := range out { // a maximum: the order cannot show
		longest = max(longest, 1+strings.Count(name, "."))
	}
	for labels := longest - 1; labels > 0 && len(out) > learnedNets; labels-- {
		out = shortenNames(out, labels)
	}
	return out
}

// shortenNames puts "*." and the last labels in the place of names that have more.
func shortenNames(names map[string]reaches, labels int) map[string]reaches {
	out := make(map[string]reaches)
	for name, done := range names { // a union: the order cannot show
		parts := strings.Split(strings.TrimPrefix(name, "*."), ".")
		if len(parts) > labels {
			name = "*." + strings.Join(parts[len(parts)-labels:], ".")
		}
		addReach(&out, name, done)
	}
	return out
}

// reachRules returns the rules that allow the reaches of one target: one for each protocol and set
// of ports, with the acts that share it.
func reachRules(target string, done reaches) (rules []NetRule) {
	if len(done) == 0 {
		return []NetRule{{Allow: target, Act: []string{Lookup.String()}}}
	}
	type way struct {
		proto Proto
		act   NetAct
	}
	byWay := make(map[way][]uint16)
	for r := range done { // sorted below: the order cannot show
		byWay[way{r.proto, r.act}] = append(byWay[way{r.proto, r.act}], r.port)
	}
	ways := slices.SortedFunc(maps.Keys(byWay), func(a, b way) int {
		return cmp.Or(cmp.Compare(a.proto, b.proto), cmp.Compare(a.act, b.act))
	})
	for _, w := range ways {
		rule := NetRule{Allow: target, Protocol: w.proto.String(), Act: []string{w.act.String()}}
		if w.proto != RawIP {
			rule.Ports = portWords(byWay[w])
		}
		if last := len(rules) - 1; last >= 0 && rules[last].Protocol == rule.Protocol &&
			slices.Equal(rules[last].Ports, rule.Ports) {
			rules[last].Act = append(rules[last].Act, rule.Act...)
			continue
		}
		rules = append(rules, rule)
	}
	return rules
}

// portWords lists ports, those that follow each other as a range; more than MaxLearned become one
// range from the least to the greatest.
func portWords(list []uint16) (words []string) {
	slices.Sort(list)
	var spans []ports
	for _, port := range list {
		if last := len(spans) - 1; last >= 0 && int(spans[last].high)+1 >= int(port) {
			spans[last].high = port
			continue
		}
		spans = append(spans, ports{port, port})
	}
	if len(spans) > MaxLearned {
		spans = []ports{{spans[0].low, spans[len(spans)-1].high}}
	}
	for _, span := range spans {
		words = append(words, span.String())
	}
	return words
}
