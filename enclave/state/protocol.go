package state

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"

	"surety/base/errs"
	"surety/enclave"
)

// The keeper of a state and the process that opens it talk over a socket: a length of four bytes,
// then JSON. The guest asks, the keeper answers each request once.
//
//	open      the keys, the limit, and what the anchor knows
//	opened    the state is open; or, with a text, why it is not
//	commit    tells the anchor of epoch and root
//	closed    the state is closed: epoch and root of its end
const (
	askOpen   = "open"
	askOpened = "opened"
	askCommit = "commit"
	askClosed = "closed"

	// maxMessage bounds both directions: a grant of maxKeys keys fits.
	maxMessage = 256 << 10
	// maxReason bounds the text of a refusal.
	maxReason = 1024
)

// request is what the guest asks.
type request struct {
	Ask   string         `json:"ask"`
	Epoch uint64         `json:"epoch,omitempty"`
	Root  enclave.Digest `json:"root"`
	Kind  errs.Kind      `json:"kind,omitempty"`
	Text  string         `json:"text,omitempty"`
}

// answer is the keeper's. An error has a text.
type answer struct {
	Kind  errs.Kind `json:"kind,omitempty"`
	Text  string    `json:"text,omitempty"`
	Grant *grant    `json:"grant,omitempty"`
}

// grant is what opens the state.
type grant struct {
	Keys     []grantedKey   `json:"keys"`
	Bytes    uint64         `json:"bytes"`
	Anchored bool           `json:"anchored"`
	Epoch    uint64         `json:"epoch"`
	Root     enclave.Digest `json:"root"`
}

type grantedKey struct {
	SVN uint64 `json:"svn"`
	Key []byte `json:"key"`
}

// err is what the answer says.
func (a *answer) err() error {
	if a.Text == "" {
		return nil
	}
	return errs.New(a.Kind, "%s", a.Text)
}

// send writes one message.
func send(conn net.Conn, message any) error {
	content, err := json.Marshal(message)
	if err != nil {
		return errs.As(errs.Internal, err, "state.keeper: encode")
	}
	if len(content) > maxMessage {
		return errs.New(errs.TooLarge, "state.keeper: a message of %d bytes, at most %d", len(content),
			maxMessage)
	}
	framed := append(binary.LittleEndian.AppendUint32(nil, uint32(len(content))), content...)
	defer clear(framed)
	defer clear(content)
	_, err = conn.Write(framed)
	return errs.As(errs.Unavailable, err, "state.keeper: send")
}

// receive reads one message. Kind Unavailable where the other side is gone, Invalid where it does
// not keep to the form.
func receive(conn io.Reader, into any) error {
	var head [4]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return errs.As(errs.Unavailable, err, "state.keeper: receive")
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length > maxMessage {
		return errs.New(errs.Invalid, "state.keeper: a message of %d bytes, at most %d", length,
			maxMessage)
	}
	content := make([]byte, length)
	defer clear(content)
	if _, err := io.ReadFull(conn, content); err != nil {
		return errs.As(errs.Unavailable, err, "state.keeper: receive")
	}
	if err := json.Unmarshal(content, into); err != nil {
		return errs.New(errs.Invalid, "state.keeper: a message that is none") // its text may be a key
	}
	return nil
}

// reasonOf is an error's text, cut to what a message takes.
func reasonOf(err error) string {
	text := err.Error()
	if len(text) > maxReason {
		text = text[:maxReason]
	}
	return text
}
