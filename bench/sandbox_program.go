package bench

import "encoding/binary"

// The smallest programs there are: what is measured is the sandbox, and not what a run time does
// before main. Each writes a word first.
const (
	sayAndExit = iota
	sayAndWait
	sayAndRepeat // every five milliseconds
)

// smallest is a static x86-64 ELF program of one segment that writes word and goes on as told.
func smallest(word string, then int) []byte {
	const header, origin = 120, 0x400000
	after := [][]byte{
		{0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05}, // exit(0)
		{0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}, // pause(), for ever
		// nanosleep(time, 0), and again from the start
		{0xb8, 35, 0, 0, 0, 0x48, 0x8d, 0x3d, 0, 0, 0, 0, 0x31, 0xf6, 0x0f, 0x05, 0xeb, 0xd6},
	}[then]
	code := append([]byte{0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0, 0, 0, 0, // write(1,
		0xba, byte(len(word)), 0, 0, 0, 0x0f, 0x05}, after...) // word, its length)
	data := append([]byte(word), binary.LittleEndian.AppendUint64(make([]byte, 8), 5_000_000)...)
	binary.LittleEndian.PutUint32(code[13:], uint32(len(code)-17))
	if then == sayAndRepeat {
		binary.LittleEndian.PutUint32(code[32:], uint32(len(code)-36+len(word)))
	}
	size := uint64(header + len(code) + len(data))
	image := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, header-7)...)
	for _, field := range []struct {
		at    int
		value uint64
		width int
	}{{16, 2, 2}, {18, 62, 2}, {20, 1, 4}, {24, origin + header, 8}, {32, 64, 8}, {52, 64, 2},
		{54, 56, 2}, {56, 1, 2}, {58, 64, 2}, // the file: executable, x86-64, entry, one segment
		{64, 1, 4}, {68, 5, 4}, {80, origin, 8}, {88, origin, 8}, {96, size, 8}, {104, size, 8},
		{112, 4096, 8}} { // the segment: all of it, to be read and run
		for i := range field.width {
			image[field.at+i] = byte(field.value >> (8 * i))
		}
	}
	return append(append(image, code...), data...)
}
