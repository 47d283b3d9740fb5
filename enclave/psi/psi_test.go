package psi

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/cloudflare/circl/group"
	"pgregory.net/rapid"

	"surety/base/errs"
)

// pair runs both parties over a pipe and returns what each got.
func pair(t testing.TB, a, b []string, edit func(a, b *Config)) (ra, rb *Result, ea, eb error) {
	t.Helper()
	ca, cb := Config{Context: []byte("test"), Initiator: true}, Config{Context: []byte("test")}
	if edit != nil {
		edit(&ca, &cb)
	}
	left, right := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer right.Close()
		rb, eb = Intersect(t.Context(), right, b, cb)
	}()
	ra, ea = Intersect(t.Context(), left, a, ca)
	left.Close()
	<-done
	return ra, rb, ea, eb
}

func numbered(prefix string, from, to int) []string {
	ids := make([]string, 0, to-from)
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprintf("%s%07d", prefix, i))
	}
	return ids
}

// checkPair holds two results against the plain intersection.
func checkPair(t testing.TB, a, b []string, ra, rb *Result) {
	t.Helper()
	inB := map[string]bool{}
	for _, id := range b {
		inB[id] = true
	}
	want := 0
	for _, id := range a {
		if inB[id] {
			want++
		}
	}
	if len(ra.Matches) != want || len(rb.Matches) != want {
		t.Fatalf("%d and %d matches, want %d", len(ra.Matches), len(rb.Matches), want)
	}
	if ra.Session != rb.Session || ra.Peer != len(b) || rb.Peer != len(a) {
		t.Fatalf("sessions %x %x, peers %d %d", ra.Session, rb.Session, ra.Peer, rb.Peer)
	}
	for i := range ra.Matches {
		ma, mb := ra.Matches[i], rb.Matches[i]
		if a[ma.Row] != b[mb.Row] || ma.Token != mb.Token {
			t.Fatalf("match %d joins %q and %q", i, a[ma.Row], b[mb.Row])
		}
		if i > 0 && bytes.Compare(ra.Matches[i-1].Token[:], ma.Token[:]) >= 0 {
			t.Fatalf("match %d is not above the one before", i)
		}
	}
}

func TestFiveThousandEach(t *testing.T) {
	a, b := numbered("id", 0, 5000), numbered("id", 3000, 8000)
	ra, rb, ea, eb := pair(t, a, b, nil)
	if ea != nil || eb != nil {
		t.Fatal(ea, eb)
	}
	checkPair(t, a, b, ra, rb)
}

