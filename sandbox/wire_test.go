package sandbox

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
)

// typicalOpen is what an audited open looks like.
func typicalOpen() Record {
	return Record{
		Seq: 7, At: 1_700_000_000_000_000_000, Kind: KindOpen, Verdict: Allowed, Rule: 3, Sysno: 257,
		Process: 12, Thread: 13, Parent: 1, User: 1000, Access: Read, Flags: 0x80000,
		Comm: "cat", Path: "/etc/hosts",
	}
}

// golden are encodings that trails on disk have: they never change.
func golden() []struct {
	name, hex string
	record    Record
} {
	return []struct {
		name, hex string
		record    Record
	}{
		{"least", "2c000000" + "01080000" + "0000000000000000" + "0000000000000000" +
			"00000000" + "00000000" + "00000000" + "00000000" + "0000" + "0000" + "0000" + "0000",
			Record{Kind: KindFinal}},
		{"open", "42000000" + "01200100" + "0700000000000000" + "00002a36fe9c9717" +
			"0c000000" + "0d000000" + "01000000" + "e8030000" + "0300" + "0000" + "0101" + "0606" +
			"0100" + "00000800" + "03636174" + "0a00" + "2f6574632f686f737473",
			typicalOpen()},
		{"everything", "cd000000" + "0141020f" + "0807060504030201" + "1817161514131211" +
			"24232221" + "34333231" + "44434241" + "54535251" + "ffff" + "0d00" + "2a00" + "ff3f" +
			"000102030405060708090a0b0c0d0e0f" + "ff00" + "64636261" + "ed010000" + "feffffffffffffff" +
			"0100000000000000" + "0200000000000000" + "0300000000000000" + "0400000000000000" +
			"0500000000000000" + "0600000000000000" +
			"10" + "fe800000000000000000000000000001" + "0465746830" + "bb01" + "06" +
			strings.Repeat("ab", 32) + "026364" + "02002f61" + "02002f62" +
			"02" + "0100" + "78" + "0000" + "0300" + "747874",
			everything()},
	}
}

func everything() Record {
	r := Record{
		Seq: 0x0102030405060708, At: 0x1112131415161718, Kind: KindConnect, Verdict: Refused,
		Rule: NoRule, Errno: EACCES, Done: true, Session: true, Outside: true, Cut: true, Sysno: 42,
		Process: 0x21222324, Thread: 0x31323334, Parent: 0x41424344, User: 0x51525354,
		Trace:  ident.ID{Hi: 0x0001020304050607, Lo: 0x08090a0b0c0d0e0f},
		Access: allAccess, Flags: 0x61626364, Mode: 0o755, Result: -2,
		Words: [6]uint64{1, 2, 3, 4, 5, 6}, Addr: netip.MustParseAddrPort("[fe80::1%eth0]:443"),
		Proto: TCP, Comm: "cd", Path: "/a", Path2: "/b", Args: []string{"x", ""}, Text: "txt",
	}
	copy(r.Digest[:], bytes.Repeat([]byte{0xab}, 32))
	return r
}

func TestGoldenRecords(t *testing.T) {
	for _, row := range golden() {
		encoded := row.record.Append(nil)
		want, err := hex.DecodeString(row.hex)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encoded, want) {
			t.Errorf("%s:\n got %x\nwant %x", row.name, encoded, want)
		}
		back, n, err := DecodeRecord(append(want, "rest"...))
		if err != nil || n != len(want) || !reflect.DeepEqual(back, row.record) {
			t.Errorf("%s: decoded %+v, %d bytes, %v", row.name, back, n, err)
		}
	}
}

// genRecord draws a record within the limits, with every field set or not.
func genRecord(t *rapid.T) Record {
	text := func(name string, most int) string {
		return rapid.OneOf(rapid.Just(""), rapid.StringN(0, min(40, most), most),
			rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string {
				return string(b[:min(len(b), most)])
			})).Draw(t, name)
	}
	number := rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64())
	flag := rapid.Bool()
	r := Record{
		Seq: number.Draw(t, "seq"), At: clock.Instant(number.Draw(t, "at")),
		Kind: genKind(t), Verdict: Verdict(rapid.IntRange(0, 3).Draw(t, "verdict")),
		Rule: uint16(number.Draw(t, "rule")), Errno: uint16(number.Draw(t, "errno")),
		Done: flag.Draw(t, "done"), Session: flag.Draw(t, "session"),
		Outside: flag.Draw(t, "outside"), Cut: flag.Draw(t, "cut"),
		Sysno: uint16(number.Draw(t, "sysno")), Process: uint32(number.Draw(t, "process")),
		Thread: uint32(number.Draw(t, "thread")), Parent: uint32(number.Draw(t, "parent")),
		User: uint32(number.Draw(t, "user")), Flags: uint32(number.Draw(t, "flags")),
		Access: Access(number.Draw(t, "access")) & allAccess, Mode: uint32(number.Draw(t, "mode")),
		Result: int64(number.Draw(t, "result")), Proto: Proto(number.Draw(t, "proto")),
		Trace: ident.ID{Lo: number.Draw(t, "lo"), Hi: number.Draw(t, "hi")},
		Addr:  genAddr(t), Comm: text("comm", 15), Path: text("path", 80),
		Path2: text("path2", 80), Text: text("text", 80),
	}
	r.Words[rapid.IntRange(0, 5).Draw(t, "word")] = number.Draw(t, "value")
	r.Digest[rapid.IntRange(0, 31).Draw(t, "byte")] = byte(number.Draw(t, "digest"))
	if args := rapid.SliceOfN(rapid.String(), 0, 5).Draw(t, "args"); len(args) > 0 {
		r.Args = args
	}
	return r
}

