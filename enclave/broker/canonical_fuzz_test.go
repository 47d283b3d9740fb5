package broker

import (
	"bytes"
	"testing"
)

// FuzzCanonical sees that a canonical form is its own.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,{"x":"\u0001"}],"a":null}`))
	f.Add([]byte(`"\ud800"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := canonical(data)
		if err != nil {
			return
		}
		twice, err := canonical(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%q gives %q, and that %q, %v", data, once, twice, err)
		}
	})
}

// FuzzTrusteeEvidence sees that evidence of others' guests is read or refused, within the limits.
func FuzzTrusteeEvidence(f *testing.F) {
	for _, tee := range []string{"snp", "tdx", "sample", "sim", "tpm"} {
		f.Add(tee, []byte(`{"quote":"AA==","cc_eventlog":null}`))
		f.Add(tee, []byte(`{"attestation_report":[1,2],"cert_chain":[{"cert_type":"VCEK","data":[1]}]}`))
		f.Add(tee, []byte(`{"attestation_report":{"version":3,"policy":1,"signature":{"r":[1]}}}`))
	}
	f.Fuzz(func(t *testing.T, tee string, primary []byte) {
		e, err := trusteeEvidence(tee, primary)
		if err == nil && (len(e.Report) == 0 || string(e.TEE) != tee) {
			t.Errorf("%s %q gives %+v", tee, primary, e)
		}
	})
}
