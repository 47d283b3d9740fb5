package channel

import (
	"bytes"
	"encoding/binary"
	"testing"

	"surety/enclave"
)

// FuzzEvidence reads what a server may answer: it ends, takes no more memory than its limit, and gives
// evidence or an error.
func FuzzEvidence(f *testing.F) {
	e := enclave.Evidence{Format: enclave.EvidenceFormat, TEE: enclave.Sim, Report: []byte("report"),
		Purpose: enclave.ForChannel}
	data, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, answer []byte) {
		got, err := readEvidence(bytes.NewReader(answer))
		if (got == nil) == (err == nil) {
			t.Errorf("%v and %v", got, err)
		}
		if err != nil {
			return
		}
		again, err := got.Encode()
		if err != nil || !bytes.Equal(again, answer[4:4+len(again)]) {
			t.Errorf("another encoding was taken: %v", err)
		}
	})
}
