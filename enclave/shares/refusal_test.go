package shares

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/sys/entropy"
)

// TestParamsAreChecked mends one defect a row.
func TestParamsAreChecked(t *testing.T) {
	p := Params{ScoreRows: MaxRows + 1, ActiveColumns: MaxColumns + 1, Ridge: 100, ScoreBits: 13,
		ScoresTo: 3, Coarse: 1}
	for _, c := range []struct {
		kind errs.Kind
		want string
		mend func()
	}{
		{errs.TooLarge, "0 rows and 131073 to score, not 1 to 131072", func() { p.Rows = 131072 }},
		{errs.TooLarge, "131072 rows and 131073 to score", func() { p.ScoreRows = 0 }},
		{errs.TooLarge, "257 and 0 columns", func() { p.ActiveColumns = 256 }},
		{errs.TooLarge, "256 and 0 columns", func() { p.PassiveColumns = 1 }},
		{errs.TooLarge, "131072 rows of 256 columns of 13 bits", func() { p.Rows = 2055 }},
		{errs.Refused, "2055 rows for 257 columns, and 2056 are needed", func() { p.ActiveColumns = 1 }},
		{errs.Invalid, "0 steps after 1 coarse ones", func() { p.Steps, p.Rows = 3, 399 }},
		{errs.Invalid, "coarse steps over 399 rows, and 400 are needed", func() { p.Rows = 400 }},
		{errs.Invalid, "ridge 100, not up to 50", func() { p.Ridge = 50 }},
		{errs.Invalid, "scores of 13 bits", func() { p.ScoreBits = 12 }},
		{errs.Invalid, "0 rows to score, to be shown to unknown", func() { p.ScoresTo = Active }},
		{errs.Invalid, "0 rows to score, to be shown to active", func() { p.ScoresTo = Nobody }},
		{errs.Invalid, "neither weights nor scores", func() { p.Weights = true }},
	} {
		err := p.check()
		if errs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v is not of kind %s with %q", err, c.kind, c.want)
		}
		c.mend()
	}
	if err := p.check(); err != nil {
		t.Error(err)
	}
}

// TestInputIsChecked gives each party what the parameters do not promise.
func TestInputIsChecked(t *testing.T) {
	s := newSample(64, 1, 2, 1)
	p := s.params(1)
	good, other := s.input(t, Active), s.input(t, Passive)
	for _, c := range []struct {
		role Role
		in   Input
		want string
	}{
		{Nobody, good, "role 0 is none"},
		{Active, Input{}, "rows to fit: 0 rows of 0 columns, not 64 of 1"},
		{Active, Input{Train: other.Train, Score: good.Score, Labels: good.Labels}, "64 rows of 2 columns"},
		{Active, Input{Train: good.Train, Labels: good.Labels}, "rows to score: 0 rows"},
		{Active, Input{Train: good.Train, Score: good.Score}, "0 labels at the active party, not 64"},
		{Passive, Input{Train: other.Train, Score: other.Score, Labels: good.Labels}, "64 labels at the passive"},
	} {
		_, err := Run(t.Context(), nil, c.role, p, c.in, Options{})
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

// TestOtherParametersAreRefused changes one parameter at one party, and both must say which.
func TestOtherParametersAreRefused(t *testing.T) {
	s := newSample(2400, 2, 2, 1)
	for _, c := range []struct {
		want   string
		change func(p *Params)
	}{
		{"another context", func(p *Params) { p.Context[7] = 1 }},
		{"rows", func(p *Params) { p.Rows-- }},
		{"rows to score", func(p *Params) { p.ScoreRows-- }},
		{"columns of the active party", func(p *Params) { p.ActiveColumns++ }},
		{"columns of the passive party", func(p *Params) { p.PassiveColumns++ }},
		{"coarse steps", func(p *Params) { p.Coarse++ }},
		{"steps", func(p *Params) { p.Steps++ }},
		{"ridge", func(p *Params) { p.Ridge++ }},
		{"bits of scores", func(p *Params) { p.ScoreBits-- }},
		{"other outputs", func(p *Params) { p.Weights = false }},
		{"other outputs", func(p *Params) { p.ScoresTo = Passive }},
	} {
		p, changed := s.params(3), s.params(3)
		c.change(&changed)
		refused(t, c.want, Active, Passive, p, changed)
	}
	refused(t, "the other party is active, not passive", Active, Active, s.params(3), s.params(3))
}

// refused greets with what differs, and expects both to refuse it in the same words.
func refused(t *testing.T, want string, one, two Role, p, q Params) {
	t.Helper()
	left, right := net.Pipe()
	roles, params := [2]Role{one, two}, [2]Params{p, q}
	a, b := pairOver(left, right, func(side Role, conn net.Conn) error {
		turn := int(side) - 1
		w := newWire(context.Background(), conn, DefaultIdle)
		_, err := greet(w, roles[turn], params[turn], entropy.Seeded(1))
		_ = w.close(err)
		return err
	})
	for _, err := range []error{a, b} {
		if !errs.Is(err, errs.Refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v is not a refusal with %q", err, want)
		}
	}
}

// script is an end that says what it was told to, whatever it hears.
func script(t *testing.T, conn net.Conn, messages ...[]byte) {
	t.Helper()
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	go func() {
		for _, m := range messages {
			if _, err := conn.Write(m); err != nil {
				return
			}
		}
	}()
}

// framed returns a message as it is sent.
func framed(k kind, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(len(payload))), payload...)
}

