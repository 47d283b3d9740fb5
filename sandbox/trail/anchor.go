package trail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"

	"surety/base/errs"
)

// DecodeAnchors reads heads in their JSON form: one array of objects, or objects one after another.
// Fields that a head does not have are passed over, so that an anchor may carry where it was noted.
// Errors: Invalid, with the number of the object.
func DecodeAnchors(data []byte) ([]Head, error) {
	data = bytes.TrimSpace(data)
	var heads []Head
	if bytes.HasPrefix(data, []byte("[")) {
		if err := json.Unmarshal(data, &heads); err != nil {
			return nil, errs.As(errs.Invalid, err, "trail.anchors")
		}
	} else {
		for in := json.NewDecoder(bytes.NewReader(data)); ; {
			var h Head
			err := in.Decode(&h)
			if err == io.EOF {
				break
			}
			if err != nil {
				return nil, errs.As(errs.Invalid, err, "trail.anchors: object %d", len(heads)+1)
			}
			heads = append(heads, h)
		}
	}
	for i, h := range heads {
		if h.Sandbox == "" || !isDigest(h.Head) || !isDigest(h.Seal) {
			return nil, errs.New(errs.Invalid,
				"trail.anchors: object %d has not sandbox, seq, and head and seal of 64 hex digits", i+1)
		}
	}
	return heads, nil
}

func isDigest(text string) bool {
	_, err := hex.DecodeString(text)
	return err == nil && len(text) == 2*sha256.Size
}
