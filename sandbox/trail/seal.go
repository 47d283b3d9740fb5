package trail

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sandbox"
)

// sealFormat is the version of a seal and of a header.
const sealFormat = 1

// sealContext begins what is signed, so that no signature of this key means anything else.
const sealContext = "surety sandbox audit seal v1\x00"

const sealFinal = 1 // the seal below the final record

// seal is a signed statement about all entries of a trail above it. Its payload:
//
//	u8 format  u8 bits: 1 final  u8 length of id  id
//	u64 number, from 1          u64 instant, ns since 1970
//	u64 last inside record      32 bytes chain head after it
//	u64 outside records so far
//	u64 entries since the last seal, with headers and fillers
//	32 bytes SHA-256 of their bytes
//	32 bytes SHA-256 of the last seal's payload, zeros for the first
//	64 bytes Ed25519 signature over the context and all of the above
type seal struct {
	sandbox string
	final   bool
	number  uint64
	at      clock.Instant
	chain   sandbox.Chain
	outside uint64
	entries uint64
	digest  sandbox.Digest
	prev    sandbox.Digest
}

func (s *seal) append(into []byte) []byte {
	bits := byte(0)
	if s.final {
		bits = sealFinal
	}
	into = append(into, sealFormat, bits, byte(len(s.sandbox)))
	into = append(into, s.sandbox...)
	for _, n := range [...]uint64{s.number, uint64(s.at), s.chain.Seq} {
		into = binary.LittleEndian.AppendUint64(into, n)
	}
	into = append(into, s.chain.Head[:]...)
	into = binary.LittleEndian.AppendUint64(into, s.outside)
	into = binary.LittleEndian.AppendUint64(into, s.entries)
	into = append(into, s.digest[:]...)
	return append(into, s.prev[:]...)
}

// sign returns the seal's payload.
func (s *seal) sign(k SigningKey) []byte {
	body := s.append(nil)
	return append(body, ed25519.Sign(k.private(), append([]byte(sealContext), body...))...)
}

// signed reports whether a seal's payload bears the key's signature.
func signed(payload []byte, k PublicKey) bool {
	body := payload[:len(payload)-ed25519.SignatureSize]
	return ed25519.Verify(k[:], append([]byte(sealContext), body...), payload[len(body):])
}

// decodeSeal reads a seal's payload; the signature is not looked at. Errors: Corrupt.
func decodeSeal(payload []byte) (seal, error) {
	f := fields{data: payload}
	s := seal{}
	s.sandbox, s.final = f.head(sealFinal)
	s.number, s.at = f.u64(), clock.Instant(f.u64())
	s.chain.Seq, s.chain.Head = f.u64(), f.digest()
	s.outside, s.entries = f.u64(), f.u64()
	s.digest, s.prev = f.digest(), f.digest()
	f.take(ed25519.SignatureSize)
	return s, f.end("seal")
}

// digestOf is what the next seal calls this one by.
func digestOf(payload []byte) sandbox.Digest { return sha256.Sum256(payload) }

// header begins a segment: it states the trail as it is there. Its payload:
//
//	u8 format  u8 bits: 0  u8 length of id  id
//	u64 number of the segment, from 1
//	u64 last inside record      32 bytes chain head after it
//	u64 outside records so far
//	u64 seals so far            32 bytes SHA-256 of the last seal's payload
//	32 bytes public key
type header struct {
	sandbox string
	segment uint64
	state   state
	key     PublicKey
}

func (h *header) append(into []byte) []byte {
	into = append(into, sealFormat, 0, byte(len(h.sandbox)))
	into = append(into, h.sandbox...)
	into = binary.LittleEndian.AppendUint64(into, h.segment)
	into = binary.LittleEndian.AppendUint64(into, h.state.chain.Seq)
	into = append(into, h.state.chain.Head[:]...)
	into = binary.LittleEndian.AppendUint64(into, h.state.outside)
	into = binary.LittleEndian.AppendUint64(into, h.state.seals)
	into = append(into, h.state.seal[:]...)
	return append(into, h.key[:]...)
}

// decodeHeader reads a header's payload. Errors: Corrupt.
func decodeHeader(payload []byte) (header, error) {
	f := fields{data: payload}
	h := header{}
	h.sandbox, _ = f.head(0)
	h.segment = f.u64()
	h.state.chain.Seq, h.state.chain.Head = f.u64(), f.digest()
	h.state.outside, h.state.seals, h.state.seal = f.u64(), f.u64(), f.digest()
	h.key = PublicKey(f.digest())
	return h, f.end("header")
}

// fields reads the numbers of a payload up to the first that is not there.
type fields struct {
	data []byte
	bad  bool
}

func (f *fields) take(n int) []byte {
	if f.bad = f.bad || n > len(f.data); f.bad {
		return make([]byte, n)
	}
	taken := f.data[:n]
	f.data = f.data[n:]
	return taken
}

// head reads format, bits and id; whether the one bit that is known is set.
func (f *fields) head(known byte) (string, bool) {
	start := f.take(3)
	f.bad = f.bad || start[0] != sealFormat || start[1]&^known != 0 || start[2] > MaxSandbox
	if f.bad {
		return "", false
	}
	return string(f.take(int(start[2]))), start[1] != 0
}

func (f *fields) u64() uint64            { return binary.LittleEndian.Uint64(f.take(8)) }
func (f *fields) digest() sandbox.Digest { return sandbox.Digest(f.take(32)) }

func (f *fields) end(what string) error {
	if f.bad || len(f.data) != 0 {
		return errs.New(errs.Corrupt, "not a %s of format %d", what, sealFormat)
	}
	return nil
}
