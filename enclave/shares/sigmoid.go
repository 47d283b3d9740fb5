package shares

import "math"

// The sigmoid is a half and a sum of sines of odd multiples of the angle 2π·z/period. It is within
// SigmoidError of 1/(1+e^-z) for |z| up to SigmoidRange, mirrors there (so that 12 is taken for 4's
// value, 0.982, and not for one), and is a half again at twice that: log-odds of that size are not
// met with cells of variance one. sineTerms was fitted for the least greatest error.
const (
	// SigmoidRange is how great log-odds may be for SigmoidError to hold.
	SigmoidRange = 8
	// SigmoidError bounds the distance from the true sigmoid within the range. Rounding adds up to
	// half of 1/511 for each of the twelve factors of a row, of either sign: some 0.0003 on the whole.
	SigmoidError = 0.0004

	periodBits = 5 // of the period, 32: four times the range
	sines      = 6
	sineBits   = 10 // of a sine or cosine with its sign, in the chooser's part
	sineScale  = 1<<(sineBits-1) - 1
	rowBits    = 2 * sines * sineBits
)

// sineTerm returns the factor of the sine of angle 2k+1.
func sineTerm(k int) float64 {
	return [sines]float64{0.5980610354719524, 0.1264781766953371, 0.03607294692832162,
		0.010426764898886182, 0.0030841873893385744, 0.0009435872706222494}[k]
}

// sigmoid returns shares, with residualFraction bits of fraction, of the sigmoid of shared log-odds
// with oddsFraction bits. The angle of each row is the sum of two angles, one of each party's share,
// since the period divides the modulus; sin(a+b) = sin a·cos b + cos a·sin b. The parties choose in
// half of the rows each.
func (p *party) sigmoid(odds []uint64) ([]uint64, error) {
	sigmoids := make([]uint64, 0, len(odds))
	for begin := 0; begin < len(odds); begin += sigmoidRows {
		part, err := p.sigmoidPart(odds[begin:min(begin+sigmoidRows, len(odds))])
		if err != nil {
			return nil, err
		}
		sigmoids = append(sigmoids, part...)
	}
	return sigmoids, nil
}

func (p *party) sigmoidPart(odds []uint64) ([]uint64, error) {
	middle := (len(odds) + 1) / 2
	choosing, offering := odds[:middle], odds[middle:]
	if p.role == Passive {
		choosing, offering = offering, choosing
	}
	bits, numbers := make([]byte, 0, len(choosing)*rowBits), make([]uint64, 0, len(offering)*rowBits)
	for _, share := range choosing {
		bits = appendSineBits(bits, share)
	}
	for _, share := range offering {
		numbers = appendSineNumbers(numbers, share)
	}
	ofBits, ofNumbers, err := p.correlate(bits, numbers)
	if err != nil {
		return nil, err
	}
	first, second := sumRows(ofBits), sumRows(ofNumbers)
	if p.role == Passive {
		first, second = second, first
	}
	sigmoids := append(first, second...)
	if p.role == Active {
		for i := range sigmoids {
			sigmoids[i] += 1 << (residualFraction - 1)
		}
	}
	return sigmoids, nil
}

// angles returns sine and cosine of each odd multiple of a share's angle.
func angles(share uint64) (sine, cosine [sines]float64) {
	const turn = 1 << (oddsFraction + periodBits)
	angle := 2 * math.Pi * float64(share%turn) / turn
	s, c := math.Sincos(angle)
	s2, c2 := 2*s*c, c*c-s*s
	for k := range sines {
		sine[k], cosine[k] = s, c
		s, c = s*c2+c*s2, c*c2-s*s2
	}
	return sine, cosine
}

// appendSineBits appends the bits of the chooser's part of a row: each sine and cosine, rounded.
func appendSineBits(to []byte, share uint64) []byte {
	sine, cosine := angles(share)
	for k := range sines {
		for _, v := range [2]float64{sine[k], cosine[k]} {
			rounded := uint64(int64(math.Round(v * sineScale)))
			for place := range sineBits {
				to = append(to, byte(rounded>>place&1))
			}
		}
	}
	return to
}

// appendSineNumbers appends the other part of a row: what each bit of it is worth.
func appendSineNumbers(to []uint64, share uint64) []uint64 {
	sine, cosine := angles(share)
	for k := range sines {
		for _, v := range [2]float64{cosine[k], sine[k]} {
			worth := uint64(int64(math.Round(v * sineTerm(k) * (1 << residualFraction) / sineScale)))
			for range sineBits - 1 {
				to = append(to, worth)
				worth <<= 1
			}
			to = append(to, -worth)
		}
	}
	return to
}

// sumRows adds what belongs to one row.
func sumRows(parts []uint64) []uint64 {
	rows := make([]uint64, len(parts)/rowBits)
	for i := range rows {
		for _, part := range parts[i*rowBits : (i+1)*rowBits] {
			rows[i] += part
		}
	}
	return rows
}
