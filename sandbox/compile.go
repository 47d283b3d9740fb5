package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"surety/base/errs"
)

// FieldError is what Compile says of a field of a policy. Compile wraps it with its kind.
type FieldError struct {
	Field string // path of the field, as in "files[3].access[1]"
	Text  string
}

// Error returns "field: text".
func (e *FieldError) Error() string { return e.Field + ": " + e.Text }

// word is a rule as its file has it: where it stands and what it says.
type word struct {
	field string
	says  string
}

// toggle is an act that is allowed or refused as a whole.
type toggle struct {
	rule uint16 // NoRule where the file says nothing
	deny bool
}

// Compiled is a policy made ready to decide. It is immutable and safe to share.
type Compiled struct {
	policy Policy // normalised: see Canonical
	mode   Mode
	level  Level
	deny   bool // the default
	words  []word

	execPaths   pathTable
	execDigests map[Digest]effect
	refuseBlind uint16 // lowest rule that denies a digest, or NoRule
	execRules   bool
	files       pathTable
	deniedFiles []glob // the deny rules of files, their patterns whole
	net         netTable

	ptrace, setid, mount, execMemory toggle

	capabilities    uint64 // bit n: capability n may be used; meaningful with capabilityRule
	capabilityRule  uint16
	processRule     uint16
	canonical       []byte
	canonicalDigest Digest
}

// Compile checks a policy and makes it ready. Errors: Invalid around a *FieldError, as in
// "files[3].access[1]: ...", for whatever could not mean what it says: a rule with both or neither
// of allow and deny, a pattern that is not absolute or not clean, an unknown capability, a port
// over 65535, a policy of mode enforce and default deny that allows nothing to exec, a rule that
// stands there twice or that a deny hides whole, a rule that allows what the default allows.
// TooLarge for more than MaxRules rules.
func Compile(p Policy) (*Compiled, error) {
	c := &compiler{out: &Compiled{refuseBlind: NoRule, capabilityRule: NoRule,
		processRule: NoRule}, seen: make(map[string]string)}
	if count := len(p.Exec) + len(p.Files) + len(p.Network); count > MaxRules {
		return nil, errs.New(errs.TooLarge, "sandbox.policy: %d rules, limit %d", count, MaxRules)
	}
	c.head(p)
	c.exec(p.Exec)
	c.fileRules(p.Files)
	c.network(p.Network)
	c.toggles(p)
	c.capabilities(p.Capabilities)
	c.processes(p.Processes)
	c.hidden()
	if c.err != nil {
		return nil, c.err
	}
	out, err := c.out, error(nil)
	if out.canonical, err = json.Marshal(&out.policy); err != nil {
		return nil, errs.As(errs.Internal, err, "sandbox.policy")
	}
	out.canonicalDigest = sha256.Sum256(out.canonical)
	return out, nil
}

// compiler fills a Compiled, and stops saying things after the first error.
type compiler struct {
	out  *Compiled
	seen map[string]string // a rule's words to its field
	err  error
}

func (c *compiler) fail(field, format string, args ...any) {
	if c.err == nil {
		c.err = errs.As(errs.Invalid, &FieldError{field, fmt.Sprintf(format, args...)},
			"sandbox.policy")
	}
}

// choice checks a word against those there are; the first is what empty means.
func (c *compiler) choice(field, value string, words ...string) string {
	if value == "" {
		return words[0]
	}
	for _, word := range words {
		if value == word {
			return value
		}
	}
	c.fail(field, "%q is not one of %s", value, strings.Join(words, ", "))
	return words[0]
}

func (c *compiler) head(p Policy) {
	out := c.out
	if len(p.Name) > MaxName {
		c.fail("name", "%d bytes, limit %d", len(p.Name), MaxName)
	}
	for _, char := range p.Name {
		if char < ' ' || char == 0x7f || char == '�' {
			c.fail("name", "%q has a character that does not print", p.Name)
		}
	}
	out.policy = Policy{
		Version: c.choice("policy", p.Version, "v1"),
		Name:    p.Name,
		Mode:    c.choice("mode", p.Mode, "observe", "enforce"),
		Default: c.choice("default", p.Default, "allow", "deny"),
		Audit:   c.choice("audit", p.Audit, "core", "full"),
	}
	out.deny = out.policy.Default == "deny"
	if out.policy.Mode == "enforce" {
		out.mode = Enforce
	}
	if out.policy.Audit == "full" {
		out.level = FullAudit
	}
}

