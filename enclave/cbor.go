package enclave

import (
	"bytes"

	"github.com/fxamacker/cbor/v2"

	"surety/base/errs"
)

// encode returns the one encoding of a value: RFC 8949 section 4.2.1, with empty lists where there
// are none, so that no list and an empty one are the same.
func encode(value any) ([]byte, error) {
	options := cbor.CoreDetEncOptions()
	options.NilContainers = cbor.NilContainerAsEmpty
	options.TagsMd = cbor.TagsForbidden
	mode, err := options.EncMode()
	if err != nil {
		return nil, errs.As(errs.Internal, err, "enclave.encode: options")
	}
	data, err := mode.Marshal(value)
	return data, errs.As(errs.Invalid, err, "enclave.encode")
}

// decode reads what encode gives for a value of the type that into points to, and refuses every
// other bytes, kind Corrupt: what is decoded has to give the same bytes again.
func decode(data []byte, into any) error {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxNestedLevels:   maxNested,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
	}.DecMode()
	if err != nil {
		return errs.As(errs.Internal, err, "enclave.decode: options")
	}
	if err := mode.Unmarshal(data, into); err != nil {
		return errs.As(errs.Corrupt, err, "enclave.decode")
	}
	again, err := encode(into)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errs.New(errs.Corrupt, "enclave.decode: %d bytes are not in the deterministic form", len(data))
	}
	return nil
}
