package sev

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-sev-guest/abi"
	"github.com/google/go-sev-guest/kds"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
)

// cloud is a chain of the shape that a cloud's key has: VLEK, ASVK, ARK.
type cloud struct {
	authority *authority
	anchor    Anchor
	key       *ecdsa.PrivateKey
	leaf      *x509.Certificate
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	random := reader{entropy.System()}
	a, err := newAuthority(timeOf(simulatedAt), entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	asvkKey, err := rsa.GenerateKey(random, simBits)
	if err != nil {
		t.Fatal(err)
	}
	from := timeOf(simulatedAt).Add(-backdate)
	asvk, err := issue(signer(shaped("SEV-VLEK-"+simLabel), 4, from), a.root, asvkKey.Public(), a.rootKey,
		random)
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{authority: a, anchor: Anchor{line: simLine, label: simLabel, sim: true, root: a.root,
		below: asvk}}
	if c.key, err = ecdsa.GenerateKey(elliptic.P384(), random); err != nil {
		t.Fatal(err)
	}
	extensions := slices.DeleteFunc(chipExtensions(nil), func(e pkix.Extension) bool {
		return e.Id.Equal(kds.OidHwid)
	})
	name := []byte("cloud.example")
	for i := range extensions {
		if extensions[i].Id.Equal(kds.OidProductName1) { // a cloud's key is for a line, not a stepping
			extensions[i].Value = append([]byte{asn1.TagIA5String, 5}, "Milan"...)
		}
	}
	extensions = append(extensions, pkix.Extension{Id: kds.OidCspID,
		Value: append([]byte{asn1.TagIA5String, byte(len(name))}, name...)})
	c.leaf, err = issue(&x509.Certificate{SerialNumber: big.NewInt(5), Subject: shaped("SEV-VLEK"),
		NotBefore: from, NotAfter: timeOf(simulatedAt).AddDate(1, 0, 0),
		SignatureAlgorithm: x509.SHA384WithRSAPSS, ExtraExtensions: extensions}, asvk, c.key.Public(),
		asvkKey, random)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// report is one of the machine's with its signing key's kind set, signed by the cloud's key.
func (c *cloud) report(t *testing.T, info abi.SignerInfo) []byte {
	t.Helper()
	r, err := c.authority.report([64]byte{1}, [48]byte{2}, [32]byte{3}, reader{entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	put32(r, 0x48, abi.ComposeSignerInfo(info))
	signature, err := c.key.Sign(reader{entropy.System()}, sha384(abi.SignedComponent(r)), crypto.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	var parts struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &parts); err != nil {
		t.Fatal(err)
	}
	if err := abi.SetSignature(parts.R, parts.S, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// A report signed by a cloud's key is taken by the anchor of such keys, and by no other; a chip that
// is masked names no machine.
func TestReportsOfACloudsKey(t *testing.T) {
	c := newCloud(t)
	at := timeOf(simulatedAt)
	support := formatTable(named{abi.VlekGUID, c.leaf.Raw})
	for masked, chip := range map[bool]int{false: 64, true: 0} {
		r := c.report(t, abi.SignerInfo{SigningKey: abi.VlekReportSigner, MaskChipKey: masked})
		got, err := Verify(r, support, []Anchor{c.anchor}, nil, at)
		if err != nil || len(got.Chip) != chip || got.TEE != enclave.Sim {
			t.Errorf("masked %t: %+v %v", masked, got, err)
		}
	}
	r := c.report(t, abi.SignerInfo{SigningKey: abi.VlekReportSigner})
	root, err := Sim(c.authority.root.Raw)
	if err != nil {
		t.Fatal(err)
	}
	other := newCloud(t)
	cases := []struct {
		name    string
		report  []byte
		support []byte
		anchor  Anchor
		years   int
		says    string
	}{
		{"the anchor of chips' keys", r, append([]byte{}, formatTable(named{abi.VlekGUID, c.leaf.Raw},
			named{abi.AskGUID, c.authority.below.Raw})...), root, 0, "missing intermediate"},
		{"another cloud's anchor", r, support, other.anchor, 0, "unknown authority"},
		{"another cloud's certificate", r, formatTable(named{abi.VlekGUID, other.leaf.Raw}), other.anchor, 0,
			"signature verification"},
		{"said to be a chip's", c.report(t, abi.SignerInfo{SigningKey: abi.VcekReportSigner}), support,
			c.anchor, 0, "certificate of the VCEK"},
		{"expired, as such keys are after a year", r, support, c.anchor, 2, "expired"},
	}
	for _, s := range cases {
		t.Run(s.name, func(t *testing.T) {
			_, err := Verify(s.report, s.support, []Anchor{s.anchor}, nil, at.AddDate(s.years, 0, 0))
			if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), s.says) {
				t.Errorf("got %v, want %q", err, s.says)
			}
		})
	}
}
