package lending

import "math/bits"

// fixed is an unsigned fixed-point number of 128 bits, 108 of them after the point: it counts from
// zero to a million in steps of 3e-33. Products and quotients are cut off below, so that a result
// is at most one step under the exact one. It serves discount factors and the search for a rate;
// money is never held in it.
type fixed struct {
	hi, lo uint64
}

// fractionBits is the position of the point.
const fractionBits = 108

var (
	fixedZero = fixed{}
	fixedOne  = fixed{hi: 1 << (fractionBits - 64)}
	// fixedLn2 is ln 2 cut off after 108 bits.
	fixedLn2 = fixed{hi: 0xb17217f7d1c, lo: 0xf79abc9e3b39803f}
)

func fixedInt(n uint64) fixed { return fixed{hi: n << (fractionBits - 64)} }

// fixedRatio returns n/d cut off, for n/d below 2^20 and d below 2^63.
func fixedRatio(n, d uint64) fixed {
	// n x 2^108 / d by long division, a word at a time.
	const top = fractionBits - 64
	hi, mid := n>>(64-top), n<<top
	_, rest := bits.Div64(0, hi, d)
	q1, rest := bits.Div64(rest, mid, d)
	q0, _ := bits.Div64(rest, 0, d)
	return fixed{q1, q0}
}

func (a fixed) isZero() bool { return a.hi|a.lo == 0 }

func (a fixed) less(b fixed) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

// add returns a+b; the callers' bounds keep it below 2^20.
func (a fixed) add(b fixed) fixed {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return fixed{hi, lo}
}

// sub returns a-b, or zero where b is greater.
func (a fixed) sub(b fixed) fixed {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, borrow := bits.Sub64(a.hi, b.hi, borrow)
	if borrow != 0 {
		return fixed{}
	}
	return fixed{hi, lo}
}

func (a fixed) shiftRight(n uint) fixed {
	switch {
	case n == 0:
		return a
	case n >= 128:
		return fixed{}
	case n >= 64:
		return fixed{0, a.hi >> (n - 64)}
	}
	return fixed{a.hi >> n, a.lo>>n | a.hi<<(64-n)}
}

// mul returns a x b and whether it stays below 2^20.
func (a fixed) mul(b fixed) (product fixed, ok bool) {
	h1, _ := bits.Mul64(a.lo, b.lo)
	h2, l2 := bits.Mul64(a.hi, b.lo)
	h3, l3 := bits.Mul64(a.lo, b.hi)
	h4, l4 := bits.Mul64(a.hi, b.hi)
	w1, c := bits.Add64(h1, l2, 0)
	w2, c2 := bits.Add64(h2, l4, c)
	w3 := h4 + c2
	w1, c = bits.Add64(w1, l3, 0)
	w2, c2 = bits.Add64(w2, h3, c)
	w3 += c2
	// w3 w2 w1 are the upper words of the 256-bit product; drop 108 bits of the whole.
	const drop = fractionBits - 64
	return fixed{w2>>drop | w3<<(64-drop), w1>>drop | w2<<(64-drop)}, w3>>drop == 0
}

// mulInt returns a x n and whether it stays below 2^20.
func (a fixed) mulInt(n uint64) (product fixed, ok bool) {
	carry, lo := bits.Mul64(a.lo, n)
	over, hi := bits.Mul64(a.hi, n)
	hi, c := bits.Add64(hi, carry, 0)
	return fixed{hi, lo}, over+c == 0
}

// divInt returns a/n; n is not zero.
func (a fixed) divInt(n uint64) fixed {
	hi, rest := a.hi/n, a.hi%n
	lo, _ := bits.Div64(rest, a.lo, n)
	return fixed{hi, lo}
}

// div returns a/b and whether it stays below 2^20; b is not zero.
func (a fixed) div(b fixed) (quotient fixed, ok bool) {
	// The dividend is a x 2^108 in four words.
	const top = fractionBits - 64
	n3, n2, n1 := a.hi>>(64-top), a.hi<<top|a.lo>>(64-top), a.lo<<top
	if n3 > b.hi || n3 == b.hi && n2 >= b.lo {
		return fixed{}, false
	}
	if b.hi == 0 {
		q1, rest := bits.Div64(n2, n1, b.lo) // n3 is zero and n2 below b.lo
		q0, _ := bits.Div64(rest, 0, b.lo)
		return fixed{q1, q0}, true
	}
	s := uint(bits.LeadingZeros64(b.hi))
	d := fixed{b.hi<<s | b.lo>>(64-s), b.lo << s}
	n3, n2, n1 = n3<<s|n2>>(64-s), n2<<s|n1>>(64-s), n1<<s
	q1, rest := div3by2(n3, n2, n1, d)
	q0, _ := div3by2(rest.hi, rest.lo, 0, d)
	return fixed{q1, q0}, true
}

// div3by2 divides three words by two, of which the upper has its top bit set and which are greater
// than the upper two of the dividend (Knuth, volume 2, section 4.3.1, algorithm D).
func div3by2(u2, u1, u0 uint64, d fixed) (q uint64, rest fixed) {
	var r, carry uint64
	if u2 >= d.hi {
		q = ^uint64(0)
		r, carry = bits.Add64(u1, d.hi, 0)
	} else {
		q, r = bits.Div64(u2, u1, d.hi)
	}
	// The estimate is at most two too great.
	for carry == 0 {
		hi, lo := bits.Mul64(q, d.lo)
		if hi < r || hi == r && lo <= u0 {
			break
		}
		q--
		r, carry = bits.Add64(r, d.hi, 0)
	}
	hi, lo := bits.Mul64(q, d.lo)
	low, borrow := bits.Sub64(u0, lo, 0)
	high, _ := bits.Sub64(u1, hi+q*d.hi, borrow)
	return q, fixed{high, low}
}

// expSplits and expTerms set the accuracy of expNeg: its argument, below ln 2, is halved expSplits
// times, where twelve terms of the series leave an error under 2^-112; squaring back loses
// expSplits bits.
const (
	expSplits = 8
	expTerms  = 12
)

// expNeg returns e to the power of -x, with an error below 2^-96.
func expNeg(x fixed) fixed {
	// x = halvings x ln 2 + rest.
	halvings, ok := x.div(fixedLn2)
	if !ok {
		return fixed{}
	}
	n := halvings.hi >> (fractionBits - 64)
	whole, _ := fixedLn2.mulInt(n)
	s := x.sub(whole).shiftRight(expSplits)
	e := fixedOne
	for term := uint64(expTerms); term > 0; term-- {
		e, _ = e.mul(s)
		e = fixedOne.sub(e.divInt(term))
	}
	for range expSplits {
		e, _ = e.mul(e)
	}
	return e.shiftRight(uint(n))
}

// mulDiv returns a x n/d, cut off, and whether it stays below 2^20; d is not zero.
func (a fixed) mulDiv(n, d uint64) (result fixed, ok bool) {
	carry, lo := bits.Mul64(a.lo, n)
	top, mid := bits.Mul64(a.hi, n)
	mid, c := bits.Add64(mid, carry, 0)
	top += c
	if top >= d {
		return fixed{}, false
	}
	hi, rest := bits.Div64(top, mid, d)
	low, _ := bits.Div64(rest, lo, d)
	return fixed{hi, low}, true
}
