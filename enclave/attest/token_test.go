package attest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
)

const tokenAt = clock.Instant(1_750_000_000 * uint64(clock.Second))

func testIssuer() (Issuer, enclave.KeyID) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{6}, 32))
	return Issuer{"verifier", key}, enclave.KeyIDOf(key.Public().(ed25519.PublicKey))
}

func someClaims(tee enclave.TEE) *enclave.Claims {
	return &enclave.Claims{TEE: tee, Root: enclave.KeyID{1}, RootName: "root", Chip: []byte{1},
		Platform: []byte{2}, TCB: enclave.TCB{Version: 7, Status: enclave.TCBUpToDate},
		Manifest: &enclave.Manifest{Product: "credit", SVN: 3}, Measure: enclave.Digest{4},
		Signer: enclave.KeyID{5}}
}

func issue(t testing.TB, c *enclave.Claims, d enclave.Decision) string {
	t.Helper()
	i, _ := testIssuer()
	token, err := i.Issue(c, "policy", d, []byte("key"), tokenAt, clock.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokens(t *testing.T) {
	_, id := testIssuer()
	debug := someClaims(enclave.SNP)
	debug.PlatformDebug = true
	unknown := someClaims(enclave.TDX)
	unknown.TCB.Status = enclave.TCBUnknown
	refused := enclave.Decision{Result: enclave.SVNRefused}
	cases := []struct {
		name   string
		claims *enclave.Claims
		d      enclave.Decision
		status string
	}{
		{"hardware", someClaims(enclave.SNP), enclave.Decision{}, StatusAffirming},
		{"refused hardware", someClaims(enclave.TDX), refused, StatusContraindicated},
		{"hardware that may be looked into", debug, enclave.Decision{}, StatusWarning},
		{"hardware of unknown firmware", unknown, enclave.Decision{}, StatusWarning},
		{"a measured boot", someClaims(enclave.TPM), enclave.Decision{}, StatusWarning},
		{"a simulation", someClaims(enclave.Sim), enclave.Decision{}, StatusContraindicated},
		{"a refused simulation", someClaims(enclave.Sim), refused, StatusContraindicated},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := OpenToken(issue(t, c.claims, c.d), id, tokenAt)
			if err != nil {
				t.Fatal(err)
			}
			if got.Status != c.status || got.Result != c.d.Result || got.TEE != c.claims.TEE ||
				got.Simulated != (c.claims.TEE == enclave.Sim) || got.Debug != c.claims.Debug() ||
				got.Guarantee != c.claims.TEE.Guarantee() || got.SVN != 3 || got.Product != "credit" ||
				got.Measure != c.claims.Measure || got.Signer != c.claims.Signer || got.Policy != "policy" ||
				string(got.Key) != "key" || got.Issuer != "verifier" || len(got.ID) != 32 ||
				got.Expires-got.Issued != 60 {
				t.Errorf("%+v, want %s", got, c.status)
			}
		})
	}
}

// The claims have the names of the drafts, and a simulation's stand where nobody can miss them.
func TestClaimNames(t *testing.T) {
	token := issue(t, someClaims(enclave.Sim), enclave.Decision{})
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(payload, &all); err != nil {
		t.Fatal(err)
	}
	if all["eat_profile"] != "tag:github.com,2023:veraison/ear" || all["tee"] != "sim" ||
		all["simulated"] != true || all["guarantee"] != "simulated" {
		t.Errorf("%s", payload)
	}
	module := all["submods"].(map[string]any)["cpu0"].(map[string]any)
	vector := module["ear.trustworthiness-vector"].(map[string]any)
	if module["ear.status"] != "contraindicated" || vector["hardware"] != 97.0 ||
		vector["instance-identity"] != 97.0 || vector["runtime-opaque"] != 96.0 ||
		vector["executables"] != 2.0 || module["ear.appraisal-policy-id"] != "policy" ||
		module["ear.veraison.tee-pubkey"] != "a2V5" {
		t.Errorf("%s", payload)
	}
	for _, name := range []string{"iat", "nbf", "exp", "iss", "jti", "ear.verifier-id"} {
		if all[name] == nil {
			t.Errorf("no %s in %s", name, payload)
		}
	}
}

// Each refusal marks the aspect that it is about.
func TestVectorNamesWhatWasRefused(t *testing.T) {
	for result := enclave.PolicyExpired; result <= enclave.QuorumMissing; result++ {
		v := judge(someClaims(enclave.SNP), enclave.Decision{Result: result})
		if max(v.Identity, v.Hardware, v.Configuration, v.Executables) < contraindicated {
			t.Errorf("%s: %+v", result, v)
		}
	}
	revoked := someClaims(enclave.TDX)
	revoked.TCB.Status = enclave.TCBRevoked
	if v := judge(revoked, enclave.Decision{}); v.Hardware != contraindicated {
		t.Errorf("revoked firmware: %+v", v)
	}
}

func TestIssueRefuses(t *testing.T) {
	i, _ := testIssuer()
	c := someClaims(enclave.SNP)
	for _, lifetime := range []clock.Duration{0, -clock.Minute, maxLifetime + 1} {
		if _, err := i.Issue(c, "", enclave.Decision{}, nil, tokenAt, lifetime); !errs.Is(err, errs.Invalid) {
			t.Errorf("for %d: %v", lifetime, err)
		}
	}
	if _, err := (Issuer{Name: "x"}).Issue(c, "", enclave.Decision{}, nil, tokenAt, clock.Minute); !errs.
		Is(err, errs.Invalid) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := i.Issue(c, "", enclave.Decision{}, make([]byte, maxToken), tokenAt, clock.Minute); !errs.
		Is(err, errs.TooLarge) {
		t.Errorf("with a key of %d bytes: %v", maxToken, err)
	}
}

