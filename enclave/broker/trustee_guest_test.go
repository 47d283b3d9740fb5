package broker_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"surety/enclave"
	"surety/enclave/client"
)

// trusteeGuest speaks as a guest of Trustee does, with a simulation's report in place of a real one.
type trusteeGuest struct {
	world  *world
	key    *ecdsa.PrivateKey
	cookie *http.Cookie
}

func (g *trusteeGuest) post(path, body string) (int, string) {
	g.world.t.Helper()
	r, err := http.NewRequest(http.MethodPost, g.world.server.URL+path, strings.NewReader(body))
	if err != nil {
		g.world.t.Fatal(err)
	}
	if g.cookie != nil {
		r.AddCookie(g.cookie)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		g.world.t.Fatal(err)
	}
	defer answer.Body.Close()
	for _, c := range answer.Cookies() {
		g.cookie = c
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		g.world.t.Fatal(err)
	}
	return answer.StatusCode, text.String()
}

// attest answers a challenge. spoil changes the runtime data after they were hashed.
func (g *trusteeGuest) attest(spoil func(string) string) (int, string) {
	t := g.world.t
	t.Helper()
	status, body := g.post(client.PathAuth, `{"version":"0.4.0","tee":"sim","extra-params":""}`)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	var challenge struct{ Nonce string }
	if err := json.Unmarshal([]byte(body), &challenge); err != nil {
		t.Fatal(err)
	}
	x, y := make([]byte, 32), make([]byte, 32)
	g.key.X.FillBytes(x)
	g.key.Y.FillBytes(y)
	encode := base64.RawURLEncoding.EncodeToString
	// Canonical as written: what is hashed; and in another order: what is sent.
	hashed := fmt.Sprintf(`{"nonce":%q,"tee-pubkey":{"alg":"ECDH-ES+A256KW","crv":"P-256","kty":"EC",`+
		`"x":%q,"y":%q}}`, challenge.Nonce, encode(x), encode(y))
	sent := fmt.Sprintf(`{"tee-pubkey":{"kty":"EC","crv":"P-256", "alg":"ECDH-ES+A256KW",`+
		`"x":%q,"y":%q}, "nonce":%q}`, encode(x), encode(y), challenge.Nonce)
	var data [64]byte
	sum := sha512.Sum384([]byte(hashed))
	copy(data[:], sum[:])
	report, table, err := g.world.machine.device.Report(context.Background(), data)
	if err != nil {
		t.Fatal(err)
	}
	evidence, err := json.Marshal(map[string]any{
		"attestation_report": byField(report), "cert_chain": certificates(table)})
	if err != nil {
		t.Fatal(err)
	}
	if spoil != nil {
		sent = spoil(sent)
	}
	return g.post(client.PathAttest, `{"runtime-data":`+sent+`,"tee-evidence":{"primary_evidence":`+
		string(evidence)+`,"additional_evidence":"{}"}}`)
}

// byField takes a report apart as the Rust crate "sev" does, arrays as lists of numbers.
func byField(report []byte) map[string]any {
	list := func(from, size int) []int {
		numbers := make([]int, size)
		for i := range numbers {
			numbers[i] = int(report[from+i])
		}
		return numbers
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(report[at:]) }
	long := func(at int) uint64 { return binary.LittleEndian.Uint64(report[at:]) }
	tcb := func(at int) map[string]any {
		return map[string]any{"fmc": nil, "bootloader": report[at], "tee": report[at+1],
			"snp": report[at+6], "microcode": report[at+7]}
	}
	version := func(at int) map[string]any {
		return map[string]any{"build": report[at], "minor": report[at+1], "major": report[at+2]}
	}
	return map[string]any{
		"version": word(0), "guest_svn": word(4), "policy": long(8), "family_id": list(0x10, 16),
		"image_id": list(0x20, 16), "vmpl": word(0x30), "sig_algo": word(0x34),
		"current_tcb": tcb(0x38), "plat_info": long(0x40), "key_info": word(0x48),
		"report_data": list(0x50, 64), "measurement": list(0x90, 48), "host_data": list(0xc0, 32),
		"id_key_digest": list(0xe0, 48), "author_key_digest": list(0x110, 48),
		"report_id": list(0x140, 32), "report_id_ma": list(0x160, 32), "reported_tcb": tcb(0x180),
		"cpuid_fam_id": report[0x188], "cpuid_mod_id": report[0x189], "cpuid_step": report[0x18a],
		"chip_id": list(0x1a0, 64), "committed_tcb": tcb(0x1e0), "current": version(0x1e8),
		"committed": version(0x1ec), "launch_tcb": tcb(0x1f0), "launch_mit_vector": nil,
		"current_mit_vector": nil,
		"signature":          map[string]any{"r": list(0x2a0, 72), "s": list(0x2e8, 72)},
	}
}

