package lending

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// fixedGen draws numbers of every magnitude with so many bits before the point.
func fixedGen(wholeBits uint) *rapid.Generator[fixed] {
	return rapid.Custom(func(t *rapid.T) fixed {
		f := fixed{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		f = f.shiftRight(uint(rapid.IntRange(0, 127).Draw(t, "shift")))
		f.hi <<= 20 - wholeBits
		f.hi >>= 20 - wholeBits
		return f
	})
}

func TestFixedAgainstBig(t *testing.T) {
	limit := new(big.Int).Lsh(big.NewInt(1), 128)
	rapid.Check(t, func(t *rapid.T) {
		a, b := fixedGen(20).Draw(t, "a"), fixedGen(20).Draw(t, "b")
		n := rapid.Uint64Range(1, ^uint64(0)).Draw(t, "n")
		d := rapid.Uint64Range(1, ^uint64(0)).Draw(t, "d")
		check := func(what string, got fixed, ok bool, want *big.Int) {
			t.Helper()
			if fits := want.Cmp(limit) < 0; ok != fits {
				t.Fatalf("%s: ok %v, want %v", what, ok, fits)
			} else if ok && got.big().Cmp(want) != 0 {
				t.Fatalf("%s = %s, want %s", what, got.big(), want)
			}
		}
		want := new(big.Int).Mul(a.big(), b.big())
		got, ok := a.mul(b)
		check("mul", got, ok, want.Rsh(want, fractionBits))
		if !b.isZero() {
			got, ok = a.div(b)
			want = new(big.Int).Lsh(a.big(), fractionBits)
			check("div", got, ok, want.Quo(want, b.big()))
		}
		got, ok = a.mulInt(n)
		nBig, dBig := new(big.Int).SetUint64(n), new(big.Int).SetUint64(d)
		check("mulInt", got, ok, new(big.Int).Mul(a.big(), nBig))
		check("divInt", a.divInt(n), true, new(big.Int).Quo(a.big(), nBig))
		got, ok = a.mulDiv(n, d)
		want = new(big.Int).Mul(a.big(), nBig)
		check("mulDiv", got, ok, want.Quo(want, dBig))
		if n/d < 1<<20 {
			want = new(big.Int).Lsh(nBig, fractionBits)
			check("ratio", fixedRatio(n, d), true, want.Quo(want, dBig))
		}
	})
}

// The exponential is compared with its own series in integers scaled by 2^400.
func TestExpNegAgainstSeries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := fixedGen(6).Draw(t, "x")
		got := expNeg(x).big()
		got.Lsh(got, slowBits-fractionBits)
		off := got.Sub(got, expSlow(x))
		if bound := new(big.Int).Lsh(big.NewInt(1), slowBits-96); off.CmpAbs(bound) > 0 {
			t.Fatalf("exp(-%s/2^108) is off by %s/2^400", x.big(), off)
		}
	})
	if got := expNeg(fixedZero); got != fixedOne {
		t.Errorf("exp(0) = %v, want one", got)
	}
}

const slowBits = 400

// expSlow returns e^-x scaled: one over the series of e^(x/1024) to the power of 1024.
func expSlow(x fixed) *big.Int {
	one := new(big.Int).Lsh(big.NewInt(1), slowBits)
	s := new(big.Int).Lsh(x.big(), slowBits-fractionBits-10)
	sum, term := new(big.Int).Set(one), new(big.Int).Set(one)
	for n := int64(1); n < 60; n++ {
		term.Mul(term, s)
		term.Rsh(term, slowBits)
		term.Quo(term, big.NewInt(n))
		sum.Add(sum, term)
	}
	for range 10 {
		sum.Mul(sum, sum)
		sum.Rsh(sum, slowBits)
	}
	return one.Quo(one.Lsh(one, slowBits), sum)
}
