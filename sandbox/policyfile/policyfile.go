// Package policyfile reads and writes the YAML files that policies are kept in.
//
// A file is read strictly: an unknown key, a key that stands there twice, a value of the wrong sort,
// an anchor, an alias, a tag or a second document is an error that names the line. What the values
// mean is checked by sandbox.Compile; Compile here does both and names the line of the field.
//
// # Invariants
//
// Format writes what Parse reads back to the same policy, whatever strings are in it.
//
// # Boundaries
//
// It knows the form of the file and not the rules: those are in package sandbox. It opens no file.
//
// # Sources
//
// YAML 1.2.2. The keys are the tags of sandbox.Policy; docs/reference/sandbox-policy.md describes
// each.
package policyfile

import (
	"errors"

	"surety/sandbox"
	"surety/sys/plainyaml"
)

// MaxFile bounds a file in bytes: MaxRules rules with long paths fit, and nothing that would take
// seconds to read.
const MaxFile = 2 << 20

// Parse reads a policy. It checks the form of the file and that it says its version and mode, and
// nothing of what the rules mean. Errors: Invalid with the line, TooLarge.
func Parse(data []byte) (sandbox.Policy, error) {
	p, _, err := parse(data)
	return p, err
}

// Compile reads a policy and makes it ready to decide. Errors: those of Parse, and those of
// sandbox.Compile with the line of the field.
func Compile(data []byte) (sandbox.Policy, *sandbox.Compiled, error) {
	p, file, err := parse(data)
	if err != nil {
		return p, nil, err
	}
	compiled, err := sandbox.Compile(p)
	var field *sandbox.FieldError
	if errors.As(err, &field) {
		return p, nil, file.At(file.Find(field.Field), "%s: %s", field.Field, field.Text)
	}
	return p, compiled, err
}

func parse(data []byte) (sandbox.Policy, *plainyaml.File, error) {
	file, err := plainyaml.Parse("policy", data, MaxFile)
	if err != nil {
		return sandbox.Policy{}, nil, err
	}
	p := reader{file}.policy()
	switch {
	case file.Err() != nil:
		err = file.Err()
	case p.Version == "":
		err = file.At(file.Body, "key policy is missing: policy: v1")
	case p.Version != "v1":
		err = file.At(file.Find("policy"), "policy %q is not one of v1", p.Version)
	case p.Mode == "":
		err = file.At(file.Body, "key mode is missing: observe or enforce")
	}
	if err != nil {
		return sandbox.Policy{}, nil, err
	}
	return p, file, nil
}
