package shares

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
)

// block is a key of 128 bits.
type block struct{ lo, hi uint64 }

func (b block) xor(c block) block { return block{b.lo ^ c.lo, b.hi ^ c.hi} }

// bit returns bit i, the lowest first.
func (b block) bit(i int) int {
	if i < 64 {
		return int(b.lo >> i & 1)
	}
	return int(b.hi >> (i - 64) & 1)
}

// chooser is the side of an extension whose bits choose (Ishai, Kilian, Nissim and Petrank). It has
// both seeds of each base transfer.
type chooser struct{ streams [bases][2]cipher.Stream }

// offerer is the other side, which has one seed of each, and the bits that chose it.
type offerer struct {
	difference block // of the two keys of every transfer
	streams    [bases]cipher.Stream
}

func newChooser(pairs [bases][2]seed) *chooser {
	c := &chooser{}
	for i, pair := range pairs {
		c.streams[i] = [2]cipher.Stream{stream(pair[0]), stream(pair[1])}
	}
	return c
}

func newOfferer(choices block, seeds [bases]seed) *offerer {
	o := &offerer{difference: choices}
	for i, s := range seeds {
		o.streams[i] = stream(s)
	}
	return o
}

// stream expands a seed: AES-128 in counter mode.
func stream(s seed) cipher.Stream {
	return cipher.NewCTR(newCipher(s[:]), make([]byte, aes.BlockSize))
}

func newCipher(key []byte) cipher.Block {
	c, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // sixteen bytes are a key
	}
	return c
}

// extensionBytes is the length of the message that extends by so many transfers.
func extensionBytes(transfers int) int { return bases * words(transfers) * 8 }

// words is how many words of 64 bits hold so many bits.
func words(bits int) int { return (bits + 63) / 64 }

// extend makes as many transfers as there are choices (bytes of zero or one, which it does not
// keep). It fills masked, of extensionBytes, with the message to the offerer, and keys, of whole
// words, with the key that each choice opens.
func (c *chooser) extend(choices []byte, masked []byte, keys []block) {
	width := words(len(choices)) * 8
	packed := make([]byte, width)
	for i, bit := range choices {
		packed[i/8] |= bit << (i % 8)
	}
	zero, columns := make([]byte, width), make([]byte, bases*width)
	for i := range bases {
		column, out := columns[i*width:(i+1)*width], masked[i*width:(i+1)*width]
		c.streams[i][0].XORKeyStream(column, zero)
		c.streams[i][1].XORKeyStream(out, column)
		for b, choice := range packed {
			out[b] ^= choice
		}
	}
	transpose(columns, width, keys)
}

// extend makes the transfers that the chooser's message asks for. It fills keys, of whole words,
// with the key for a choice of zero; that for one differs by o.difference.
func (o *offerer) extend(masked []byte, keys []block) {
	width := len(masked) / bases
	columns := make([]byte, bases*width)
	for i := range bases {
		column, in := columns[i*width:(i+1)*width], masked[i*width:(i+1)*width]
		keep := -byte(o.difference.bit(i))
		for b := range column {
			column[b] = in[b] & keep
		}
		o.streams[i].XORKeyStream(column, column)
	}
	transpose(columns, width, keys)
}

// transpose turns 128 columns of width bytes into rows: bit i of column j becomes bit j of row i.
func transpose(columns []byte, width int, rows []block) {
	var lo, hi [64]uint64
	for at := 0; at < width; at += 8 {
		for j := range 64 {
			lo[j] = binary.LittleEndian.Uint64(columns[j*width+at:])
			hi[j] = binary.LittleEndian.Uint64(columns[(64+j)*width+at:])
		}
		transpose64(&lo)
		transpose64(&hi)
		group := rows[at*8 : at*8+64]
		for i := range group {
			group[i] = block{lo[i], hi[i]}
		}
	}
}

// transpose64 transposes a square of bits, by squares of half the size at each step: after Warren,
// "Hacker's Delight", section 7-3, for the lowest bit first.
func transpose64(a *[64]uint64) {
	mask := uint64(0x00000000ffffffff)
	for half := 32; half > 0; half, mask = half/2, mask^mask<<(half/2) {
		for i := 0; i < 64; i = (i + half + 1) &^ half {
			t := (a[i]>>half ^ a[i+half]) & mask
			a[i] ^= t << half
			a[i+half] ^= t
		}
	}
}

// hash makes numbers of keys: correlation robust, one function for each product (Guo, Katz, Wang
// and Yu, section 7.2). It is not for concurrent use.
type hash struct {
	cipher  cipher.Block
	in, out [aes.BlockSize]byte
}

// newHash returns the function of one product in one direction, which nothing else uses.
func (p *party) newHash(chooser Role, use uint64) *hash {
	h := sha256.New()
	h.Write([]byte(hashDomain))
	h.Write(p.session[:])
	h.Write([]byte{byte(chooser)})
	h.Write(binary.BigEndian.AppendUint64(nil, use))
	return &hash{cipher: newCipher(h.Sum(nil)[:16])}
}

// of returns 64 bits of π(σ(key)) ⊕ σ(key), where σ(l‖h) is (l⊕h)‖l.
func (h *hash) of(key block) uint64 {
	mixed := key.lo ^ key.hi
	binary.LittleEndian.PutUint64(h.in[:], mixed)
	binary.LittleEndian.PutUint64(h.in[8:], key.lo)
	h.cipher.Encrypt(h.out[:], h.in[:])
	return binary.LittleEndian.Uint64(h.out[:]) ^ mixed
}
