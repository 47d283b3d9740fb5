// Package wire is what travels between the ledger's server and its clients: frames, their bodies,
// and the types that are not records of the core.
//
// A connection is a stream of frames in both directions. A frame is a header of fixed size and a
// body; the header says what is asked, under which number, how long the body is and what it sums up
// to. The first frame of a client is Hello with its token. After that it may send requests without
// waiting; answers bear the request's number and come in any order.
//
// Everything is little-endian. Records are the core's 128 bytes.
//
// # Invariants
//
// Every decoder takes any bytes: it returns a value or an error of kind Invalid or TooLarge, reads
// nothing beyond its input, and allocates no more than the input's length allows.
//
// # Boundaries
//
// No connection is opened or read here: package server and package client do that. Names are
// stored in the journal in the encoding of this package.
//
// docs/reference/protocol.md has the format byte by byte.
package wire

import (
	"encoding/binary"
	"hash/crc32"
	"io"

	"surety/base/errs"
	"surety/ledger"
)

// Op is what a frame asks or answers. The numbers are sent: never renumber.
type Op uint8

// The operations. Those below 16 change the ledger, and are the core's numbers.
const (
	OpCreateAccounts  Op = 1
	OpCreateTransfers Op = 2
	OpFreezes         Op = 3 // applies freezes and releases
	OpSetNames        Op = 4

	OpLookupAccounts   Op = 16
	OpLookupTransfers  Op = 17
	OpPendingStatuses  Op = 18
	OpAccountTransfers Op = 19
	OpAccountBalances  Op = 20
	OpQueryTransfers   Op = 21
	OpListAccounts     Op = 22
	OpClassTotals      Op = 23
	OpOpenFreezes      Op = 24
	OpResolveName      Op = 25
	OpNameOf           Op = 26
	OpEvents           Op = 27
	OpWaitEvents       Op = 28
	OpBatches          Op = 29
	OpStatus           Op = 30
	OpListNames        Op = 31

	OpHello  Op = 64 // the first frame of a connection
	OpCancel Op = 65 // the answer to the request of this number is not wanted any more
)

const (
	magic = 0x464c5253 // "SRLF"

	// Version is the protocol's. A server answers another with an error and closes.
	Version = 1

	// HeaderSize is the bytes of a frame's header.
	HeaderSize = 32

	// BodyMax bounds a frame's body: a full batch of records with some room for what stands
	// beside records in an answer.
	BodyMax = ledger.BatchMax*ledger.RecordSize + 256

	// TokenMax bounds the token in a Hello.
	TokenMax = 512

	// ErrorMax bounds the sentence in an answer that is an error.
	ErrorMax = 1024
)

// Header is what stands before a body.
type Header struct {
	Op      Op
	Failed  bool      // an answer whose body is an error's sentence
	Kind    errs.Kind // of that error
	Request uint64    // number that the client chose; the answer bears it too
	Size    uint32    // bytes of the body
	Sum     uint32    // crc32c of the body
}

const failedFlag = 1

// Encode returns the header's bytes.
func (h *Header) Encode() [HeaderSize]byte {
	var b [HeaderSize]byte
	put := binary.LittleEndian
	put.PutUint32(b[0:], magic)
	b[4] = Version
	b[5] = byte(h.Op)
	if h.Failed {
		b[6] = failedFlag
		b[7] = byte(h.Kind)
	}
	put.PutUint64(b[8:], h.Request)
	put.PutUint32(b[16:], h.Size)
	put.PutUint32(b[20:], h.Sum)
	put.PutUint32(b[28:], Checksum(b[:28]))
	return b
}

// DecodeHeader is the inverse of Encode. Kind Invalid where the bytes are not a header of this
// version, TooLarge where the body is longer than BodyMax. The request's number is set, as far as
// it can be told, even then, so that the error can be answered.
func DecodeHeader(b *[HeaderSize]byte) (Header, error) {
	get := binary.LittleEndian
	if get.Uint32(b[0:]) != magic {
		return Header{}, errs.New(errs.Invalid, "wire: these are not frames of the ledger's protocol")
	}
	if b[4] != Version {
		return Header{}, errs.New(errs.Invalid, "wire: protocol version %d, this side speaks %d",
			b[4], Version)
	}
	if Checksum(b[:28]) != get.Uint32(b[28:]) {
		return Header{}, errs.New(errs.Invalid, "wire: a frame's header does not sum up")
	}
	h := Header{Op: Op(b[5]), Failed: b[6]&failedFlag != 0, Kind: errs.Kind(b[7]),
		Request: get.Uint64(b[8:]), Size: get.Uint32(b[16:]), Sum: get.Uint32(b[20:])}
	if b[6]&^failedFlag != 0 || get.Uint32(b[24:]) != 0 || !h.Failed && b[7] != 0 {
		return h, errs.New(errs.Invalid, "wire: a frame's header has bits that mean nothing")
	}
	if h.Size > BodyMax {
		return h, errs.New(errs.TooLarge, "wire: a body of %d bytes, the limit is %d", h.Size, BodyMax)
	}
	return h, nil
}

// CheckBody returns nil where the body is the one the header announces, kind Invalid otherwise.
func (h *Header) CheckBody(body []byte) error {
	if Checksum(body) != h.Sum {
		return errs.New(errs.Invalid, "wire: the body of frame %d does not sum up", h.Request)
	}
	return nil
}

// ReadHeader reads a header. io.EOF means that the other side closed between frames.
func ReadHeader(r io.Reader) (Header, error) {
	var b [HeaderSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Header{}, err
	}
	return DecodeHeader(&b)
}

// WriteFrame writes a header with the body's length and sum filled in, and the body, as one write
// where the body is short.
func WriteFrame(w io.Writer, h Header, body []byte) error {
	h.Size, h.Sum = uint32(len(body)), Checksum(body)
	head := h.Encode()
	if len(body) <= smallBody {
		_, err := w.Write(append(head[:], body...))
		return err
	}
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// smallBody is what is copied behind its header to save a system call.
const smallBody = 4096

// Checksum returns the crc32c of the bytes.
func Checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