func genKind(t *rapid.T) Kind {
	kind, err := ParseKind(rapid.SampledFrom(KindNames()).Draw(t, "kind"))
	if err != nil {
		t.Fatal(err)
	}
	return kind
}

func genAddr(t *rapid.T) netip.AddrPort {
	port := uint16(rapid.IntRange(0, 65535).Draw(t, "port"))
	b := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "addr")
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 0:
		return netip.AddrPortFrom(netip.Addr{}, port)
	case 1:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b)), port)
	case 2:
		return netip.AddrPortFrom(netip.AddrFrom16(netip.AddrFrom4([4]byte(b)).As16()), port)
	case 3:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)).WithZone("eth0"), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b)), port)
}

// Whatever is in a record comes back, and has one encoding.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := genRecord(t)
		encoded := r.Append([]byte("before"))[6:]
		back, n, err := DecodeRecord(encoded)
		if err != nil || n != len(encoded) {
			t.Fatalf("%d of %d bytes: %v", n, len(encoded), err)
		}
		if !reflect.DeepEqual(back, r) {
			t.Fatalf("\n got %+v\nwant %+v", back, r)
		}
		if again := back.Append(nil); !bytes.Equal(again, encoded) {
			t.Fatalf("encoded again:\n got %x\nwant %x", again, encoded)
		}
	})
}

func TestAppendCuts(t *testing.T) {
	long := strings.Repeat("x", MaxText+1)
	many := slices.Repeat([]string{"a"}, MaxArgs+1)
	wide := []string{strings.Repeat("a", MaxArgBytes-1), "bc", "", "d"}
	for _, row := range []struct {
		name string
		cut  bool
		r    Record
		want func(r *Record)
	}{
		{"path as long as may be", false, Record{Path: long[1:]}, func(*Record) {}},
		{"path", true, Record{Path: long}, func(r *Record) { r.Path = long[1:] }},
		{"path2", true, Record{Path2: long}, func(r *Record) { r.Path2 = long[1:] }},
		{"text", true, Record{Text: long}, func(r *Record) { r.Text = long[1:] }},
		{"comm", true, Record{Comm: long}, func(r *Record) { r.Comm = long[:15] }},
		{"count of args", true, Record{Args: many}, func(r *Record) { r.Args = many[1:] }},
		{"bytes of args", true, Record{Args: wide}, func(r *Record) {
			r.Args = []string{wide[0], "b", ""}
		}},
		{"cut before", true, Record{Cut: true}, func(*Record) {}},
	} {
		row.r.Kind = KindExec
		want := row.r
		row.want(&want)
		want.Cut = row.cut
		back, _, err := DecodeRecord(row.r.Append(nil))
		if err != nil || !reflect.DeepEqual(back, want) {
			t.Errorf("%s: got %+v, %v", row.name, back, err)
		}
	}
}