// certificates turns a processor's table into the list that such guests send.
func certificates(table []byte) (list []map[string]any) {
	names := map[string]string{"63da758d": "VCEK", "4ab7b379": "ASK", "c0b406a4": "ARK"}
	for entry := table; len(entry) >= 24; entry = entry[24:] {
		start, size := binary.LittleEndian.Uint32(entry[16:]), binary.LittleEndian.Uint32(entry[20:])
		if size == 0 {
			return list
		}
		if name := names[fmt.Sprintf("%x", entry[:4])]; name != "" {
			list = append(list, map[string]any{"cert_type": name, "data": table[start : start+size]})
		}
	}
	return list
}

// TestTrusteeGuest takes a guest of Trustee through the whole exchange.
func TestTrusteeGuest(t *testing.T) {
	w := newWorld(t)
	p := w.machine.policy()
	p.Signers, p.Bare, p.Machines[0].Platforms = nil, true, [][]byte{w.machine.platform}
	w.put("default", "key", "one", "the secret", p)
	w.put("default", "key", "ours", "not theirs", w.machine.policy())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := &trusteeGuest{world: w, key: key}
	status, body := g.attest(nil)
	var token client.TokenAnswer
	if err := json.Unmarshal([]byte(body), &token); status != http.StatusOK || err != nil {
		t.Fatalf("%d %s", status, body)
	}
	get := func(name string, byToken bool) (int, string) {
		r, err := http.NewRequest(http.MethodGet, w.server.URL+client.PathResource+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if byToken {
			r.Header.Set("Authorization", "Bearer "+token.Token)
		} else {
			r.AddCookie(g.cookie)
		}
		return w.send(r)
	}
	for _, byToken := range []bool{false, true} {
		status, body = get("default/key/one", byToken)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		opened, err := jose.ParseEncryptedJSON(body, []jose.KeyAlgorithm{jose.ECDH_ES_A256KW},
			[]jose.ContentEncryption{jose.A256GCM})
		if err != nil {
			t.Fatal(err)
		}
		if secret, err := opened.Decrypt(key); err != nil || string(secret) != "the secret" {
			t.Errorf("got %q, %v", secret, err)
		}
		if o := w.newest(); o.Act != "released" || o.TEE != enclave.Sim || !o.Measure.IsZero() {
			t.Errorf("the record is %+v", o)
		}
	}
	if status, body = get("default/key/ours", true); status != http.StatusForbidden ||
		!strings.Contains(body, "no manifest") || !strings.Contains(body, "errors/PolicyDeny") {
		t.Errorf("under a policy for manifests: %d %s", status, body)
	}
	if status, body = g.post(client.PathState+"open", `{"instance":"one","name":"books"}`); status !=
		http.StatusForbidden || !strings.Contains(body, "no states") {
		t.Errorf("a state: %d %s", status, body)
	}
	for says, spoil := range map[string]func(string) string{
		"another challenge, key": func(sent string) string {
			return strings.Replace(sent, `{`, `{"more":1,`, 1)
		},
		"a member is there twice": func(sent string) string {
			return strings.Replace(sent, `{"kty":"EC"`, `{"kty":"EC","kty":"EC"`, 1)
		},
		"want ECDH-ES+A256KW": func(sent string) string {
			return strings.Replace(sent, `ECDH-ES+A256KW`, `RSA1_5`, 1)
		},
	} {
		if status, body := g.attest(spoil); status == http.StatusOK || !strings.Contains(body, says) {
			t.Errorf("want %q, got %d %s", says, status, body)
		}
	}
}