// side returns what a rule speaks of and whether it denies it. An allow under a default of allow
// is refused: the one who wrote it thinks that all else is denied.
func (c *compiler) side(field, allow, deny string) (text string, denies, ok bool) {
	switch {
	case allow == "" && deny == "":
		c.fail(field, "neither allow nor deny")
	case allow != "" && deny != "":
		c.fail(field, "both allow and deny")
	case allow != "" && !c.out.deny:
		c.fail(field+".allow", "changes nothing, as the default is allow: write deny rules, or "+
			"default: deny")
	}
	return allow + deny, deny != "", c.err == nil
}

// sideName is the key that a rule's text stands under.
func sideName(field string, deny bool) string {
	if deny {
		return field + ".deny"
	}
	return field + ".allow"
}

func verb(deny bool) string {
	if deny {
		return "deny "
	}
	return "allow "
}

// rule gives a rule its number and refuses it where the same words stand there already.
func (c *compiler) rule(list, field, says string) uint16 {
	if before, twice := c.seen[list+says]; twice {
		c.fail(field, "says the same as %s", before)
	}
	c.seen[list+says] = field
	c.out.words = append(c.out.words, word{field, says})
	return uint16(len(c.out.words) - 1)
}

func (c *compiler) exec(rules []ExecRule) {
	out := c.out
	out.execRules = len(rules) > 0
	allows := false
	for i, r := range rules {
		field := fmt.Sprintf("exec[%d]", i)
		text, deny, ok := c.side(field, r.Allow, r.Deny)
		if !ok {
			return
		}
		allows = allows || !deny
		number := c.rule("exec ", field, verb(deny)+text)
		e := effect{rule: number, access: Exec, deny: deny}
		if digits, isDigest := strings.CutPrefix(text, digestPrefix); isDigest {
			c.execDigest(sideName(field, deny), digits, e)
		} else if err := checkPattern(text); err != nil {
			c.fail(sideName(field, deny), "%s (nor is it %s and 64 hexadecimal digits)",
				err, digestPrefix)
		} else {
			out.execPaths.add(text, e)
		}
		out.policy.Exec = append(out.policy.Exec, ExecRule{Allow: r.Allow, Deny: r.Deny})
	}
	if out.mode == Enforce && out.deny && !allows {
		c.fail("exec", "allows nothing, so that not even the first program would start")
	}
}

func (c *compiler) execDigest(field, digits string, e effect) {
	var digest Digest
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(digest) || digits != strings.ToLower(digits) {
		c.fail(field, "a digest is %s and 64 lower-case hexadecimal digits, not %q", digestPrefix,
			digits)
		return
	}
	copy(digest[:], raw)
	if digest.IsZero() {
		c.fail(field, "the digest is zero")
	}
	if c.out.execDigests == nil {
		c.out.execDigests = make(map[Digest]effect)
	}
	if before, twice := c.out.execDigests[digest]; twice {
		c.fail(field, "%s speaks of the same digest", c.out.words[before.rule].field)
	}
	c.out.execDigests[digest] = e
	if e.deny {
		c.out.refuseBlind = min(c.out.refuseBlind, e.rule)
	}
}

func (c *compiler) fileRules(rules []FileRule) {
	for i, r := range rules {
		field := fmt.Sprintf("files[%d]", i)
		text, deny, ok := c.side(field, r.Allow, r.Deny)
		if !ok {
			return
		}
		if err := checkPattern(text); err != nil {
			c.fail(sideName(field, deny), "%s", err)
			return
		}
		if link := ownLink(text); link != "" {
			c.fail(sideName(field, deny), "names nothing: %s is a link, and paths are judged where "+
				"links lead: /proc/* is every process", link)
			return
		}
		bits := Access(c.wordBits(field+".access", r.Access, accesses[:]))
		if bits == 0 {
			bits = allAccess
		}
		r.Access = nil
		says := verb(deny) + text
		if bits != allAccess {
			r.Access = bitWords(uint16(bits), accesses[:])
			says += " " + bits.String()
		}
		number := c.rule("files ", field, says)
		if c.err != nil {
			return
		}
		e := effect{rule: number, access: bits, deny: deny}
		c.out.files.add(text, e)
		if deny {
			c.out.deniedFiles = append(c.out.deniedFiles, glob{newPattern(text[1:], true), e})
		}
		c.out.policy.Files = append(c.out.policy.Files, r)
	}
}

