package kernel

import (
	"bytes"
	"encoding/json"

	"surety/base/errs"
	"surety/sandbox"
)

// compile makes the policy of the settings ready to decide. A key it does not know is an error:
// a policy half understood is none.
func (s *settings) compile() (*sandbox.Compiled, error) {
	p, err := decodePolicy(s.Policy)
	if err != nil {
		return nil, err
	}
	if s.Mode != "" {
		p.Mode = s.Mode
	}
	if s.Level != "" {
		p.Audit = s.Level
	}
	return sandbox.Compile(p)
}

// decodePolicy reads a policy's canonical form; of no bytes, the zero policy.
func decodePolicy(text []byte) (sandbox.Policy, error) {
	var p sandbox.Policy
	if len(text) == 0 {
		return p, nil
	}
	from := json.NewDecoder(bytes.NewReader(text))
	from.DisallowUnknownFields()
	if err := from.Decode(&p); err != nil {
		return sandbox.Policy{}, errs.As(errs.Invalid, err, "kernel.policy")
	}
	if from.More() {
		return sandbox.Policy{}, errs.New(errs.Invalid, "kernel.policy: more than one value")
	}
	return p, nil
}
