package joint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/sys/wallclock"
)

// Program is the name under which this binary is the program of a joint enclave.
const Program = "surety-joint"

// IsProgram reports whether the process was started as that program.
func IsProgram(argv []string) bool { return len(argv) > 0 && path.Base(argv[0]) == Program }

// Main computes what the contract at /contract says over the data at /data, writes the answer to
// standard output, and returns the exit status. Where it cannot, it writes no part of an answer, and
// why to standard error: in terms of rows and columns, never of values.
func Main([]string) int {
	err := serve(os.Stdout, wallclock.System().Now())
	if err != nil {
		fmt.Fprintln(os.Stderr, Program+":", err)
		return 1
	}
	return 0
}

func serve(to io.Writer, now clock.Instant) error {
	answer, err := Compute(os.DirFS(enclave.ContractTarget), os.DirFS(path.Clean(enclave.DataTarget)), now)
	if err != nil {
		return err
	}
	return answer.Write(to)
}

// Write writes the answer as one line of JSON.
func (a *Answer) Write(to io.Writer) error {
	encoded, err := json.Marshal(a)
	if err != nil {
		return errs.As(errs.Internal, err, "joint.answer")
	}
	_, err = to.Write(append(encoded, '\n'))
	return errs.As(errs.Unavailable, err, "joint.answer")
}

// ReadAnswer reads what Write gives and holds it against the contract that the enclave's measurement
// is bound to: kind Refused where the program worked under another, or tells somebody something
// else. Corrupt where it is no answer.
func ReadAnswer(data []byte, s enclave.SignedContract) (*Answer, error) {
	if len(data) > MaxAnswerBytes {
		return nil, errs.New(errs.TooLarge, "joint.answer: %d bytes, the limit is %d", len(data),
			MaxAnswerBytes)
	}
	a := &Answer{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(a); err != nil || decoder.More() || a.Format != 1 {
		return nil, errs.New(errs.Corrupt, "joint.answer: %d bytes are no answer", len(data))
	}
	if a.Contract != s.Digest {
		return nil, errs.New(errs.Refused, "joint.answer: it is under contract %s, not %s", a.Contract,
			s.Digest)
	}
	if len(a.Parties) != len(s.Contract.Parties) || len(a.Outputs) != len(s.Contract.Outputs) {
		return nil, errs.New(errs.Refused, "joint.answer: %d parties and %d outputs, want %d and %d",
			len(a.Parties), len(a.Outputs), len(s.Contract.Parties), len(s.Contract.Outputs))
	}
	return a, nil
}

// Account fills in what a receipt says of an answer: rows, inputs, model and outputs. It is kind
// Corrupt where the answer names no session or model. The caller adds who computed, and by whose
// word.
func (a *Answer) Account(r *enclave.Receipt) error {
	session, err := hex.DecodeString(a.Session)
	model, bad := hex.DecodeString(a.Model)
	if err != nil || bad != nil || len(session) != len(r.Session) || len(model) != len(r.Model) {
		return errs.New(errs.Corrupt, "joint.answer: session %.80q or model %.80q is none", a.Session, a.Model)
	}
	r.Session, r.Model = [32]byte(session), [32]byte(model)
	r.Contract, r.Rows = a.Contract, a.Rows
	for _, p := range a.Parties {
		r.Inputs = append(r.Inputs, enclave.ReceiptInput{Party: p.Party, Rows: p.Rows})
	}
	for i := range a.Outputs {
		o := &a.Outputs[i]
		r.Outputs = append(r.Outputs, enclave.ReceiptOutput{To: o.To, What: o.What, SHA256: o.Digest(),
			Rows: o.Rows})
	}
	return nil
}
