package egress

import (
	"net/netip"
	"os"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"surety/base/clock"
	"surety/base/errs"
)

const portDNS = 53

// hostServers reads the name servers of a resolv.conf; the loopback where it names none, as
// resolv.conf(5) has it.
func hostServers(path string) []netip.AddrPort {
	var servers []netip.AddrPort
	data, _ := os.ReadFile(path) // absent: none
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if addr, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr.Unmap(), portDNS))
		}
	}
	if len(servers) == 0 {
		servers = append(servers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), portDNS))
	}
	return servers
}

// question is what the sandbox asked.
type question struct {
	id     uint16
	rd     bool
	asked  dnsmessage.Question
	name   string // canonical
	extend bool   // it speaks EDNS
	limit  int    // bytes it takes in a datagram
}

// parseQuestion reads a query. ok is false for what deserves no answer (not a query at all); a code
// other than success is the answer to what does.
func parseQuestion(message []byte) (q question, code dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	head, err := p.Start(message)
	if err != nil || head.Response {
		return q, 0, false
	}
	q.id, q.rd, q.limit = head.ID, head.RecursionDesired, plainAnswer
	if head.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	if q.asked, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.name = canonicalName(q.asked.Name.String())
	if err := p.SkipAllAnswers(); err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	if err := p.SkipAllAuthorities(); err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return q, dnsmessage.RCodeSuccess, true
		}
		if err != nil {
			return q, dnsmessage.RCodeFormatError, true
		}
		if h.Type == dnsmessage.TypeOPT {
			q.extend = true
			q.limit = min(max(int(h.Class), plainAnswer), datagramAnswer)
		}
		if err := p.SkipAdditional(); err != nil {
			return q, dnsmessage.RCodeFormatError, true
		}
	}
}

// address is one address of an answer.
type address struct {
	addr netip.Addr
	ttl  uint32 // seconds
}

// answer is what is said to a question.
type answer struct {
	code      dnsmessage.RCode
	addresses []address
}

// encode writes the answer to q within limit bytes; what does not fit is left out, and the message
// says that it was cut. Aliases on the way (CNAME) are not shown: the name asked for has the
// addresses.
func (a answer) encode(q question, limit int) []byte {
	for keep := len(a.addresses); ; keep /= 2 {
		message, err := a.pack(q, keep)
		if err == nil && len(message) <= limit || keep == 0 {
			return message
		}
	}
}

func (a answer) pack(q question, keep int) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, plainAnswer), dnsmessage.Header{ID: q.id, Response: true,
		RecursionDesired: q.rd, RecursionAvailable: true, RCode: a.code,
		Truncated: keep < len(a.addresses)})
	b.EnableCompression()
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if q.asked.Name.Length > 0 {
		if err := b.Question(q.asked); err != nil {
			return nil, err
		}
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	for _, one := range a.addresses[:keep] {
		head := dnsmessage.ResourceHeader{Name: q.asked.Name, Class: dnsmessage.ClassINET, TTL: one.ttl}
		var err error
		if one.addr.Is4() {
			err = b.AResource(head, dnsmessage.AResource{A: one.addr.As4()})
		} else {
			err = b.AAAAResource(head, dnsmessage.AAAAResource{AAAA: one.addr.As16()})
		}
		if err != nil {
			return nil, err
		}
	}
	if q.extend {
		if err := b.StartAdditionals(); err != nil {
			return nil, err
		}
		var head dnsmessage.ResourceHeader
		if err := head.SetEDNS0(datagramAnswer, dnsmessage.RCodeSuccess, false); err != nil {
			return nil, err
		}
		if err := b.OPTResource(head, dnsmessage.OPTResource{}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// encodeQuery writes the question that goes to an upstream server.
func encodeQuery(id uint16, asked dnsmessage.Question) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 2, plainAnswer), // room for a stream's length
		dnsmessage.Header{ID: id, RecursionDesired: true})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(asked); err != nil {
		return nil, err
	}
	if err := b.StartAdditionals(); err != nil {
		return nil, err
	}
	var head dnsmessage.ResourceHeader
	if err := head.SetEDNS0(datagramAnswer, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, err
	}
	if err := b.OPTResource(head, dnsmessage.OPTResource{}); err != nil {
		return nil, err
	}
	return b.Finish()
}

// parseAnswer reads an upstream server's answer to asked. Addresses of the type asked for are taken
// from anywhere in the answer: at the end of whatever chain of aliases, they are the name's.
// truncated asks for a stream. Errors: Corrupt for what is no answer to the question.
func parseAnswer(message []byte, id uint16, asked dnsmessage.Question) (answer, bool, error) {
	var p dnsmessage.Parser
	head, err := p.Start(message)
	if err != nil || !head.Response || head.ID != id {
		return answer{}, false, errs.New(errs.Corrupt, "egress: no answer to question %d", id)
	}
	echoed, err := p.Question()
	if err != nil || echoed.Type != asked.Type || echoed.Class != asked.Class ||
		!strings.EqualFold(echoed.Name.String(), asked.Name.String()) {
		return answer{}, false, errs.New(errs.Corrupt, "egress: an answer to another question")
	}
	if err := p.SkipAllQuestions(); err != nil {
		return answer{}, false, errs.As(errs.Corrupt, err, "egress: questions of an answer")
	}
	a := answer{code: head.RCode}
	for len(a.addresses) < maxAnswers {
		h, err := p.AnswerHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil {
			return answer{}, head.Truncated, errs.As(errs.Corrupt, err, "egress: an answer")
		}
		one, err := parseAddress(&p, h, asked.Type)
		if err != nil {
			return answer{}, head.Truncated, errs.As(errs.Corrupt, err, "egress: an answer")
		}
		if one.addr.IsValid() {
			a.addresses = append(a.addresses, one)
		}
	}
	return a, head.Truncated, nil
}

// parseAddress reads one record, the zero address for one that is not of the type asked for.
func parseAddress(p *dnsmessage.Parser, h dnsmessage.ResourceHeader, kind dnsmessage.Type) (address,
	error) {
	switch {
	case h.Class == dnsmessage.ClassINET && h.Type == kind && kind == dnsmessage.TypeA:
		r, err := p.AResource()
		return address{netip.AddrFrom4(r.A), h.TTL}, err
	case h.Class == dnsmessage.ClassINET && h.Type == kind && kind == dnsmessage.TypeAAAA:
		r, err := p.AAAAResource()
		if addr := netip.AddrFrom16(r.AAAA); !addr.Is4In6() {
			return address{addr, h.TTL}, err
		}
		return address{}, err
	}
	return address{}, p.SkipAnswer()
}

// lifetime is how long an address keeps its name after an answer with ttl seconds.
func lifetime(ttl uint32) clock.Duration {
	return min(max(clock.Duration(ttl)*clock.Second, nameFloor), nameCap) + nameGrace
}
