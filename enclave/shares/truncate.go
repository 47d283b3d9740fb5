package shares

// truncate drops the lowest bits of shared signed numbers, each of magnitude below 2^62: it returns
// shares of a number that is the quotient rounded down, or one less. Dropping the bits of each share
// alone would be wrong by 2^(64-bits) where the shares' sum wraps around; here the parties compute in
// shares whether it does.
func (p *party) truncate(numbers []uint64, bits int) ([]uint64, error) {
	const lift = 1 << 62 // makes the numbers positive
	positive := append([]uint64(nil), numbers...)
	if p.role == Active {
		for i := range positive {
			positive[i] += lift
		}
	}
	carries, err := p.carries(positive)
	if err != nil {
		return nil, err
	}
	wraps, err := p.arithmetic(carries)
	if err != nil {
		return nil, err
	}
	for i := range positive {
		positive[i] = positive[i]>>bits - wraps[i]<<(64-bits)
		if p.role == Active {
			positive[i] -= lift >> bits
		}
	}
	return positive, nil
}

// carries returns shares, under exclusive or, of whether each sum of the two parties' numbers wraps
// around 2^64. Neighbouring places join in pairs: a pair carries where its upper half does, or
// where that hands on and the lower half carries.
func (p *party) carries(numbers []uint64) ([]byte, error) {
	carry, on, err := p.places(numbers)
	for width := 64; err == nil && width > 1; width /= 2 {
		half := len(carry) / 2
		left, right := make([]byte, 0, 2*half), make([]byte, 0, 2*half)
		for i := range half {
			left = append(left, on[2*i+1], on[2*i+1])
			right = append(right, carry[2*i], on[2*i])
		}
		var both []byte
		both, err = p.and(left, right)
		for i := range both[:min(len(both), 2*half)/2] {
			carry[i], on[i] = carry[2*i+1]^both[2*i], both[2*i+1]
		}
		carry, on = carry[:half], on[:half]
	}
	return carry, err
}

// places returns shares, under exclusive or, of whether each place of each number carries by
// itself, and of whether it hands on a carry from below.
func (p *party) places(numbers []uint64) (carry, on []byte, err error) {
	on = make([]byte, 0, 64*len(numbers))
	for _, v := range numbers {
		for place := range 64 {
			on = append(on, byte(v>>place&1))
		}
	}
	left, right := on, make([]byte, len(on))
	if p.role == Passive {
		left, right = right, left
	}
	carry, err = p.and(left, right)
	return carry, on, err
}

// and returns shares, under exclusive or, of the products of bits that are shared so. What is a
// share modulo 2^64 is one modulo two.
func (p *party) and(left, right []byte) ([]byte, error) {
	numbers := make([]uint64, len(right))
	for i, bit := range right {
		numbers[i] = uint64(bit)
	}
	ofBits, ofNumbers, err := p.correlate(left, numbers)
	if err != nil {
		return nil, err
	}
	both := make([]byte, len(left))
	for i := range both {
		both[i] = left[i]&right[i] ^ byte((ofBits[i]+ofNumbers[i])&1)
	}
	return both, nil
}

// arithmetic returns shares modulo 2^64 of bits shared under exclusive or: their sum, less twice
// their product.
func (p *party) arithmetic(bits []byte) ([]uint64, error) {
	own := make([]uint64, len(bits))
	for i, bit := range bits {
		own[i] = uint64(bit)
	}
	var product []uint64
	var err error
	if p.role == Active {
		product, _, err = p.correlate(bits, nil)
	} else {
		_, product, err = p.correlate(nil, own)
	}
	if err != nil {
		return nil, err
	}
	for i := range own {
		own[i] -= 2 * product[i]
	}
	return own, nil
}
