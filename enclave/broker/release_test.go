package broker_test

import (
	"context"
	"testing"

	"surety/base/errs"
	"surety/enclave"
)

// TestRelease takes a secret through the whole exchange and finds its record.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	w.put("bank", "key", "model", "the secret", w.machine.policy())
	b := newBuild(t, w.machine, signerKey, nil)
	s := w.attest(b)
	secret, err := s.Release(context.Background(), "bank/key/model")
	if err != nil || string(secret) != "the secret" {
		t.Fatalf("got %q, %v", secret, err)
	}
	o := w.newest()
	if o.Act != "released" || o.Tenant != "bank" || o.Resource != "bank/key/model" ||
		o.Measure != b.Measure() || o.Guarantee != enclave.Simulated || o.TEE != enclave.Sim ||
		o.Signer != id(signerKey) || o.Product != "credit" || o.SVN != 4 || o.Reason != "" ||
		o.Policy != "bank/key/model" || len(o.Checks) == 0 {
		t.Errorf("the record is %+v", o)
	}
	if got := s.Releases(); len(got) != 1 || got[0].Record != o.ID {
		t.Errorf("the session says %v, the record is %s", got, o.ID)
	}
	if _, err := s.Release(context.Background(), "bank/key"); !errs.Is(err, errs.Invalid) {
		t.Errorf("got %v", err)
	}
}
