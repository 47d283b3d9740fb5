package enclave

// Check returns the first rule that makes no sense, by its JSON name: kind Invalid or TooLarge.
func (p *Policy) Check() error { panic("unimplemented") }

// Decide returns what the policy says to claims. The first check that does not pass, in the order
// of Results, is the result.
func (p *Policy) Decide(c *Claims, f Facts) Decision { panic("unimplemented") }

// Approval returns what an owner signs to approve that resources under this policy are released to
// a measurement. It covers the whole policy: a changed one has to be approved again.
func (p *Policy) Approval(measure Digest) ([]byte, error) { panic("unimplemented") }

// String returns the result as a sentence without its end.
func (r Result) String() string { panic("unimplemented") }
