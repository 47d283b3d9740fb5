package state

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"surety/base/errs"
)

// A segment is a file of frames behind a header. Everything in it is sealed under a key of its own,
// which no other segment has: the header's random id is drawn anew for each one, and a segment is
// never written to again after a restart or an error. A frame's nonce is its offset.
//
//	header: magic 8, number 8, svn 8, volume 16, id 32
//	frame:  type 1, zero 3, length 4; ciphertext; tag 16
//
// All numbers are little-endian. Frame headers are not secret; they are authenticated with their
// frames. What the header of a segment says is proved by the first frame that opens.
const (
	magic       = "SURESTA1"
	headerBytes = len(magic) + 8 + 8 + 16 + 32
	frameHead   = 8
	tagBytes    = 16
	nonceBytes  = 12

	segmentSuffix = ".segment"
)

// The types of frames. A commit's body is some parts and an end, one behind the other.
const (
	frameChunk byte = 1
	framePart  byte = 2
	frameEnd   byte = 3
)

// header is what a segment begins with.
type header struct {
	number uint64
	svn    uint64
	volume [16]byte
	id     [32]byte
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerBytes)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.svn)
	b = append(b, h.volume[:]...)
	return append(b, h.id[:]...)
}

// decodeHeader reads what encode wrote; kind Corrupt otherwise.
func decodeHeader(b []byte) (h header, err error) {
	if len(b) != headerBytes || string(b[:len(magic)]) != magic {
		return h, errs.New(errs.Corrupt, "it does not begin as a segment does")
	}
	b = b[len(magic):]
	h.number = binary.LittleEndian.Uint64(b)
	h.svn = binary.LittleEndian.Uint64(b[8:])
	copy(h.volume[:], b[16:])
	copy(h.id[:], b[32:])
	return h, nil
}

// open returns the segment's cipher under the state's key of the header's SVN.
func (h *header) open(key [32]byte) (cipher.AEAD, error) {
	info := "surety state segment v1\x00" + string(h.encode())
	derived, err := hkdf.Key(sha256.New, key[:], h.id[:], info, 32)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "state: derive a key")
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "state: derive a key")
	}
	aead, err := cipher.NewGCM(block)
	return aead, errs.As(errs.Internal, err, "state: derive a key")
}

func segmentName(number uint64) string { return fmt.Sprintf("%016d%s", number, segmentSuffix) }

// segmentNumber reads what segmentName gives.
func segmentNumber(name string) (uint64, bool) {
	digits, found := strings.CutSuffix(name, segmentSuffix)
	number, err := strconv.ParseUint(digits, 10, 63)
	return number, found && err == nil && number > 0 && segmentName(number) == name
}

// frameBytes is what a frame of so much plaintext takes on disk.
func frameBytes(plain int) int64 { return int64(frameHead + plain + tagBytes) }

// sealFrame appends a frame that will stand at offset.
func sealFrame(b []byte, aead cipher.AEAD, kind byte, offset int64, plain []byte) []byte {
	var head [frameHead]byte
	head[0] = kind
	binary.LittleEndian.PutUint32(head[4:], uint32(len(plain)))
	b = append(b, head[:]...)
	return aead.Seal(b, nonceOf(offset), plain, head[:])
}

// openFrame returns the plaintext of a whole frame that stands at offset, into the frame's own
// memory; not ok where it is not what was sealed there.
func openFrame(frame []byte, aead cipher.AEAD, kind byte, offset int64) ([]byte, bool) {
	if len(frame) < frameHead+tagBytes || frame[0] != kind ||
		int(binary.LittleEndian.Uint32(frame[4:])) != len(frame)-frameHead-tagBytes {
		return nil, false
	}
	sealed := frame[frameHead:]
	plain, err := aead.Open(sealed[:0], nonceOf(offset), sealed, frame[:frameHead])
	return plain, err == nil
}

// nonceOf is unique within a segment, where each offset is written once.
func nonceOf(offset int64) []byte {
	nonce := make([]byte, nonceBytes)
	binary.LittleEndian.PutUint64(nonce, uint64(offset))
	return nonce
}
