package vm

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"

	"surety/base/errs"
)

// kind says what a message on a port is. The numbers are those of one binary talking to itself: the
// guest runs the file that started it.
type kind uint8

const (
	hello   kind = 0 // every port: the guest's first, which waits until the host is there
	request kind = 1 // control: a call, in JSON
	answer  kind = 2 // control: its result, in JSON
	failure kind = 3 // control: its error, in JSON

	data   kind = 16 // stdio: bytes of a stream
	credit kind = 17 // stdio: how many bytes its reader has taken, u32
	closed kind = 18 // stdio: its writer has no more
	reset  kind = 19 // stdio: its reader takes no more

	records kind = 32 // trail: bytes of whole frames, cut anywhere
	taken   kind = 33 // trail: how many of them are stored, u32
	ended   kind = 34 // trail: there will be none after these
)

// message is one message: what it is, which call or stream it belongs to, and its bytes.
type message struct {
	kind    kind
	id      uint32
	payload []byte
}

// headerBytes is the length of a message's header:
//
//	u8 kind  u8[3] zero  u32 id  u32 length of the payload, little endian
const headerBytes = 12

// appendMessage adds the encoding of m to into.
func appendMessage(into []byte, m message) []byte {
	var h [headerBytes]byte
	h[0] = byte(m.kind)
	binary.LittleEndian.PutUint32(h[4:], m.id)
	binary.LittleEndian.PutUint32(h[8:], uint32(len(m.payload)))
	return append(append(into, h[:]...), m.payload...)
}

// readMessage reads one message. Errors: io.EOF between messages; Corrupt for a header that cannot
// be one; the port's own.
func readMessage(from io.Reader) (message, error) {
	var h [headerBytes]byte
	if _, err := io.ReadFull(from, h[:]); err != nil {
		return message{}, err
	}
	m := message{kind: kind(h[0]), id: binary.LittleEndian.Uint32(h[4:])}
	length := binary.LittleEndian.Uint32(h[8:])
	if h[1]|h[2]|h[3] != 0 || length > maxPayload {
		return message{}, errs.New(errs.Corrupt, "vm: a message of kind %d and %d bytes, limit %d",
			h[0], length, maxPayload)
	}
	m.payload = make([]byte, length)
	if _, err := io.ReadFull(from, m.payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return message{}, err
	}
	return m, nil
}

// port is one end of a virtio-serial port: messages go out whole.
type port struct {
	name string
	file io.ReadWriteCloser

	mu      sync.Mutex
	scratch []byte
}

// send writes one message. It blocks while the other end does not read.
func (p *port) send(m message) error {
	if len(m.payload) > maxPayload {
		return errs.New(errs.TooLarge, "vm: a message of %d bytes for port %s, limit %d",
			len(m.payload), p.name, maxPayload)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scratch = appendMessage(p.scratch[:0], m)
	_, err := p.file.Write(p.scratch)
	return errs.Wrap(err, "vm: port %s", p.name)
}

// sendNumber sends a message whose payload is n.
func (p *port) sendNumber(k kind, id, n uint32) error {
	return p.send(message{kind: k, id: id, payload: binary.LittleEndian.AppendUint32(nil, n)})
}

// number is the payload of a credit or taken message.
func (m message) number() (uint32, error) {
	if len(m.payload) != 4 {
		return 0, errs.New(errs.Corrupt, "vm: a message of kind %d with %d bytes, not 4", m.kind,
			len(m.payload))
	}
	return binary.LittleEndian.Uint32(m.payload), nil
}

// sendJSON sends body as the payload.
func (p *port) sendJSON(k kind, id uint32, body any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return errs.Wrap(err, "vm: encode for port %s", p.name)
	}
	return p.send(message{kind: k, id: id, payload: content})
}
