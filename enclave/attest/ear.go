package attest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
)

// Profile names the format of our tokens: the profile of EAR that Veraison and Trustee read.
const Profile = "tag:github.com,2023:veraison/ear"

// submodule is the name that the appraised machine has in a token, as Trustee's have it.
const submodule = "cpu0"

// The statuses of an appraisal (AR4SI section 2.3.2). A reader takes the worst of a token's.
const (
	StatusNone            = "none"
	StatusAffirming       = "affirming"
	StatusWarning         = "warning"
	StatusContraindicated = "contraindicated"
)

// vector is the trustworthiness vector (AR4SI section 2.3.4): for each aspect a number whose tier is
// the status. Zero says nothing of an aspect.
type vector struct {
	Identity      int8 `json:"instance-identity"`
	Configuration int8 `json:"configuration"`
	Executables   int8 `json:"executables"`
	FileSystem    int8 `json:"file-system"`
	Hardware      int8 `json:"hardware"`
	Runtime       int8 `json:"runtime-opaque"`
	Storage       int8 `json:"storage-opaque"`
	Sourced       int8 `json:"sourced-data"`
}

// Numbers of the vector.
const (
	affirming        = 2  // recognised and in order
	bootOnly         = 3  // only what was booted is recognised
	unsafe           = 32 // weak, or open to being looked into
	contraindicated  = 96 // seen to be wrong
	unrecognised     = 97 // no hardware that anyone vouches for
	runtimeIsVisible = 96 // whoever runs the machine can read its memory
)

// annotated is what the evidence showed, under the claim that Veraison and Trustee use for it.
type annotated struct {
	TEE           enclave.TEE       `json:"tee"`
	Simulated     bool              `json:"simulated"`
	Guarantee     enclave.Guarantee `json:"guarantee"`
	Root          enclave.KeyID     `json:"root"`
	RootName      string            `json:"root_name"`
	Chip          string            `json:"chip,omitempty"`      // hexadecimal
	Platform      string            `json:"platform,omitempty"`  // hexadecimal: launch measurement
	HostData      string            `json:"host_data,omitempty"` // hexadecimal
	PlatformDebug bool              `json:"platform_debug"`
	Firmware      string            `json:"firmware"` // version, hexadecimal
	FirmwareState string            `json:"firmware_state"`
	ReportData    string            `json:"report_data"` // hexadecimal
	Measure       enclave.Digest    `json:"measure"`
	Signer        enclave.KeyID     `json:"signer"`
	Product       string            `json:"product"`
	SVN           uint64            `json:"svn"`
	Debug         bool              `json:"debug"`
	Result        enclave.Result    `json:"result"`
	Reason        string            `json:"reason"`
}

// appraisal is one submodule of an EAR (draft-ietf-rats-ear section 3.2).
type appraisal struct {
	Status   string    `json:"ear.status"`
	Vector   vector    `json:"ear.trustworthiness-vector"`
	Policy   string    `json:"ear.appraisal-policy-id"`
	Evidence annotated `json:"ear.veraison.annotated-evidence"`
	Key      string    `json:"ear.veraison.tee-pubkey"` // base64url: what the evidence was bound to
}

// verifierID says who appraised (draft-ietf-rats-ar4si section 3.3).
type verifierID struct {
	Developer string `json:"developer"`
	Build     string `json:"build"`
}

// claimSet is the payload of a token. tee, simulated and guarantee stand at the top besides, where
// nobody can miss them.
type claimSet struct {
	Profile   string               `json:"eat_profile"`
	Issuer    string               `json:"iss"`
	Issued    int64                `json:"iat"`
	NotBefore int64                `json:"nbf"`
	Expires   int64                `json:"exp"`
	ID        string               `json:"jti,omitempty"`
	Verifier  verifierID           `json:"ear.verifier-id"`
	TEE       enclave.TEE          `json:"tee"`
	Simulated bool                 `json:"simulated"`
	Guarantee enclave.Guarantee    `json:"guarantee"`
	Modules   map[string]appraisal `json:"submods"`
}

// Issuer signs appraisals: Entity Attestation Results (EAR) as JSON Web Tokens, algorithm EdDSA.
type Issuer struct {
	Name string // of the verifier, "iss"
	Key  ed25519.PrivateKey
}