func TestRandomSets(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		draw := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-f]{1,2}`), 1, 20, rapid.ID[string])
		a, b := draw.Draw(r, "a"), draw.Draw(r, "b")
		workers := rapid.IntRange(1, 5).Draw(r, "workers")
		ra, rb, ea, eb := pair(t, a, b, func(ca, cb *Config) { ca.Workers = workers })
		if ea != nil || eb != nil {
			r.Fatal(ea, eb)
		}
		checkPair(t, a, b, ra, rb)
	})
}

// TestSessionsDiffer sees that nothing of one session is of use in another.
func TestSessionsDiffer(t *testing.T) {
	ids := numbered("x", 0, 3)
	first, _, _, _ := pair(t, ids, ids, nil)
	second, _, _, _ := pair(t, ids, ids, nil)
	for i := range first.Matches {
		for j := range second.Matches {
			if first.Matches[i].Token == second.Matches[j].Token {
				t.Fatal("two sessions share a token")
			}
		}
	}
	if first.Session == second.Session {
		t.Fatal("two sessions share a name")
	}
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		rule    Rule
		in, out string
	}{
		{Exact, " A b", " A b"},
		{Text, "  Ünal \t AŞ  Ltd", "ünal aş ltd"},
		{Digits, "+49 (0)171-555", "490171555"},
	} {
		got, err := c.rule.All([]string{c.in})
		if err != nil || got[0] != c.out {
			t.Errorf("%s %q: %q %v, want %q", c.rule, c.in, got, err, c.out)
		}
	}
	a, b := []string{"+1 555", "77"}, []string{"15-55", "78"}
	ra, rb, ea, eb := pair(t, a, b, func(ca, cb *Config) { ca.Rule, cb.Rule = Digits, Digits })
	if ea != nil || eb != nil || len(ra.Matches) != 1 || len(rb.Matches) != 1 || ra.Matches[0].Row != 0 {
		t.Fatal(ra, rb, ea, eb)
	}
}

func TestIDsAreRefused(t *testing.T) {
	secretID := "4711-secret"
	for _, c := range []struct {
		name string
		ids  []string
		edit func(*Config)
		kind errs.Kind
		text string
	}{
		{"no context", nil, func(c *Config) { c.Context = nil }, errs.Invalid, "context of 0 bytes"},
		{"none", nil, nil, errs.TooLarge, "0 ids"},
		{"rule", []string{"a"}, func(c *Config) { c.Rule = "upper" }, errs.Invalid, "none of exact"},
		{"long", []string{"a", strings.Repeat("x", MaxID+1)}, nil, errs.Invalid, "row 1: an id of 257"},
		{"encoding", []string{"\xff"}, nil, errs.Invalid, "no UTF-8"},
		{"empty", []string{"a", "--"}, func(c *Config) { c.Rule = Digits }, errs.Invalid, "row 0: nothing"},
		{"twice", []string{secretID, "b", secretID}, nil, errs.Invalid, "rows 0 and 2"},
	} {
		config := Config{Context: []byte("c")}
		if c.edit != nil {
			c.edit(&config)
		}
		_, err := Intersect(t.Context(), nil, c.ids, config)
		if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && strings.Contains(err.Error(), secretID) {
			t.Errorf("%s: the error shows an id", c.name)
		}
	}
}

func TestDisagreementIsRefused(t *testing.T) {
	ids := numbered("x", 0, 3)
	for _, c := range []struct {
		name string
		edit func(a, b *Config)
		kind errs.Kind
		text string
	}{
		{"context", func(a, b *Config) { a.Context = []byte("other") }, errs.Refused, "context or rule"},
		{"rule", func(a, b *Config) { a.Rule = Text }, errs.Refused, "context or rule"},
		{"role", func(a, b *Config) { b.Initiator = true }, errs.Refused, "same role"},
		{"size", func(a, b *Config) { a.MaxPeer, b.MaxPeer = 2, 2 }, errs.TooLarge, "3 ids, not 1 to 2"},
	} {
		ra, rb, ea, eb := pair(t, ids, ids, c.edit)
		if ra != nil || rb != nil || !errs.Is(ea, c.kind) || !strings.Contains(ea.Error(), c.text) ||
			!errs.Is(eb, c.kind) {
			t.Errorf("%s: %v, %v", c.name, ea, eb)
		}
	}
}

// liar is a peer that follows the protocol up to where it does not.
func liar(t *testing.T, ids []string, points func(honest []byte, seen []byte) []byte,
	back func(honest []byte) []byte) error {
	t.Helper()
	left, right := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer right.Close()
		c := Config{Context: []byte("test"), MaxPeer: MaxIDs, Rule: Exact}
		w := newWire(t.Context(), right)
		defer w.close()
		_, n, err := c.greet(w, len(ids))
		if err != nil {
			return
		}
		s := newSecret()
		theirs := make([]byte, n*pointBytes)
		if _, err := io.ReadFull(right, theirs); err != nil {
			return
		}
		if _, err := right.Write(points(s.blind(c.Context, ids, shuffled(len(ids)), 1), theirs)); err != nil {
			return
		}
		doubled := make([]byte, len(theirs))
		if s.multiply(theirs, doubled, 1) != nil {
			return
		}
		_ = w.exchange(back(doubled), make([]byte, len(ids)*pointBytes))
		_ = w.exchange(make([]byte, 32), make([]byte, 32))
	}()
	_, err := Intersect(t.Context(), left, ids, Config{Context: []byte("test"), Initiator: true})
	left.Close()
	<-done
	return err
}

func TestMalformedPointsAreRefused(t *testing.T) {
	same := func(b []byte) []byte { return b }
	honest := func(b, _ []byte) []byte { return b }
	put := func(point []byte) func(b, _ []byte) []byte {
		return func(b, _ []byte) []byte { copy(b[pointBytes:], point); return b }
	}
	unhex := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	for _, c := range []struct {
		name   string
		points func(b, seen []byte) []byte
		back   func(b []byte) []byte
		text   string
	}{
		{"identity", put(make([]byte, 32)), same, "point 1 of the other party: the identity"},
		// RFC 9496 appendix A.2: non-canonical field encodings, negative, and non-square.
		{"non-canonical", put(unhex("00" + strings.Repeat("ff", 31))), same, "point 1"},
		{"non-canonical", put(unhex("f3" + strings.Repeat("ff", 30) + "7f")), same, "point 1"},
		{"negative", put(unhex("01" + strings.Repeat("00", 31))), same, "point 1"},
		{"negative", put(unhex("ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20")), same,
			"point 1"},
		{"no square", put(unhex("26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371")), same,
			"point 1"},
		{"twice", func(b, _ []byte) []byte { copy(b[pointBytes:], b[:pointBytes]); return b }, same,
			"point 1 of the other party occurs twice"},
		{"reflected", func(_, seen []byte) []byte { return seen }, same, "one of ours"},
		{"another answer", honest, func(b []byte) []byte { b[0] ^= 1; return b }, "found something else"},
	} {
		err := liar(t, numbered("x", 0, 3), c.points, c.back)
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestConnectionEnds(t *testing.T) {
	left, right := net.Pipe()
	right.Close()
	_, err := Intersect(t.Context(), left, []string{"a"}, Config{Context: []byte("c")})
	if !errs.Is(err, errs.Unavailable) {
		t.Error(err)
	}
	left, right = net.Pipe()
	defer right.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // the peer reads the hello and says nothing
		_, _ = io.ReadFull(right, make([]byte, helloBytes))
		cancel()
	}()
	if _, err = Intersect(ctx, left, []string{"a"}, Config{Context: []byte("c")}); !errs.Is(err, errs.Canceled) {
		t.Error(err)
	}
}

// TestNothingButNoiseIsSent looks for ids, and for their points under no secret, in what a party
// sends.
func TestNothingButNoiseIsSent(t *testing.T) {
	ids := numbered("planted-", 0, 200)
	left, right := net.Pipe()
	record := &recorder{Conn: left}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = Intersect(t.Context(), right, ids[100:], Config{Context: []byte("test")})
		right.Close()
	}()
	if _, err := Intersect(t.Context(), record, ids, Config{Context: []byte("test"), Initiator: true}); err != nil {
		t.Fatal(err)
	}
	<-done
	for _, id := range ids {
		bare, _ := hash([]byte("test"), id).MarshalBinary()
		if bytes.Contains(record.sent.Bytes(), []byte(id)) || bytes.Contains(record.sent.Bytes(), bare) {
			t.Fatal("an id, or its point, was sent")
		}
	}
}

type recorder struct {
	net.Conn
	sent bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) { r.sent.Write(p); return r.Conn.Write(p) }

func TestSecretHides(t *testing.T) {
	if text := fmt.Sprint(newSecret()); text != "redacted" {
		t.Error(text)
	}
}

// FuzzPoint sees that whatever is taken for a point is one, in its one encoding.
func FuzzPoint(f *testing.F) {
	good, _ := group.Ristretto255.Generator().MarshalBinary()
	f.Add(good)
	f.Add(make([]byte, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := read(b)
		if err != nil {
			return
		}
		again, _ := p.MarshalBinary()
		if !bytes.Equal(again, b) || p.IsIdentity() {
			t.Fatalf("%x was taken", b)
		}
	})
}

// BenchmarkIntersect is both parties on one machine; the time is that of one id of both.
func BenchmarkIntersect(b *testing.B) {
	const n = 2000
	x, y := numbered("id", 0, n), numbered("id", n/5, n+n/5)
	for b.Loop() {
		if _, _, ea, eb := pair(b, x, y, nil); ea != nil || eb != nil {
			b.Fatal(ea, eb)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/id")
}