// forge signs a payload and a header as a token, after the editor had them.
func forge(t *testing.T, edit func(head, set map[string]any)) string {
	t.Helper()
	i, _ := testIssuer()
	parts := strings.Split(issue(t, someClaims(enclave.SNP), enclave.Decision{}), ".")
	var decoded [2]map[string]any
	for n := range decoded {
		raw, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(raw, &decoded[n]); err != nil {
			t.Fatal(err)
		}
	}
	edit(decoded[0], decoded[1])
	for n := range decoded {
		raw, err := json.Marshal(decoded[n])
		if err != nil {
			t.Fatal(err)
		}
		parts[n] = base64.RawURLEncoding.EncodeToString(raw)
	}
	signed := parts[0] + "." + parts[1]
	return signed + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(i.Key, []byte(signed)))
}

// Signed by the right key, and refused all the same.
func TestTokensThatAreRefused(t *testing.T) {
	_, id := testIssuer()
	module := func(set map[string]any) map[string]any {
		return set["submods"].(map[string]any)["cpu0"].(map[string]any)
	}
	cases := []struct {
		name string
		says string
		edit func(head, set map[string]any)
	}{
		{"as issued", "", func(_, _ map[string]any) {}},
		{"no algorithm", `algorithm "none"`, func(h, _ map[string]any) { h["alg"] = "none" }},
		{"another algorithm", `algorithm "HS256"`, func(h, _ map[string]any) { h["alg"] = "HS256" }},
		{"another type", "type", func(h, _ map[string]any) { h["typ"] = "JWE" }},
		{"another key id", "not the one that it names", func(h, _ map[string]any) { h["kid"] = "x" }},
		{"another field in the header", "unknown field", func(h, _ map[string]any) { h["crit"] = "x" }},
		{"another field", "unknown field", func(_, s map[string]any) { s["admin"] = true }},
		{"another profile", "profile", func(_, s map[string]any) { s["eat_profile"] = "x" }},
		{"no machine", "0 submodules", func(_, s map[string]any) { s["submods"] = map[string]any{} }},
		{"two machines", "2 submodules", func(_, s map[string]any) {
			s["submods"].(map[string]any)["gpu0"] = module(s)
		}},
		{"not in force yet", "in force from", func(_, s map[string]any) { s["nbf"] = 1.0 }},
		{"for ever", "in force from", func(_, s map[string]any) { s["exp"] = 4e9 }},
		{"from the future", "issued at 1750000061", func(_, s map[string]any) {
			s["iat"], s["nbf"], s["exp"] = 1750000061, 1750000061, 1750000100
		}},
		{"expired", "expired at 1749999999", func(_, s map[string]any) {
			s["iat"], s["nbf"], s["exp"] = 1749999990, 1749999990, 1749999999
		}},
		{"no kind of machine", "machine", func(_, s map[string]any) { s["tee"] = "sgx" }},
		{"two kinds of machine", "machine", func(_, s map[string]any) { s["tee"] = "tdx" }},
		{"simulated hardware", "machine", func(_, s map[string]any) { s["simulated"] = true }},
		{"a guarantee that is not its", "machine", func(_, s map[string]any) { s["guarantee"] = "math" }},
		{"an affirmed simulation", "a simulation with the status", func(_, s map[string]any) {
			s["tee"], s["simulated"], s["guarantee"] = "sim", true, "simulated"
			module(s)["ear.veraison.annotated-evidence"].(map[string]any)["tee"] = "sim"
		}},
		{"a key that is none", "key:", func(_, s map[string]any) {
			module(s)["ear.veraison.tee-pubkey"] = "a2V5="
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := OpenToken(forge(t, c.edit), id, tokenAt)
			if c.says == "" && err != nil || c.says != "" &&
				(!errs.Is(err, errs.Unauthorized) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestTokensOfAnotherForm(t *testing.T) {
	_, id := testIssuer()
	good := issue(t, someClaims(enclave.SNP), enclave.Decision{})
	for name, token := range map[string]string{
		"nothing": "", "two parts": "a.b", "four parts": good + ".x", "padded": good + "=",
		"with a line end": good + "\n", "too long": good + strings.Repeat("A", maxToken),
		"unsigned": good[:strings.LastIndex(good, ".")+1], "no header": good[strings.Index(good, "."):],
	} {
		if _, err := OpenToken(token, id, tokenAt); !errs.Is(err, errs.Unauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenToken(good, enclave.KeyID{1}, tokenAt); !errs.Is(err, errs.Unauthorized) ||
		!strings.Contains(err.Error(), "signed by key") {
		t.Errorf("another issuer: %v", err)
	}
	if _, err := OpenToken(good, id, tokenAt.Add(clock.Minute)); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("a minute later: %v", err)
	}
	for i := range good {
		changed := []byte(good)
		changed[i] ^= 1
		if _, err := OpenToken(string(changed), id, tokenAt); !errs.Is(err, errs.Unauthorized) {
			t.Errorf("character %d changed: %v", i, err)
		}
	}
}

func FuzzOpenToken(f *testing.F) {
	_, id := testIssuer()
	good := issue(f, someClaims(enclave.SNP), enclave.Decision{})
	f.Add(good)
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := OpenToken(token, id, tokenAt); err == nil && token != good {
			t.Errorf("taken: %q", token)
		} else if err != nil && !errs.Is(err, errs.Unauthorized) {
			t.Errorf("%v", err)
		}
	})
}

func BenchmarkToken(b *testing.B) {
	_, id := testIssuer()
	for b.Loop() {
		if _, err := OpenToken(issue(b, someClaims(enclave.Sim), enclave.Decision{}), id, tokenAt); err != nil {
			b.Fatal(err)
		}
	}
}
