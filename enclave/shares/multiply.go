package shares

import (
	"encoding/binary"

	"surety/base/errs"
)

// correlate makes shares of products of bits and numbers, in both directions at once: bits[i] of
// ours with the i-th number of the other, and numbers[i] of ours with the i-th bit of the other,
// which there are others. It returns our shares of each, modulo 2^64. Bits are bytes of zero or one.
func (p *party) correlate(bits []byte, numbers []uint64) (ofBits, ofNumbers []uint64, err error) {
	c := &correlation{party: p, bits: bits, numbers: numbers,
		ofBits: make([]uint64, len(bits)), ofNumbers: make([]uint64, len(numbers)),
		ours: p.newHash(p.role, p.uses), theirs: p.newHash(p.role.Other(), p.uses)}
	p.uses++
	p.transfers += int64(len(bits) + len(numbers))
	chunks := (max(len(bits), len(numbers)) + chunkTransfers - 1) / chunkTransfers
	// Three stages, each a window behind the one before it: choices out, offers back, shares. The
	// other is in the same step or within a window of it, and so sends in the order we receive in.
	for step := range chunks + 2*window {
		if step < chunks {
			c.choose(step)
		}
		if at := step - window; at >= 0 && at < chunks {
			if err := c.offer(at); err != nil {
				return nil, nil, err
			}
		}
		if at := step - 2*window; at >= 0 && at < chunks {
			if err := c.open(at); err != nil {
				return nil, nil, err
			}
		}
	}
	return c.ofBits, c.ofNumbers, nil
}

// correlation is one call of correlate.
type correlation struct {
	*party
	bits         []byte
	numbers      []uint64
	ofBits       []uint64
	ofNumbers    []uint64
	ours, theirs *hash
	keys         [2*window + 1][]block // of our bits, until they are opened
	buffer       []byte
	offered      []block
}

// chunk returns which of n transfers are in a chunk.
func chunk(at, n int) (begin, end int) {
	return min(at*chunkTransfers, n), min((at+1)*chunkTransfers, n)
}

// choose sends the masked choices of a chunk.
func (c *correlation) choose(at int) {
	begin, end := chunk(at, len(c.bits))
	if begin == end {
		return
	}
	slot := &c.keys[at%len(c.keys)]
	*slot = resize(*slot, words(end-begin)*64)
	m := c.wire.message(kindExtend, extensionBytes(end-begin))
	c.chooser.extend(c.bits[begin:end], m[headerBytes:], *slot)
	c.wire.send(m)
}

// offer answers the other's choices of a chunk with our numbers, each masked by both keys.
func (c *correlation) offer(at int) error {
	begin, end := chunk(at, len(c.numbers))
	if begin == end {
		return nil
	}
	c.buffer = resize(c.buffer, extensionBytes(end-begin))
	if err := c.wire.receive(kindExtend, c.buffer); err != nil {
		return err
	}
	c.offered = resize(c.offered, words(end-begin)*64)
	c.offerer.extend(c.buffer, c.offered)
	m := c.wire.message(kindOffer, (end-begin)*8)
	for i, v := range c.numbers[begin:end] {
		key := c.offered[i]
		zero := c.theirs.of(key)
		one := c.theirs.of(key.xor(c.offerer.difference))
		binary.LittleEndian.PutUint64(m[headerBytes+i*8:], zero-one+v)
		c.ofNumbers[begin+i] = -zero
	}
	c.wire.send(m)
	return nil
}

// open takes from the other's answer what our bits chose.
func (c *correlation) open(at int) error {
	begin, end := chunk(at, len(c.bits))
	if begin == end {
		return nil
	}
	c.buffer = resize(c.buffer, (end-begin)*8)
	if err := c.wire.receive(kindOffer, c.buffer); err != nil {
		return err
	}
	keys := c.keys[at%len(c.keys)]
	for i, bit := range c.bits[begin:end] {
		offer := binary.LittleEndian.Uint64(c.buffer[i*8:])
		c.ofBits[begin+i] = c.ours.of(keys[i]) + offer&-uint64(bit)
	}
	return nil
}

// resize returns a slice of a length, in the same memory where it is enough.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// cells are both parties' cells as transfers: the keys that the bits of ours have chosen, and those
// that the bits of the other's have. The keys are used for one product after another, each with a
// hash of its own.
type cells struct {
	*party
	ours   *Matrix
	theirs int // columns of the other
	chosen []block
	offers []block
	buffer []byte
}