// ownLink returns the link below /proc that a pattern goes through, if it does: the kernel has left
// it behind when it asks.
func ownLink(text string) string {
	for _, link := range [...]string{"/proc/self", "/proc/thread-self"} {
		if text == link || strings.HasPrefix(text, link+"/") {
			return link
		}
	}
	return ""
}

// wordBits reads a list of words into the bits they stand for. No words give 0.
func (c *compiler) wordBits(field string, list, words []string) (bits uint16) {
	for i, text := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		found := false
		for bit, word := range words {
			if text != word {
				continue
			}
			if bits&(1<<bit) != 0 {
				c.fail(at, "%s stands there twice", text)
			}
			bits |= 1 << bit
			found = true
		}
		if !found {
			c.fail(at, "%q is not one of %s", text, strings.Join(words, ", "))
		}
	}
	return bits
}

func (c *compiler) toggles(p Policy) {
	out := c.out
	out.policy.Ptrace, out.ptrace = c.toggle("ptrace", p.Ptrace)
	out.policy.SetID, out.setid = c.toggle("setid", p.SetID)
	out.policy.Mount, out.mount = c.toggle("mount", p.Mount)
	out.policy.ExecMemory, out.execMemory = c.toggle("exec-memory", p.ExecMemory)
}

func (c *compiler) toggle(field, value string) (string, toggle) {
	if value == "" {
		return "", toggle{rule: NoRule}
	}
	value = c.choice(field, value, "allow", "deny")
	return value, toggle{rule: c.rule(field, field, value), deny: value == "deny"}
}

// capabilities reads the list: names, or one of the words all and none alone.
func (c *compiler) capabilities(list []string) {
	if len(list) == 0 {
		return
	}
	out := c.out
	switch {
	case len(list) == 1 && list[0] == "all":
		out.capabilities = 1<<len(capabilities) - 1
	case len(list) == 1 && list[0] == "none":
	default:
		for i, name := range list {
			c.capability(fmt.Sprintf("capabilities[%d]", i), name)
		}
	}
	out.policy.Capabilities = list
	if out.capabilities != 0 && list[0] != "all" {
		out.policy.Capabilities = nil
		for n, name := range capabilities {
			if out.capabilities&(1<<n) != 0 {
				out.policy.Capabilities = append(out.policy.Capabilities, name)
			}
		}
	}
	out.capabilityRule = c.rule("capabilities", "capabilities",
		"only "+strings.Join(out.policy.Capabilities, ", "))
}

func (c *compiler) capability(field, name string) {
	n := capabilityNumber(name)
	if n < 0 {
		c.fail(field, "%q is no capability; they are named like %s", name, capabilities[0])
		return
	}
	if c.out.capabilities&(1<<n) != 0 {
		c.fail(field, "%s stands there twice", name)
	}
	c.out.capabilities |= 1 << n
}

func (c *compiler) processes(count int) {
	if count < 0 || count > MaxProcesses {
		c.fail("processes", "%d is not within 0 and %d", count, MaxProcesses)
		return
	}
	c.out.policy.Processes = count
	if count > 0 {
		c.out.processRule = c.rule("processes", "processes", "at most "+strconv.Itoa(count))
	}
}

// hidden refuses a rule that never decides, as another denies all it speaks of. Some such rules are
// not found: what none but several others deny together, and what takes too long to see.
func (c *compiler) hidden() {
	if c.err != nil {
		return
	}
	out := c.out
	number, effort := uint16(0), maxEffort
	say := func(by uint16) {
		if by != NoRule {
			w := out.words[by]
			c.fail(out.words[number].field, "never decides: %s (%s) denies all of it", w.field, w.says)
		}
		number++
	}
	for _, r := range out.policy.Exec {
		text := r.Allow + r.Deny
		if strings.HasPrefix(text, digestPrefix) {
			say(NoRule)
			continue
		}
		say(out.execPaths.hiddenBy(text, effect{rule: number, access: Exec}, &effort))
	}
	for _, r := range out.policy.Files {
		bits := Access(c.wordBits("", r.Access, accesses[:]))
		if bits == 0 {
			bits = allAccess
		}
		say(out.files.hiddenBy(r.Allow+r.Deny, effect{rule: number, access: bits}, &effort))
	}
	for range out.policy.Network {
		say(out.net.hiddenBy(number, &effort))
	}
}
