package evidence

import (
	"bytes"
	"encoding/json"
	"io"

	"surety/base/errs"
)

// The form of a bundle.
const (
	BundleFormat  = "surety evidence bundle"
	BundleVersion = 1
)

// Bundle is a set of records with all it takes to check them away from the log, except the one
// thing that must come by another way: the key the reader trusts.
type Bundle struct {
	Format  string `json:"format"`  // BundleFormat
	Version int    `json:"version"` // BundleVersion
	Origin  string `json:"origin"`  // of the log
	// Key is the log's own claim of its key. Verify does not use it.
	Key        string `json:"key"`
	Checkpoint string `json:"checkpoint"` // signed note: the tree that all proofs lead to
	Statement  string `json:"statement"`  // signed note: see Statement
	// Earlier is a checkpoint that the reader may have kept; Consistency leads from it to
	// Checkpoint. Both are absent where nobody asked for them.
	Earlier     string        `json:"earlier,omitempty"`
	Consistency []Hash        `json:"consistency,omitempty"`
	Entries     []BundleEntry `json:"entries"` // by rising index
}

// BundleEntry is one record of a bundle.
type BundleEntry struct {
	Index  uint64 `json:"index"`  // in the log
	Record []byte `json:"record"` // its encoding
	Proof  []Hash `json:"proof"`  // inclusion in the tree of Checkpoint
	// Payload is absent where Withheld says why. An empty payload is present and empty.
	Payload  *[]byte `json:"payload,omitempty"`
	Withheld string  `json:"withheld,omitempty"`
	Inner    []Inner `json:"inner,omitempty"` // leaves of the Batch that Payload is
}

// Encode returns the bundle as JSON. A bundle past the limits is kind TooLarge.
func (b *Bundle) Encode() ([]byte, error) {
	if len(b.Entries) > MaxBundleEntries {
		return nil, errs.New(errs.TooLarge, "evidence.bundle: %d records, the limit is %d",
			len(b.Entries), MaxBundleEntries)
	}
	encoded, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return nil, errs.As(errs.Internal, err, "evidence.bundle")
	}
	if len(encoded) > MaxBundle {
		return nil, errs.New(errs.TooLarge, "evidence.bundle: %d bytes, the limit is %d",
			len(encoded), MaxBundle)
	}
	return append(encoded, '\n'), nil
}

// DecodeBundle reads a bundle, without checking that anything in it is true: Verify does. Kind
// Invalid where data is not a bundle or of a version this program does not know, TooLarge where it
// is past the limits.
func DecodeBundle(data []byte) (*Bundle, error) {
	if len(data) > MaxBundle {
		return nil, errs.New(errs.TooLarge, "evidence.bundle: %d bytes, the limit is %d",
			len(data), MaxBundle)
	}
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, errs.As(errs.Invalid, err, "evidence.bundle: not JSON")
	}
	if err := checkForm(head.Format, head.Version); err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var b Bundle
	if err := decoder.Decode(&b); err != nil {
		return nil, errs.As(errs.Invalid, err, "evidence.bundle")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errs.New(errs.Invalid, "evidence.bundle: something follows the bundle")
	}
	if len(b.Entries) > MaxBundleEntries {
		return nil, errs.New(errs.TooLarge, "evidence.bundle: %d records, the limit is %d",
			len(b.Entries), MaxBundleEntries)
	}
	return &b, nil
}

func checkForm(format string, version int) error {
	if format != BundleFormat {
		return errs.New(errs.Invalid, "evidence.bundle: format is not %q", BundleFormat)
	}
	if version != BundleVersion {
		return errs.New(errs.Invalid, "evidence.bundle: version %d, known is %d", version, BundleVersion)
	}
	return nil
}
