package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"surety/base/errs"
	"surety/enclave/client"
)

// TestCanonical compares with what Trustee's attestation service hashes: its own test has the first
// row's SHA-384 (attestation-service/src/lib.rs, test parse_runtime_data); the others are of RFC 8785
// section 3.2.
func TestCanonical(t *testing.T) {
	text, err := canonical([]byte(`{"b": 1, "a": "test", "c": {"d": "e"}}`))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum384(text)
	const want = "e71ce8e70d814ba6639c3612ebee0ff1f76f650f8dbb5e47157e0f3f525cd22c4597480a186427c813ca941da78" +
		"870c3"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("%s hashes to %s, want %s", text, got, want)
	}
	rows := []struct{ in, out string }{
		{` { } `, `{}`},
		{`[ true, false , null, -7, 0 ]`, `[true,false,null,-7,0]`},
		{`"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/"`, "\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\""},
		{`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`,
			"{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\ufb33\":3}"},
	}
	for _, row := range rows {
		if got, err := canonical([]byte(row.in)); err != nil || string(got) != row.out {
			t.Errorf("%s: got %s, %v, want %s", row.in, got, err, row.out)
		}
	}
	for _, bad := range []string{``, `{`, `{"a":1,"a":2}`, `1.5`, `9007199254740993`, `-0`, `{} {}`,
		"\"\xff\"", `[[[[[[[[[[1]]]]]]]]]]`, `{"a"}`, `[1 2]`, `nul`} {
		if got, err := canonical([]byte(bad)); !errs.Is(err, errs.Invalid) {
			t.Errorf("%s: got %s, %v", bad, got, err)
		}
	}
}

// TestJWE seals to keys of Trustee's guests and opens as they do.
func TestJWE(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		private, public any
		algorithm       jose.KeyAlgorithm
	}{
		{p256, &p256.PublicKey, jose.ECDH_ES_A256KW}, {p521, &p521.PublicKey, jose.ECDH_ES_A256KW},
		{rsaKey, &rsaKey.PublicKey, jose.RSA_OAEP_256},
	} {
		jwk, err := jose.JSONWebKey{Key: row.public, Algorithm: string(row.algorithm)}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		seals, err := newJWESealer(jwk)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := seals.answer(nil, client.Context{}, "", []byte("the secret"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		var form map[string]string
		if err := json.Unmarshal(body, &form); err != nil || form["protected"] == "" ||
			form["encrypted_key"] == "" || form["iv"] == "" || form["tag"] == "" {
			t.Errorf("not a flattened JWE: %s, %v", body, err)
		}
		opened, err := jose.ParseEncryptedJSON(string(body), []jose.KeyAlgorithm{row.algorithm},
			[]jose.ContentEncryption{jose.A256GCM})
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := opened.Decrypt(row.private); err != nil || string(plain) != "the secret" {
			t.Errorf("%s: got %q, %v", row.algorithm, plain, err)
		}
	}
}

// TestJWKRefused takes no key that is weak, private, or for another algorithm.
func TestJWKRefused(t *testing.T) {
	small := rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 1023), E: 65537}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for says, key := range map[string]jose.JSONWebKey{
		"RSA of 1024 bits":       {Key: &small, Algorithm: "RSA-OAEP-256"},
		"want ECDH-ES+A256KW":    {Key: &p256.PublicKey, Algorithm: "ECDH-ES"},
		"want a public key":      {Key: p256, Algorithm: "ECDH-ES+A256KW"},
		"want a public key of k": {Key: []byte("symmetric symmetric symmetric !!"), Algorithm: "A256KW"},
	} {
		jwk, err := key.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newJWESealer(jwk); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q, got %v", says, err)
		}
	}
	if _, err := newJWESealer([]byte(`{"kty":"RSA","pad":"` + strings.Repeat("x", 5000) + `"}`)); !errs.Is(
		err, errs.TooLarge) {
		t.Errorf("got %v", err)
	}
}

// TestTrusteeEvidence reads the documented forms, and says of the others what they are.
func TestTrusteeEvidence(t *testing.T) {
	quote := base64.StdEncoding.EncodeToString([]byte("quote"))
	e, err := trusteeEvidence("tdx", []byte(`{"quote":"`+quote+`","cc_eventlog":null}`))
	if err != nil || string(e.Report) != "quote" {
		t.Errorf("got %+v, %v", e, err)
	}
	e, err = trusteeEvidence("snp", []byte(`{"attestation_report":[1,2,3],"cert_chain":[
		{"cert_type":"VCEK","data":[9,8]},{"cert_type":"OTHER","data":[7]}]}`))
	if err != nil || string(e.Report) != "\x01\x02\x03" || len(e.Support) != 3*24+2 ||
		string(e.Support[72:]) != "\x09\x08" {
		t.Errorf("got %+v, %v", e, err)
	}
	for _, row := range []struct{ tee, form, says string }{
		{"sample", `{"svn":"1","report_data":""}`, "signed by nobody"},
		{"tpm", `{}`, "is not known"},
		{"tdx", `{"quote":""}`, "quote is empty"},
		{"snp", `{"attestation_report":""}`, "attestation_report is empty"},
		{"snp", `{"attestation_report":{"version":2}}`, "policy is not there"},
		{"snp", `{"attestation_report":{"version":2,"else":1}}`, "else"},
		{"snp", `{"attestation_report":[300]}`, "in base64 or as a list of numbers"},
	} {
		if _, err := trusteeEvidence(row.tee, []byte(row.form)); err == nil ||
			!strings.Contains(err.Error(), row.says) {
			t.Errorf("%s %s: got %v", row.tee, row.form, err)
		}
	}
}