// keep transfers the choices of all cells.
func (p *party) keep(ours *Matrix) (*cells, error) {
	c := &cells{party: p, ours: ours, theirs: p.params.columns(p.role.Other())}
	chosen, offers := len(ours.cells)*cellBits, ours.rows*c.theirs*cellBits
	c.chosen, c.offers = make([]block, words(chosen)*64), make([]block, words(offers)*64)
	p.transfers += int64(chosen + offers)
	bits := make([]byte, chunkTransfers)
	chunks := (max(chosen, offers) + chunkTransfers - 1) / chunkTransfers
	for at := range chunks {
		if begin, end := chunk(at, chosen); begin < end {
			c.bits(begin, bits[:end-begin])
			m := p.wire.message(kindExtend, extensionBytes(end-begin))
			p.chooser.extend(bits[:end-begin], m[headerBytes:], c.chosen[begin:begin+words(end-begin)*64])
			p.wire.send(m)
		}
		if begin, end := chunk(at, offers); begin < end {
			c.buffer = resize(c.buffer, extensionBytes(end-begin))
			if err := p.wire.receive(kindExtend, c.buffer); err != nil {
				return nil, err
			}
			p.offerer.extend(c.buffer, c.offers[begin:begin+words(end-begin)*64])
		}
		p.report("transfer", at+1, chunks)
	}
	return c, nil
}

// bits writes the bits of our cells, cell by cell, the lowest first, from one on.
func (c *cells) bits(begin int, into []byte) {
	for i := range into {
		cell, place := (begin+i)/cellBits, (begin+i)%cellBits
		into[i] = byte(uint16(c.ours.cells[cell]) >> place & 1)
	}
}

// direction says what a vector has one number for.
type direction bool

const (
	forward  direction = false // a number for each column; a sum for each row
	backward direction = true  // a number for each row; a sum for each column
)

// sums are shares of both parties' products with their cells.
type sums struct {
	ours   []uint64 // of our cells
	theirs []uint64 // of the other's
}

// multiply returns our shares of each party's cells times a shared vector, modulo 2^64: of a vector
// over its columns (forward) or over the rows (backward). For each we give our share of the vector:
// for our own cells that takes no help, and of the other's we offer it to their bits. Only every
// stride-th row takes part; vectors and sums over rows have a number for each of those.
func (c *cells) multiply(d direction, stride int, own, others []uint64) (*sums, error) {
	s, rows := &sums{}, strided(c.ours.rows, stride)
	if d == forward {
		s.ours, s.theirs = make([]uint64, rows), make([]uint64, rows)
		c.ours.forward(stride, own, s.ours)
	} else {
		s.ours, s.theirs = make([]uint64, c.ours.columns), make([]uint64, c.theirs)
		c.ours.backward(stride, own, s.ours)
	}
	ours, theirs := c.newHash(c.role, c.uses), c.newHash(c.role.Other(), c.uses)
	c.uses++
	step := max(1, productBytes/(8*cellBits*max(1, c.ours.columns, c.theirs)))
	for begin := 0; begin < rows; begin += step {
		part := span{d, begin, min(begin+step, rows), stride}
		if c.theirs > 0 {
			c.offer(part, theirs, others, s.theirs)
		}
		if c.ours.columns > 0 {
			if err := c.open(part, ours, s.ours); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// strided is how many of some rows are every stride-th, from the first on.
func strided(rows, stride int) int { return (rows + stride - 1) / stride }

// span is a part of a product: rows begin to end of those that take part, every stride-th.
type span struct {
	direction          direction
	begin, end, stride int
}

// offer sends our numbers for the bits of the other's rows, masked by both keys of each, and adds
// our shares of the products to sums.
func (c *cells) offer(part span, h *hash, numbers, sums []uint64) {
	m := c.wire.message(kindOffer, (part.end-part.begin)*c.theirs*cellBits*8)
	payload := m[headerBytes:]
	for row := part.begin; row < part.end; row++ {
		key := row * part.stride * c.theirs * cellBits
		for column := range c.theirs {
			from, to := column, row
			if part.direction == backward {
				from, to = row, column
			}
			v, sum := numbers[from], uint64(0)
			for place := range cellBits {
				if place == cellBits-1 {
					v = -v // the sign's place counts negative
				}
				zero := h.of(c.offers[key])
				one := h.of(c.offers[key].xor(c.offerer.difference))
				binary.LittleEndian.PutUint64(payload, zero-one+v)
				payload, key = payload[8:], key+1
				sum -= zero
				v <<= 1
			}
			sums[to] += sum
		}
	}
	c.wire.send(m)
}

// open takes from the other's offer what the bits of our rows chose, and adds our shares to sums.
func (c *cells) open(part span, h *hash, sums []uint64) error {
	c.buffer = resize(c.buffer, (part.end-part.begin)*c.ours.columns*cellBits*8)
	if err := c.wire.receive(kindOffer, c.buffer); err != nil {
		return errs.Wrap(err, "rows %d to %d", part.begin, part.end)
	}
	payload := c.buffer
	for row := part.begin; row < part.end; row++ {
		key := row * part.stride * c.ours.columns * cellBits
		for column, cell := range c.ours.row(row * part.stride) {
			to, sum := row, uint64(0)
			if part.direction == backward {
				to = column
			}
			for place := range cellBits {
				chosen := -uint64(uint16(cell) >> place & 1)
				sum += h.of(c.chosen[key]) + binary.LittleEndian.Uint64(payload)&chosen
				payload, key = payload[8:], key+1
			}
			sums[to] += sum
		}
	}
	return nil
}
