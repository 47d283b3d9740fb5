// Package portable is floating-point arithmetic that gives the same bits on every machine.
//
// A credit decision is replayed years later, perhaps on another processor, and must come out the
// same. Go's own math.Exp and math.Log are written in assembly on some architectures and differ
// from the portable versions in the last bit; and a compiler may fuse x*y + z into one instruction
// that rounds once instead of twice. So whoever needs a transcendental function under lending/score
// takes it from here, and whoever multiplies two floats wraps the product in a conversion, which
// the language defines as a rounding: float64(x*y) + z.
//
// # Invariants
//
// Only addition, subtraction, multiplication, division and square root of IEEE 754 doubles are
// used, each rounded on its own, and the exact functions of package math that move bits or round to
// a whole number. A compiler may turn a division by a power of two into a product and fuse that,
// but such a product is exact, so nothing changes. TestFloatsAreWrittenPortably reads the source of
// every package under lending/score and holds it to that.
//
// # Sources
//
// Exp and Ln follow the published algorithms of FreeBSD's msun library (e_exp.c, e_log.c, Sun
// Microsystems, freely distributable): argument reduction by multiples of ln 2, then a rational or
// polynomial approximation whose error is below one unit in the last place. Stream is SplitMix64
// (Steele, Lea, Flood, OOPSLA 2014).
package portable

import "math"

const (
	ln2High = 6.93147180369123816490e-01 // the leading bits of ln 2: k*ln2High is exact for small k
	ln2Low  = 1.90821492927058770002e-10 // the rest of ln 2
	log2E   = 1.44269504088896338700e+00 // 1 / ln 2

	// ExpLimit bounds the argument of Exp on both sides; beyond it the answer is that of the bound.
	// It keeps the result a normal number, far from overflow and from zero.
	ExpLimit = 700.0
)

// Exp returns e to the power x, within one unit in the last place; x is first brought into
// [-ExpLimit, ExpLimit], so the answer is never zero and never infinite. Exp of NaN is NaN.
func Exp(x float64) float64 {
	const (
		p1 = 1.66666666666666657415e-01
		p2 = -2.77777777770155933842e-03
		p3 = 6.61375632143793436117e-05
		p4 = -1.65339022054652515390e-06
		p5 = 4.13813679705723846039e-08
	)
	if x != x {
		return x
	}
	x = min(max(x, -ExpLimit), ExpLimit)
	k := math.Floor(float64(x*log2E) + 0.5)
	high := x - float64(k*ln2High)
	low := float64(k * ln2Low)
	r := high - low
	t := float64(r * r)
	c := p4 + float64(t*p5)
	c = p3 + float64(t*c)
	c = p2 + float64(t*c)
	c = p1 + float64(t*c)
	c = r - float64(t*c)
	y := 1 - ((low - float64(r*c)/(2-c)) - high)
	return math.Ldexp(y, int(k))
}

// Ln returns the natural logarithm of x, within one unit in the last place, for x that is positive,
// finite and normal. Ln of anything else is NaN: callers keep their counts above zero.
func Ln(x float64) float64 {
	const (
		l1 = 6.666666666666735130e-01
		l2 = 3.999999999940941908e-01
		l3 = 2.857142874366239149e-01
		l4 = 2.222219843214978396e-01
		l5 = 1.818357216161805012e-01
		l6 = 1.531383769920937332e-01
		l7 = 1.479819860511658591e-01
	)
	if !(x >= 0x1p-1022) || x > math.MaxFloat64 {
		return math.NaN()
	}
	fraction, exponent := math.Frexp(x)
	if fraction < math.Sqrt2/2 {
		fraction, exponent = float64(2*fraction), exponent-1
	}
	f, k := fraction-1, float64(exponent)
	s := f / (2 + f)
	s2 := float64(s * s)
	s4 := float64(s2 * s2)
	odd := l5 + float64(s4*l7)
	odd = l3 + float64(s4*odd)
	odd = l1 + float64(s4*odd)
	even := l4 + float64(s4*l6)
	even = l2 + float64(s4*even)
	r := float64(s2*odd) + float64(s4*even)
	half := float64(float64(0.5*f) * f)
	tail := float64(s*(half+r)) + float64(k*ln2Low)
	return float64(k*ln2High) - ((half - tail) - f)
}

// Sigmoid returns 1 / (1 + e^-x), between 0 and 1 exclusive for |x| below 36.
func Sigmoid(x float64) float64 { return 1 / (1 + Exp(-x)) }

// Round returns the whole number nearest to x, ties to even, held within ±2^62 so that callers may
// add two of them. Round of NaN is 0.
func Round(x float64) int64 {
	const limit = 1 << 62
	r := math.RoundToEven(x)
	switch {
	case r != r:
		return 0
	case r > limit:
		return limit
	case r < -limit:
		return -limit
	}
	return int64(r)
}