// TestMalformedMessagesAreRefused sends a party what is not of the protocol.
func TestMalformedMessagesAreRefused(t *testing.T) {
	s := newSample(64, 1, 2, 1)
	p := s.params(1)
	hello := append([]byte(helloLine), byte(Passive))
	hello = append(hello, make([]byte, nonceBytes)...)
	hello = p.appendTo(hello)
	point := encode(base())
	points := slices.Repeat(point, bases)
	wrong := slices.Clone(hello)
	wrong[0] ^= 1
	notOne := slices.Clone(point)
	notOne[31] |= 0x80
	extend := make([]byte, extensionBytes(64*2*cellBits))
	for _, c := range []struct {
		want     string
		messages [][]byte
	}{
		{"message of kind 2 where 1 was due", [][]byte{framed(kindBase, hello)}},
		{"message 1 of 4294967295 bytes, not", [][]byte{append([]byte{1}, 255, 255, 255, 255)}},
		{"message 1 of 3 bytes, not", [][]byte{framed(kindHello, hello[:3])}},
		{"does not speak this protocol", [][]byte{framed(kindHello, wrong)}},
		{"first point: no point", [][]byte{framed(1, hello), framed(2, slices.Repeat([]byte{255}, 32))}},
		{"first point: no point", [][]byte{framed(1, hello), framed(2, notOne)}},
		{"first point: the identity", [][]byte{framed(1, hello), framed(2, make([]byte, 32))}},
		{"message 2 of 31 bytes, not 32", [][]byte{framed(1, hello), framed(2, point[:31])}},
		{"point 0 of the base transfers: the identity", [][]byte{framed(1, hello), framed(2, point),
			framed(3, make([]byte, len(points)))}},
		{"message 4 of 2 bytes", [][]byte{framed(1, hello), framed(2, point), framed(3, points),
			framed(4, []byte{1, 2})}},
		{"message of kind 9 where 5 was due", [][]byte{framed(1, hello), framed(2, point), framed(3, points),
			framed(4, extend), framed(9, nil)}},
	} {
		left, right := net.Pipe()
		script(t, right, c.messages...)
		_, err := Run(t.Context(), left, Active, p, s.input(t, Active), Options{Entropy: entropy.Seeded(1)})
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
		left.Close()
		right.Close()
	}
}

// cut is a connection that ends after so many bytes have been written to it.
type cut struct {
	net.Conn
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	if len(b) > c.left {
		n, _ := c.Conn.Write(b[:c.left])
		c.left = 0
		_ = c.Conn.Close()
		return n, io.ErrClosedPipe
	}
	c.left -= len(b)
	return c.Conn.Write(b)
}

// TestPeerDies ends the connection at places all along the protocol: both parties end with an error
// and without a result.
func TestPeerDies(t *testing.T) {
	s := newSample(96, 2, 2, 1)
	p := s.params(2)
	whole := &recorder{}
	s.record(t, p, whole)
	inputs := [...]Input{{}, s.input(t, Active), s.input(t, Passive)}
	total := len(whole.bytes)
	for _, after := range []int{0, 3, helloBytes, 200, 4000, total / 4, total / 2, total - 200, total - 20} {
		left, right := net.Pipe()
		a, b := pairOver(&cut{left, after}, right, func(role Role, conn net.Conn) error {
			r, err := Run(t.Context(), conn, role, p, inputs[role], Options{Entropy: entropy.Seeded(1)})
			if err != nil && r != nil {
				t.Errorf("after %d bytes: a result beside the error", after)
			}
			return err
		})
		if !errs.Is(a, errs.Unavailable) || !errs.Is(b, errs.Unavailable) {
			t.Errorf("after %d of %d bytes: %v; %v", after, total, a, b)
		}
	}
}

// TestSilentPeer ends a run whose other party says nothing, and one whose caller gives up.
func TestSilentPeer(t *testing.T) {
	s := newSample(64, 1, 2, 1)
	left, right := net.Pipe()
	defer right.Close()
	_, err := Run(t.Context(), left, Active, s.params(1), s.input(t, Active),
		Options{Idle: 20 * time.Millisecond})
	if !errs.Is(err, errs.Unavailable) {
		t.Errorf("silence: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left, right = net.Pipe()
	defer right.Close()
	cancel()
	if _, err := Run(ctx, left, Active, s.params(1), s.input(t, Active), Options{}); !errs.Is(err,
		errs.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// FuzzHello sees that a hello is taken only where it is the one that is due.
func FuzzHello(f *testing.F) {
	p := Params{Rows: 100, ActiveColumns: 1, PassiveColumns: 2, Steps: 3, Weights: true}
	hello := append([]byte(helloLine), byte(Passive))
	hello = p.appendTo(append(hello, make([]byte, nonceBytes)...))
	f.Add(hello)
	f.Add(slices.Repeat([]byte{0xff}, helloBytes))
	f.Fuzz(func(t *testing.T, theirs []byte) {
		if len(theirs) != helloBytes {
			t.Skip("the wire gives no other length")
		}
		err := p.compare(Active, theirs)
		same := slices.Clone(theirs)
		copy(same[len(helloLine)+1:], make([]byte, nonceBytes))
		if (err == nil) != slices.Equal(same, hello) {
			t.Errorf("%v for %x", err, theirs)
		}
	})
}