// Issue returns the token of an appraisal, in force from now for the lifetime. key is what the
// evidence was bound to. Its id is a hash of all that it says. Kind Invalid where the lifetime is
// not positive or more than a day.
func (i Issuer) Issue(c *enclave.Claims, policy string, d enclave.Decision, key []byte,
	now clock.Instant, lifetime clock.Duration) (string, error) {
	if lifetime < clock.Second || lifetime > maxLifetime {
		return "", errs.New(errs.Invalid, "attest.issue: a lifetime of %d s, want 1 to %d",
			lifetime/clock.Second, maxLifetime/clock.Second)
	}
	if len(i.Key) != ed25519.PrivateKeySize {
		return "", errs.New(errs.Invalid, "attest.issue: a key of %d bytes, want %d", len(i.Key),
			ed25519.PrivateKeySize)
	}
	issued := seconds(now)
	set := claimSet{Profile: Profile, Issuer: i.Name, Issued: issued, NotBefore: issued,
		Expires: issued + int64(lifetime/clock.Second), Verifier: verifierID{"Surety", i.Name},
		TEE: c.TEE, Simulated: c.TEE == enclave.Sim, Guarantee: c.TEE.Guarantee(),
		Modules: map[string]appraisal{submodule: appraise(c, policy, d, key)}}
	unnamed, err := json.Marshal(set)
	if err != nil {
		return "", errs.As(errs.Internal, err, "attest.issue")
	}
	id := sha256.Sum256(unnamed)
	set.ID = hex.EncodeToString(id[:16])
	payload, err := json.Marshal(set)
	if err != nil {
		return "", errs.As(errs.Internal, err, "attest.issue")
	}
	return sign(i.Key, payload)
}

func seconds(at clock.Instant) int64 { return int64(uint64(at) / uint64(clock.Second)) }

// appraise says in EAR's words what was shown and decided.
func appraise(c *enclave.Claims, policy string, d enclave.Decision, key []byte) appraisal {
	a := appraisal{Status: status(c, d), Vector: judge(c, d), Policy: policy,
		Key: base64.RawURLEncoding.EncodeToString(key),
		Evidence: annotated{TEE: c.TEE, Simulated: c.TEE == enclave.Sim, Guarantee: c.TEE.Guarantee(),
			Root: c.Root, RootName: c.RootName, Chip: hex.EncodeToString(c.Chip),
			Platform: hex.EncodeToString(c.Platform), HostData: hex.EncodeToString(c.HostData),
			PlatformDebug: c.PlatformDebug, Firmware: hex.EncodeToString(bigEndian(c.TCB.Version)),
			FirmwareState: c.TCB.Status.String(), ReportData: hex.EncodeToString(c.ReportData[:]),
			Measure: c.Measure, Signer: c.Signer, Debug: c.Debug(), Result: d.Result,
			Reason: d.Result.String()}}
	if c.Manifest != nil {
		a.Evidence.Product, a.Evidence.SVN = c.Manifest.Product, c.Manifest.SVN
	}
	return a
}

func bigEndian(v uint64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(v >> (56 - 8*i))
	}
	return b
}

// status is the token's word: what was refused and what is simulated are contraindicated, what was
// admitted in spite of a flaw is a warning.
func status(c *enclave.Claims, d enclave.Decision) string {
	switch {
	case c.TEE == enclave.Sim || d.Result != enclave.Released:
		return StatusContraindicated
	case c.Debug() || c.TCB.Status != enclave.TCBUpToDate || c.TEE == enclave.TPM:
		return StatusWarning
	}
	return StatusAffirming
}

// judge fills in the vector. Of a simulation, the hardware is not recognised and its memory is open
// to whoever runs the machine, whatever else is in order.
func judge(c *enclave.Claims, d enclave.Decision) vector {
	v := vector{Identity: affirming, Configuration: affirming, Executables: bootOnly,
		Hardware: affirming, Runtime: affirming, Storage: affirming}
	if c.Manifest != nil {
		v.Executables, v.FileSystem = affirming, affirming
	}
	switch c.TCB.Status {
	case enclave.TCBUpToDate:
	case enclave.TCBRevoked:
		v.Hardware = contraindicated
	default:
		v.Hardware = unsafe
	}
	if c.Debug() {
		v.Configuration, v.Runtime = unsafe, unsafe
	}
	switch c.TEE {
	case enclave.Sim:
		v.Identity, v.Hardware, v.Runtime = unrecognised, unrecognised, runtimeIsVisible
	case enclave.TPM:
		v.Runtime = runtimeIsVisible // a TPM measures; it encrypts no memory
	}
	blame(&v, d.Result)
	return v
}

// blame marks the aspect that a refusal is about.
func blame(v *vector, r enclave.Result) {
	switch r {
	case enclave.RootRefused, enclave.ChipRefused:
		v.Identity = max(v.Identity, contraindicated)
	case enclave.MachineRefused, enclave.TCBRefused, enclave.CollateralExpired:
		v.Hardware = max(v.Hardware, contraindicated)
	case enclave.DebugRefused, enclave.HostDataRefused, enclave.ContractRefused,
		enclave.QuorumMissing, enclave.PolicyExpired:
		v.Configuration = contraindicated
	case enclave.PlatformRefused, enclave.ManifestMissing, enclave.MeasureRefused,
		enclave.SVNRefused, enclave.NotLogged:
		v.Executables = contraindicated
	}
}