// A record of everything at its longest is within MaxRecord.
func TestLongestRecord(t *testing.T) {
	r := everything()
	r.Path, r.Path2, r.Text = strings.Repeat("p", 9000), strings.Repeat("q", 9000),
		strings.Repeat("t", 9000)
	r.Comm, r.Args = strings.Repeat("c", 99), slices.Repeat([]string{strings.Repeat("a", 64)}, 99)
	r.Addr = netip.AddrPortFrom(r.Addr.Addr().WithZone(strings.Repeat("z", 300)), 1)
	encoded := r.Append(nil)
	if len(encoded) > MaxRecord || len(encoded) > r.bound() {
		t.Errorf("%d bytes, limit %d, bound %d", len(encoded), MaxRecord, r.bound())
	}
	if _, n, err := DecodeRecord(encoded); err != nil || n != len(encoded) {
		t.Errorf("%d of %d bytes: %v", n, len(encoded), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	r := typicalOpen()
	good := r.Append(nil)
	all := everything()
	full := all.Append(nil)
	change := func(data []byte, at int, to ...byte) []byte {
		data = bytes.Clone(data)
		copy(data[at:], to)
		return data
	}
	for _, row := range []struct {
		name, want string
		data       []byte
	}{
		{"nothing", "0 bytes are less", nil},
		{"half a header", "47 bytes are less", good[:47]},
		{"length below a header", "length 47 is not within", change(good, 0, 43)},
		{"length over the limit", "length 20481", change(good, 0, 0xfd, 0x4f, 0, 0)},
		{"length that wraps", "is not within", change(good, 0, 0xff, 0xff, 0xff, 0xff)},
		{"half a record", "bytes there", good[:len(good)-1]},
		{"format", "byte 4: format 2", change(good, 4, 2)},
		{"kind", "byte 5: kind 9", change(good, 5, 9)},
		{"verdict", "byte 6: verdict 4", change(good, 6, 4)},
		{"bits", "byte 7: unknown bits 0x10", change(good, 7, 0x10)},
		{"fields", "byte 46: unknown fields 0x4000", change(good, 46, 0, 0x40)},
		{"a zero that is written", "field access is there and zero", change(good, 48, 0, 0)},
		{"access", "unknown access 0x100", change(good, 48, 0, 1)},
		{"a string past the end", "a field of 11 bytes, 10 left", change(good, 58, 11)},
		{"a string too long", "a string of 4097 bytes", change(good, 58, 1, 0x10)},
		{"bytes after the last field", "1 bytes after the last field", change(good, 58, 9)},
		{"form of an address", "form 5 of an address", change(full, 48+16+2+4+4+8+48, 5)},
		{"too many arguments", "65 arguments", change(full, len(full)-11, 65)},
		{"no arguments", "field args is there and zero", change(full, len(full)-11, 0)},
	} {
		_, n, err := DecodeRecord(row.data)
		if n != 0 || !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %d bytes, %v; want %q", row.name, n, err, row.want)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, row := range golden() {
		f.Add(row.record.Append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, n, err := DecodeRecord(data)
		if err != nil {
			if n != 0 || !errs.Is(err, errs.Invalid) {
				t.Fatalf("%d bytes, %v", n, err)
			}
			return
		}
		if again := r.Append(nil); !bytes.Equal(again, data[:n]) {
			t.Fatalf("encoded again:\n got %x\nwant %x", again, data[:n])
		}
	})
}

// The hot path of every audited call does not allocate.
func TestRecordAllocatesNothing(t *testing.T) {
	r, chain, into := everything(), Chain{}, make([]byte, 0, MaxRecord)
	if n := testing.AllocsPerRun(100, func() {
		into = r.Append(into[:0])
		chain.Add(into)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestChain(t *testing.T) {
	// (head -c 32 /dev/zero; printf abc) | sha256sum, and the same over that head alone.
	var chain Chain
	first := chain.Add([]byte("abc"))
	second := chain.Add(nil)
	if chain.Seq != 2 || chain.Head != second {
		t.Errorf("chain %+v", chain)
	}
	for i, row := range []struct {
		got  Digest
		want string
	}{
		{first, "sha256:365aa7d8f7f9402c4b9434502b4cc89ddb09fe50d7cd95b493b834c62d5a5370"},
		{second, "sha256:e68b0c72b1aff9488294900ba6cc1e99075122a8d0c122eb42da506f9c2321a4"},
	} {
		if row.got.Text() != row.want {
			t.Errorf("head %d: %s, want %s", i+1, row.got, row.want)
		}
	}
	if chain.Head.IsZero() || !(Digest{}).IsZero() {
		t.Error("a zero digest is one of no bytes set, and none else")
	}
}

func TestKinds(t *testing.T) {
	for _, name := range KindNames() {
		kind, err := ParseKind(name)
		if err != nil || kind.String() != name {
			t.Errorf("%s: %v, %v", name, kind, err)
		}
		if kind.Core() != (kind != KindSyscall) {
			t.Errorf("%s: core is %v", name, kind.Core())
		}
	}
	for _, bad := range []string{"", "opens", "kind(9)"} {
		if _, err := ParseKind(bad); !errs.Is(err, errs.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := Kind(9).String() + Kind(255).String(); got != "kind(9)kind(255)" || Kind(9).Core() {
		t.Errorf("kinds that are none: %s", got)
	}
	for v := range Verdict(4) {
		if back, err := ParseVerdict(v.String()); err != nil || back != v {
			t.Errorf("verdict %d: %v, %v", v, back, err)
		}
	}
	if _, err := ParseVerdict("no"); !errs.Is(err, errs.Invalid) || Verdict(9).String() != "verdict(9)" {
		t.Errorf("verdict that is none: %v, %v", err, Verdict(9))
	}
}
