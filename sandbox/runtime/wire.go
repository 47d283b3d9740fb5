package runtime

import specs "github.com/opencontainers/runtime-spec/specs-go"

// wire gives the sandbox its network, where it has one of its own.
func (v *supervisor) wire(oci *specs.Spec) error { return nil }
