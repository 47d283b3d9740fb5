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
