// Package tdx verifies quotes of Intel TDX.
//
// Think of a quote as a letter with three seals, one in the other. The first signs what runs in the
// virtual machine (the TD report) with an attestation key; the second is Intel's quoting enclave,
// whose own report vouches for that key; the third is the processor's certificate (PCK), which
// vouches for the quoting enclave and whose chain ends in Intel's root. All three are verified, and
// that the quoting enclave is Intel's.
//
// # Invariants
//
//   - Every byte of a quote is either covered by a signature or has the one value it can have.
//   - The chain ends in the root that is compiled in; no other can be given.
//   - Nothing is fetched: without collateral the status of the firmware is unknown.
//
// # Boundaries
//
// Signatures and Intel's collateral are go-tdx-guest's business (decision 0034), and no other package
// imports it. It reads quotes of version 4; one of version 5 is refused by name. Its parser trusts
// the lengths in a quote, so they are checked here before it sees them. The levels of Intel's
// collateral are tested piecewise: the recorded collateral is not that of the recorded machine.
//
// # Sources
//
// Intel TDX DCAP Quoting Library API, appendix 3 (quote format); Intel PCS API version 4; Intel TDX
// module ABI section 3.8 (TD attributes).
package tdx

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"time"

	"github.com/google/go-tdx-guest/abi"
	"github.com/google/go-tdx-guest/pcs"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/verify"

	"surety/base/errs"
	"surety/enclave"
)

// rootPEM is Intel's own root, SHA-256 44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3.
//
//go:embed intel_sgx_root_ca.pem
var rootPEM []byte

// qeSigner is the SHA-256 of the key that Intel signs quoting enclaves with, and qeProduct the number
// of the one for TDX: without them anybody's enclave on the platform could pose as Intel's, and
// nothing else says so where there is no collateral.
const (
	qeSigner  = "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"
	qeProduct = 2
)

// Root returns Intel's root.
func Root() (*x509.Certificate, error) {
	block, _ := pem.Decode(rootPEM)
	if block == nil {
		return nil, errs.New(errs.Internal, "tdx.root: no certificate is compiled in")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	return root, errs.As(errs.Internal, err, "tdx.root")
}

// RootID is the id of the root's key.
func RootID(root *x509.Certificate) enclave.KeyID { return sha256.Sum256(root.RawSubjectPublicKeyInfo) }

// Verify returns what a quote proves at the instant. collateral holds Intel's statements by URL, see
// Statement. The claims have no manifest; their launch measurement is the SHA-384 over MRTD and
// RTMR0 to RTMR2, and their host data MRCONFIGID. The error is kind Forbidden.
func Verify(quote []byte, root *x509.Certificate, collateral map[string][]byte, now time.Time,
) (*enclave.Claims, error) {
	if err := measureLengths(quote); err != nil {
		return nil, err
	}
	parsed, err := abi.QuoteToProto(quote)
	if err != nil {
		return nil, refuse(err, "the quote's form")
	}
	q, is := parsed.(*pb.QuoteV4)
	if !is {
		return nil, errs.New(errs.Forbidden, "tdx.verify: the quote is no version 4")
	}
	if again, err := abi.QuoteToAbiBytes(q); err != nil || !bytes.Equal(again, quote) {
		return nil, errs.New(errs.Forbidden, "tdx.verify: the quote has bytes that belong to no field")
	}
	pck, err := chainOf(q, root)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	if err := verify.TdxQuote(q, &verify.Options{Now: now, TrustedRoots: roots}); err != nil {
		return nil, refuse(err, "the quote's signatures")
	}
	if err := genuine(q); err != nil {
		return nil, err
	}
	extensions, err := pcs.PckCertificateExtensions(pck)
	if err != nil {
		return nil, refuse(err, "the processor's certificate")
	}
	tcb, err := status(q, extensions, roots, collateral, now)
	if err != nil {
		return nil, err
	}
	return claims(q, root, extensions, tcb)
}

// genuine sees that the quoting enclave and the TDX module are Intel's, and not made for debugging.
func genuine(q *pb.QuoteV4) error {
	qe := q.GetSignedData().GetCertificationData().GetQeReportCertificationData().GetQeReport()
	body := q.GetTdQuoteBody()
	switch {
	case hex.EncodeToString(qe.GetMrSigner()) != qeSigner || qe.GetIsvProdId() != qeProduct:
		return errs.New(errs.Forbidden, "tdx.verify: the quoting enclave is product %d of %x, want %d of %s",
			qe.GetIsvProdId(), qe.GetMrSigner(), qeProduct, qeSigner)
	case qe.GetAttributes()[0]&sgxDebug != 0:
		return errs.New(errs.Forbidden, "tdx.verify: the quoting enclave may be debugged")
	case !zero(body.GetMrSignerSeam()):
		return errs.New(errs.Forbidden, "tdx.verify: the TDX module is signed by %x, want Intel (zeros)",
			body.GetMrSignerSeam())
	case !zero(body.GetSeamAttributes()):
		return errs.New(errs.Forbidden, "tdx.verify: the TDX module has attributes %x, want none",
			body.GetSeamAttributes())
	}
	return nil
}

// Bits of attributes.
const (
	sgxDebug = 1 << 1 // ATTRIBUTES.DEBUG of an enclave
	tdDebug  = 0xff   // TUD: any of the first eight bits makes a TD open to its host
)

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

func claims(q *pb.QuoteV4, root *x509.Certificate, e *pcs.PckExtensions, tcb enclave.TCB,
) (*enclave.Claims, error) {
	body := q.GetTdQuoteBody()
	chip, err := hex.DecodeString(e.PPID)
	if err != nil {
		return nil, refuse(err, "the processor's id")
	}
	c := &enclave.Claims{TEE: enclave.TDX, Root: RootID(root), RootName: root.Subject.CommonName,
		Chip: chip, Platform: platform(body), PlatformDebug: body.GetTdAttributes()[0]&tdDebug != 0,
		HostData: bytes.Clone(body.GetMrConfigId()), TCB: tcb}
	copy(c.ReportData[:], body.GetReportData())
	return c, nil
}

// platform is one digest for all that was measured until the system ran: the firmware (MRTD), its
// configuration (RTMR0), the kernel (RTMR1), and its command line and initial file system (RTMR2).
func platform(body *pb.TDQuoteBody) []byte {
	sum := sha512.New384()
	sum.Write(body.GetMrTd())
	for _, register := range body.GetRtmrs()[:3] {
		sum.Write(register)
	}
	return sum.Sum(nil)
}

// version is the first half of TEE_TCB_SVN: the components that Intel numbers.
func version(q *pb.QuoteV4) uint64 {
	return binary.BigEndian.Uint64(q.GetTdQuoteBody().GetTeeTcbSvn())
}

func refuse(err error, format string, args ...any) error {
	return errs.As(errs.Forbidden, err, "tdx.verify: "+format, args...)
}
