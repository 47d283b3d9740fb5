package launch

import (
	"surety/enclave"
)

// Proof says what a running enclave has shown, and to whom.
type Proof struct {
	TEE       enclave.TEE       `json:"tee"`
	Guarantee enclave.Guarantee `json:"guarantee"`
	Measure   enclave.Digest    `json:"measure"`
	Signer    enclave.KeyID     `json:"signer"`
	Name      string            `json:"name"`
	Product   string            `json:"product"`
	SVN       uint64            `json:"svn"`
	Debug     bool              `json:"debug"`
	Tokens    map[string]string `json:"tokens"` // appraisals, by broker
	Released  []Release         `json:"released"`
	Locked    bool              `json:"locked"` // no secret layer can be written to swap
}

// Release is one secret that was released to the enclave.
type Release struct {
	Broker   string `json:"broker"`
	Resource string `json:"resource"`
	Record   string `json:"record"` // of the broker's log
}

// Proof is what was shown on the way.
func (o *Opened) Proof() Proof {
	tee := o.order.Device.TEE()
	p := Proof{TEE: tee, Guarantee: tee.Guarantee(), Measure: o.measure, Signer: o.signer,
		Name: o.manifest.Name, Product: o.manifest.Product, SVN: o.manifest.SVN, Debug: o.manifest.Debug,
		Tokens: map[string]string{}, Released: []Release{}, Locked: o.locked()}
	for _, b := range o.manifest.Brokers {
		session := o.sessions[b.Name]
		if session == nil {
			continue
		}
		p.Tokens[b.Name] = session.Token()
		for _, r := range session.Releases() {
			p.Released = append(p.Released, Release{Broker: b.Name, Resource: r.Resource, Record: r.Record})
		}
	}
	return p
}

// Notice is what has to be said where an enclave is started, in one line.
func Notice(tee enclave.TEE) string {
	switch tee {
	case enclave.SNP:
		return "SEV-SNP: the processor encrypts memory; physical attacks and side channels are not covered."
	case enclave.TDX:
		return "TDX: the processor encrypts memory; physical attacks and side channels are not covered."
	case enclave.TPM:
		return "TPM: what this machine booted was measured. Memory is not encrypted: its operator can read " +
			"everything the program reads."
	}
	return "SIMULATED: no memory protection. The operator of this machine can read everything the " +
		"program reads."
}
