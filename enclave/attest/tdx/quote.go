package tdx

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"

	pb "github.com/google/go-tdx-guest/proto/tdx"

	"surety/base/errs"
)

// Sizes of the parts of a quote of version 4, in bytes, in their order.
const (
	headerBytes    = 48
	bodyBytes      = 584
	signatureBytes = 64
	keyBytes       = 64
	enclaveBytes   = 384 // report of the quoting enclave
)

// quoteVersion is the one that is read.
const quoteVersion = 4

// cursor walks through a quote by lengths alone.
type cursor struct {
	rest []byte
	bad  string // the first part that was cut short
}

func (c *cursor) skip(part string, n int) []byte {
	if c.bad == "" && n > len(c.rest) {
		c.bad = part
	}
	if c.bad != "" {
		return make([]byte, min(n, headerBytes))
	}
	skipped := c.rest[:n]
	c.rest = c.rest[n:]
	return skipped
}

// length reads a length of two or four bytes.
func (c *cursor) length(part string, size int) int {
	raw := c.skip(part, size)
	if size == 2 {
		return int(binary.LittleEndian.Uint16(raw))
	}
	return int(binary.LittleEndian.Uint32(raw))
}

// measureLengths sees that the lengths in a quote agree with its size and each other, so that the
// library's parser, which slices by them, stays within it.
func measureLengths(quote []byte) error {
	c := &cursor{rest: quote}
	header := c.skip("header", headerBytes)
	if v := binary.LittleEndian.Uint16(header); c.bad == "" && v != quoteVersion {
		return errs.New(errs.Forbidden, "tdx.verify: a quote of version %d; only version %d is read",
			v, quoteVersion)
	}
	c.skip("body", bodyBytes)
	signed := c.length("size of the signed data", 4)
	if c.bad == "" && signed > len(c.rest) {
		return errs.New(errs.Forbidden, "tdx.verify: %d bytes follow the body, and it says %d",
			len(c.rest), signed)
	}
	if c.bad == "" && !zero(c.rest[signed:]) {
		return errs.New(errs.Forbidden, "tdx.verify: what follows the %d signed bytes is not zero",
			signed)
	}
	c.rest = c.rest[:min(signed, len(c.rest))] // machines give their whole buffer
	c.skip("signature", signatureBytes)
	c.skip("attestation key", keyBytes)
	c.skip("kind of certification", 2)
	certification := c.length("size of the certification", 4)
	if c.bad == "" && certification != len(c.rest) {
		return errs.New(errs.Forbidden, "tdx.verify: a certification of %d bytes, and it says %d",
			len(c.rest), certification)
	}
	c.skip("quoting enclave's report", enclaveBytes)
	c.skip("quoting enclave's signature", signatureBytes)
	c.skip("authentication data", c.length("size of the authentication data", 2))
	c.skip("kind of certificates", 2)
	chain := c.length("size of the certificates", 4)
	if c.bad != "" {
		return errs.New(errs.Forbidden, "tdx.verify: a quote of %d bytes ends within its %s", len(quote),
			c.bad)
	}
	if chain != len(c.rest) {
		return errs.New(errs.Forbidden, "tdx.verify: certificates of %d bytes, and it says %d",
			len(c.rest), chain)
	}
	return nil
}

// chainOf returns the processor's certificate. The chain has to be three certificates in the one form
// that PEM has, the last of them Intel's root itself: whatever else stood there would be covered by
// no signature.
func chainOf(q *pb.QuoteV4, root *x509.Certificate) (*x509.Certificate, error) {
	text := q.GetSignedData().GetCertificationData().GetQeReportCertificationData().
		GetPckCertificateChainData().GetPckCertChain()
	var form, last []byte
	var leaf *x509.Certificate
	rest, count := text, 0
	for block, after := pem.Decode(rest); block != nil; block, after = pem.Decode(rest) {
		if count == 0 {
			var err error
			if leaf, err = x509.ParseCertificate(block.Bytes); err != nil {
				return nil, refuse(err, "the processor's certificate")
			}
		}
		form = append(form, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes})...)
		last, rest, count = block.Bytes, after, count+1
		if count > maxChain {
			break
		}
	}
	end := bytes.TrimSuffix(text, []byte{0})
	if count != maxChain || !bytes.Equal(end, form) && !bytes.Equal(end, bytes.TrimSuffix(form, newline)) {
		return nil, errs.New(errs.Forbidden, "tdx.verify: the certificates are not %d in the form of PEM",
			maxChain)
	}
	if !bytes.Equal(last, root.Raw) {
		return nil, errs.New(errs.Forbidden, "tdx.verify: the chain does not end in %s",
			root.Subject.CommonName)
	}
	return leaf, nil
}

// maxChain is how many certificates a chain has: processor, its authority, root.
const maxChain = 3

var newline = []byte{'\n'}
