package evidence

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"surety/base/errs"
)

// Key is a log's public key: its name, which is the log's origin, and an Ed25519 key.
type Key struct {
	text     string
	verifier note.Verifier
}

// ParseKey reads a verifier key as C2SP signed-note writes it, "name+hash+base64"; space around it
// is ignored. Kind Invalid otherwise.
func ParseKey(text string) (Key, error) {
	trimmed := strings.TrimSpace(text)
	verifier, err := note.NewVerifier(trimmed)
	if err != nil {
		return Key{}, errs.As(errs.Invalid, err, "evidence.key")
	}
	return Key{text: trimmed, verifier: verifier}, nil
}

// Origin returns the name of the log whose key it is.
func (k Key) Origin() string { return k.verifier.Name() }

// String returns the key as ParseKey reads it.
func (k Key) String() string { return k.text }

// Checkpoint is what a log's signature fixes: its first Size records.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   Hash
	Signed string // the signed note it was read from
}

// OpenCheckpoint returns the checkpoint in a signed note. The error, kind Corrupt, says whether the
// key did not sign it, the signature does not match the text, or the text is not a checkpoint of
// the key's log. Signatures by others, witnesses among them, are ignored.
func OpenCheckpoint(signed string, key Key) (Checkpoint, error) {
	text, err := openNote(signed, key)
	if err != nil {
		return Checkpoint{}, err
	}
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] != key.Origin() {
		return Checkpoint{}, errs.New(errs.Corrupt, "not a checkpoint of log %q", key.Origin())
	}
	size, err := parseSize(lines[1])
	if err != nil {
		return Checkpoint{}, err
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(Hash{}) {
		return Checkpoint{}, errs.New(errs.Corrupt, "checkpoint: root is not a hash")
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: Hash(root), Signed: signed}, nil
}

// parseSize reads a count of records: decimal digits with no leading zero.
func parseSize(text string) (uint64, error) {
	size, err := strconv.ParseUint(text, 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != text {
		return 0, errs.New(errs.Corrupt, "size is not a number in its one form")
	}
	return size, nil
}

// openNote returns the text of a note that the key signed.
func openNote(signed string, key Key) (string, error) {
	if len(signed) > MaxNote {
		return "", errs.New(errs.Corrupt, "note has %d bytes, the limit is %d", len(signed), MaxNote)
	}
	opened, err := note.Open([]byte(signed), note.VerifierList(key.verifier))
	var unsigned *note.UnverifiedNoteError
	var forged *note.InvalidSignatureError
	switch {
	case errors.As(err, &unsigned):
		return "", errs.New(errs.Corrupt, "not signed by the trusted key %s", keyName(key))
	case errors.As(err, &forged):
		return "", errs.New(errs.Corrupt, "signature by %s does not match the text", keyName(key))
	case err != nil:
		return "", errs.As(errs.Corrupt, err, "not a signed note")
	}
	return opened.Text, nil
}

// keyName returns the key's name and hash, which tell keys apart in a message.
func keyName(key Key) string {
	name, _, _ := strings.Cut(key.text, "+")
	return name + "+" + hexOf(key.verifier.KeyHash())
}

func hexOf(n uint32) string {
	text := strconv.FormatUint(uint64(n), 16)
	return strings.Repeat("0", 8-len(text)) + text
}
