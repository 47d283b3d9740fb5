package sandbox

import (
	"fmt"
	"net/netip"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	r, into := typicalOpen(), make([]byte, 0, MaxRecord)
	for b.Loop() {
		into = r.Append(into[:0])
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	r := typicalOpen()
	encoded := r.Append(nil)
	for b.Loop() {
		if _, _, err := DecodeRecord(encoded); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChain(b *testing.B) {
	r, chain := typicalOpen(), Chain{}
	encoded := r.Append(nil)
	for b.Loop() {
		chain.Add(encoded)
	}
}

// manyRules is a policy of so many rules: folders, literal files and globs, and blocks of addresses.
func manyRules(b *testing.B, count int) *Compiled {
	p := Policy{Mode: "enforce", Default: "deny", Exec: []ExecRule{{Allow: "/init"}}}
	for i := range count / 4 {
		p.Files = append(p.Files,
			FileRule{Allow: fmt.Sprintf("/srv/app%d/**", i)},
			FileRule{Deny: fmt.Sprintf("/srv/app%d/secret", i)},
			FileRule{Allow: fmt.Sprintf("/usr/lib/lib%d-*.so", i), Access: []string{"read"}})
		p.Network = append(p.Network, NetRule{Allow: fmt.Sprintf("10.%d.%d.0/24", i/256, i%256),
			Ports: []string{"443"}})
	}
	return mustCompile(b, p)
}

func BenchmarkFile(b *testing.B) {
	for _, count := range []int{200, 4000} {
		c := manyRules(b, count)
		for _, path := range []string{"/srv/app7/data/2024/x.csv", "/srv/app7/secret",
			"/usr/lib/lib9-1.2.so", "/var/nothing/here"} {
			b.Run(fmt.Sprintf("%d_rules%s", count, path), func(b *testing.B) {
				for b.Loop() {
					c.File(path, Read)
				}
			})
		}
	}
}

func BenchmarkNet(b *testing.B) {
	to := netip.MustParseAddrPort("10.0.9.1:443")
	for _, count := range []int{200, 4000} {
		c := manyRules(b, count)
		b.Run(fmt.Sprintf("%d_rules", count), func(b *testing.B) {
			for b.Loop() {
				c.Net(Connect, TCP, to, "")
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	p := manyRules(b, 4000).Policy()
	for b.Loop() {
		mustCompile(b, p)
	}
}
