package sandbox

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"surety/base/errs"
)

// aTrail is a run: 1 starts 2 and 3, 2 starts 4 and dies, and its number is taken again by 3.
func aTrail() []Record {
	list := []Record{
		{Kind: KindBirth},
		{Kind: KindExec, Process: 1, Path: "/bin/sh"},
		{Kind: KindClone, Process: 1, Result: 2},
		{Kind: KindClone, Process: 1, Result: 3},
		{Kind: KindOpen, Process: 2, Parent: 1, Path: "/etc/hosts", Verdict: Allowed},
		{Kind: KindClone, Process: 2, Parent: 1, Result: 4},
		{Kind: KindClone, Process: 2, Parent: 1, Result: 99, Flags: cloneThread},
		{Kind: KindExit, Process: 2, Parent: 1},
		{Kind: KindConnect, Process: 4, Parent: 1, Addr: netip.MustParseAddrPort("10.0.0.1:80")},
		{Kind: KindClone, Process: 3, Parent: 1, Result: 4},
		{Kind: KindRename, Process: 4, Parent: 3, Path: "/a", Path2: "/etc/b", Verdict: Refused},
		{Kind: KindOpen, Process: 5, Parent: 4, Path: "/", Verdict: WouldRefuse},
		{Kind: KindBind, Process: 5, Parent: 4, Path: "@etc"},
		{Kind: KindConnect, Process: 3, Addr: netip.MustParseAddrPort("[::ffff:10.0.0.2]:80")},
	}
	for i := range list {
		list[i].Seq = uint64(i + 1)
	}
	return list
}

func TestSelector(t *testing.T) {
	for _, row := range []struct {
		name string
		q    Query
		want string
	}{
		{"all", Query{}, "[1 2 3 4 5 6 7 8 9 10 11 12 13 14]"},
		{"kinds", Query{Kinds: []Kind{KindExec, KindBirth}}, "[1 2]"},
		{"verdicts", Query{Verdicts: []Verdict{Refused, WouldRefuse}}, "[11 12]"},
		{"range", Query{From: 3, To: 5}, "[3 4 5]"},
		{"from", Query{From: 13}, "[13 14]"},
		{"path or path2", Query{Path: "/etc/**"}, "[5 11]"},
		{"the root", Query{Path: "/"}, "[12]"},
		{"below the root", Query{Path: "/*"}, "[11]"},
		{"everything below", Query{Path: "/**"}, "[2 5 11 12]"},
		{"an abstract socket", Query{Path: "@e*"}, "[13]"},
		{"address", Query{Addr: netip.MustParsePrefix("10.0.0.0/8")}, "[9 14]"},
		{"one address, as IPv6", Query{Addr: netip.MustParsePrefix("::ffff:10.0.0.1/128")}, "[9]"},
		{"tree of all", Query{Process: 1}, "[2 3 4 5 6 7 8 9 10 11 12 13 14]"},
		{"tree that dies", Query{Process: 2}, "[5 6 7 8 9]"},
		{"tree of another", Query{Process: 3}, "[10 11 12 13 14]"},
		{"tree and kind", Query{Process: 3, Kinds: []Kind{KindBind}}, "[13]"},
		{"no such process", Query{Process: 77}, "[]"},
		{"a pattern that is none", Query{Path: "etc"}, "[]"},
		{"a range that is none", Query{From: 3, To: 2}, "[]"},
	} {
		s, got := NewSelector(row.q), []uint64{}
		for _, r := range aTrail() {
			if s.Match(&r) {
				got = append(got, r.Seq)
			}
		}
		if fmt.Sprint(got) != row.want {
			t.Errorf("%s: %v, want %s", row.name, got, row.want)
		}
	}
}

func TestQueryCheck(t *testing.T) {
	bad := netip.PrefixFrom(netip.MustParseAddr("::1"), 200)
	for _, q := range []Query{{Path: "a"}, {Path: "/a/"}, {Path: "@\xff"}, {From: 2, To: 1}, {Addr: bad}} {
		if err := q.Check(); !errs.Is(err, errs.Invalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	if err := (&Query{Path: "@a//b", From: 1, To: 1}).Check(); err != nil {
		t.Error(err)
	}
}

// The records that are shown do not depend on those that are not asked for.
func TestSelectorsCompose(t *testing.T) {
	kinds := []Kind{KindOpen, KindConnect}
	tree := NewSelector(Query{Process: 2})
	both := NewSelector(Query{Process: 2, Kinds: kinds})
	for _, r := range aTrail() {
		want := tree.Match(&r) && slices.Contains(kinds, r.Kind)
		if got := both.Match(&r); got != want {
			t.Errorf("record %d: %v, want %v", r.Seq, got, want)
		}
	}
}
