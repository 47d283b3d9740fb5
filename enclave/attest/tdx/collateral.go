package tdx

import (
	"crypto/x509"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-tdx-guest/pcs"
	pb "github.com/google/go-tdx-guest/proto/tdx"
	"github.com/google/go-tdx-guest/verify"

	"surety/base/errs"
	"surety/enclave"
)

// Headers in which Intel sends the certificates of who signed a statement.
var chainHeaders = [...]string{"Tcb-Info-Issuer-Chain", "Sgx-Enclave-Identity-Issuer-Chain",
	"Sgx-Pck-Crl-Issuer-Chain"}

// Statement is where the collateral has the certificates that came with the answer from a URL: the
// answer itself stands at the URL. They are as the header had them, or in plain PEM.
func Statement(url, header string) string { return url + "#" + header }

// recorded answers the library from the collateral. It never goes anywhere.
type recorded map[string][]byte

// Get implements the library's getter.
func (r recorded) Get(address string) (map[string][]string, []byte, error) {
	body, found := r[address]
	if !found {
		return nil, nil, errs.New(errs.NotFound, "tdx.collateral: nothing recorded for %s", address)
	}
	headers := map[string][]string{}
	for _, name := range chainHeaders {
		if chain, found := r[Statement(address, name)]; found {
			headers[name] = []string{escaped(string(chain))}
		}
	}
	return headers, body, nil
}

// escaped returns the certificates as a header has them.
func escaped(chain string) string {
	if strings.Contains(chain, "-----BEGIN CERTIFICATE") {
		return url.QueryEscape(chain)
	}
	return chain
}

// status says how current the processor's firmware is by Intel's collateral: unknown where there is
// none for this processor, or where it is not in force. Collateral that does not hold is refused.
func status(q *pb.QuoteV4, e *pcs.PckExtensions, roots *x509.CertPool, collateral map[string][]byte,
	now time.Time) (enclave.TCB, error) {
	tcb := enclave.TCB{Version: version(q), Status: enclave.TCBUnknown}
	info, found := collateral[pcs.TcbInfoURL(e.FMSPC)]
	if !found {
		return tcb, nil
	}
	begun, err := dates(&tcb, info, collateral[pcs.QeIdentityURL()])
	if err != nil {
		return tcb, err
	}
	if now.Unix() < begun || now.Unix() >= tcb.CollateralEnds {
		return tcb, nil
	}
	err = verify.TdxQuote(q, &verify.Options{Now: now, TrustedRoots: roots, GetCollateral: true,
		CheckRevocations: true, Getter: recorded(collateral)})
	if err == nil {
		tcb.Status = enclave.TCBUpToDate
		return tcb, nil
	}
	if found := levelOf(err.Error()); found != 0 {
		tcb.Status = found
		return tcb, nil
	}
	return tcb, refuse(err, "Intel's collateral")
}

// levelOf returns the status that the library found and calls an error; zero where the error is
// another. The library gives it no other form; what is not known word for word is refused.
func levelOf(text string) enclave.TCBStatus {
	const before = ` Status is not "UpToDate", found "`
	_, after, found := strings.Cut(text, before)
	if !found {
		return 0
	}
	level, rest, closed := strings.Cut(after, `"`)
	if !closed || rest != "" {
		return 0
	}
	switch pcs.TcbComponentStatus(level) {
	case pcs.TcbComponentStatusRevoked:
		return enclave.TCBRevoked
	case pcs.TcbComponentStatusOutOfDate, pcs.TcbComponentStatusOutOfDateConfigurationNeeded,
		pcs.TcbComponentStatusSwHardeningNeeded, pcs.TcbComponentStatusConfigurationNeeded,
		pcs.TcbComponentStatusConfigurationAndSWHardeningNeeded:
		return enclave.TCBOutOfDate
	}
	return 0
}

// dates sets the age of the older statement and the end of the one that ends first, and returns when
// both have begun. Their signatures are verified afterwards.
func dates(tcb *enclave.TCB, info, identity []byte) (begun int64, err error) {
	if len(info)+len(identity) > maxCollateral {
		return 0, errs.New(errs.Forbidden, "tdx.verify: collateral of %d bytes, the limit is %d",
			len(info)+len(identity), maxCollateral)
	}
	var levels pcs.TdxTcbInfo
	if err := json.Unmarshal(info, &levels); err != nil {
		return 0, refuse(err, "Intel's collateral: TCB info")
	}
	var quoting pcs.QeIdentity
	if err := json.Unmarshal(identity, &quoting); err != nil {
		return 0, refuse(err, "Intel's collateral: identity of the quoting enclave")
	}
	at := [...]int64{levels.TcbInfo.IssueDate.Unix(), quoting.EnclaveIdentity.IssueDate.Unix()}
	tcb.CollateralAt = min(at[0], at[1])
	tcb.CollateralEnds = min(levels.TcbInfo.NextUpdate.Unix(),
		quoting.EnclaveIdentity.NextUpdate.Unix())
	return max(at[0], at[1]), nil
}

// maxCollateral bounds the statements that are parsed, in bytes: Intel's take some 20,000.
const maxCollateral = 1 << 20
