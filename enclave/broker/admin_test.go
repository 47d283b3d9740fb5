package broker_test

import (
	"bytes"
	"context"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/broker"
	"surety/enclave/client"
)

// TestTenantsApart lets one tenant's administrator do everything to his own and nothing to another's.
func TestTenantsApart(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.broker.AdminHandler())
	defer server.Close()
	ctx := context.Background()
	token := map[string]string{}
	for _, name := range []string{"bank", "fund"} {
		made, err := w.broker.CreateTenant(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		token[name] = made
	}
	w.put("fund", "key", "model", "theirs", w.machine.policy())
	act := func(a broker.Admin, tenant string) map[string]error {
		_, secrets := a.Secrets(ctx, tenant)
		_, policies := a.Policies(ctx, tenant)
		_, outcomes := a.Outcomes(ctx, tenant, 10)
		_, publish := a.Publish(ctx, tenant, broker.Publication{Measure: enclave.Digest{1}})
		return map[string]error{
			"put":           a.PutSecret(ctx, tenant, "key", "mine", []byte("x"), false),
			"remove":        a.RemoveSecret(ctx, tenant, "key", "mine"),
			"set policy":    a.SetPolicy(ctx, tenant, "key/x", w.machine.policy()),
			"remove policy": a.RemovePolicy(ctx, tenant, "key/x"),
			"secrets":       secrets, "policies": policies, "outcomes": outcomes, "publish": publish,
		}
	}
	bank := &broker.Remote{URL: server.URL, Token: token["bank"]}
	for name, err := range act(bank, "bank") {
		if err != nil {
			t.Errorf("%s of his own: %v", name, err)
		}
	}
	for _, tenant := range []string{"fund", "other", ""} {
		for name, err := range act(bank, tenant) {
			if !errs.Is(err, errs.Forbidden) || !strings.Contains(err.Error(), "this token is tenant bank's") {
				t.Errorf("%s of %q: %v", name, tenant, err)
			}
		}
		_, err := bank.CreateTenant(ctx, tenant)
		refused(t, err, errs.Forbidden, "this token is tenant bank's")
	}
	for _, wrong := range []string{"", token["bank"] + "x", "suretykb_"} {
		for name, err := range act(&broker.Remote{URL: server.URL, Token: wrong}, "bank") {
			if !errs.Is(err, errs.Unauthorized) {
				t.Errorf("%s with a wrong token: %v", name, err)
			}
		}
	}
	fresh, err := bank.CreateTenant(ctx, "bank") // a new token in place of the old one
	if err != nil {
		t.Fatal(err)
	}
	_, err = bank.Secrets(ctx, "bank")
	refused(t, err, errs.Unauthorized, "no tenant administrator's token")
	bank.Token = fresh
	if list, err := bank.Secrets(ctx, "bank"); err != nil || len(list) != 0 {
		t.Errorf("got %v, %v", list, err)
	}
	list, err := w.broker.Outcomes(ctx, "bank", 10)
	if err != nil || len(list) != 1 || list[0].Act != "published" {
		t.Errorf("the tenant's records are %+v, %v", list, err)
	}
}

// TestOwnerServesAll does the same work in process and behind the owner's socket.
func TestOwnerServesAll(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.broker.OwnerHandler())
	defer server.Close()
	ctx := context.Background()
	for i, a := range []broker.Admin{w.broker, &broker.Remote{URL: server.URL}} {
		tenant := []string{"bank", "fund"}[i]
		if _, err := a.CreateTenant(ctx, tenant); err != nil {
			t.Fatal(err)
		}
		if err := a.PutSecret(ctx, tenant, "key", "model", []byte("one"), false); err != nil {
			t.Fatal(err)
		}
		if err := a.PutSecret(ctx, tenant, "key", "model", []byte("one"), false); err != nil {
			t.Errorf("the same again: %v", err)
		}
		refused(t, a.PutSecret(ctx, tenant, "key", "model", []byte("two"), false), errs.Exists,
			"another secret is there")
		if err := a.PutSecret(ctx, tenant, "key", "model", []byte("two"), true); err != nil {
			t.Error(err)
		}
		if has, err := w.broker.HasSecret(ctx, tenant, "key", "model"); err != nil || !has {
			t.Errorf("got %t, %v", has, err)
		}
		refused(t, a.PutSecret(ctx, tenant, "key", "empty", nil, false), errs.TooLarge, "0 bytes")
		refused(t, a.PutSecret(ctx, tenant, "key", "large", make([]byte, client.MaxSecret+1), false),
			errs.TooLarge, "")
		refused(t, a.RemoveSecret(ctx, tenant, "key", "absent"), errs.NotFound, "no secret key/absent")
		p := w.machine.policy()
		p.Machines[0].TEE = "sgx"
		refused(t, a.SetPolicy(ctx, tenant, "key/model", p), errs.Invalid, "machines[0].tee")
		refused(t, a.SetPolicy(ctx, tenant, "model", w.machine.policy()), errs.Invalid, "want TYPE/TAG")
		refused(t, a.SetPolicy(ctx, "../x", "key/model", w.machine.policy()), errs.Invalid, "tenant is")
		if err := a.SetPolicy(ctx, tenant, "key/model", w.machine.policy()); err != nil {
			t.Fatal(err)
		}
		all, err := a.Policies(ctx, tenant)
		want := w.machine.policy()
		want.Name = tenant + "/key/model"
		if err != nil || !reflect.DeepEqual(all, map[string]enclave.Policy{"key/model": want}) {
			t.Errorf("got %+v, %v", all, err)
		}
		_, err = a.Publish(ctx, tenant, broker.Publication{})
		refused(t, err, errs.Invalid, "no measurement")
	}
}

// TestUnknownMembers refuses an order with a member that nobody reads: it may be a rule.
func TestUnknownMembers(t *testing.T) {
	w := newWorld(t)
	for _, body := range []string{`{"tenant":"bank","pattern":"key/x","policy":{"machines":[],"only":1}}`,
		`{"tenant":"bank"} {}`, `[]`, ``} {
		recorder := httptest.NewRecorder()
		w.broker.OwnerHandler().ServeHTTP(recorder,
			httptest.NewRequest("POST", broker.PathAdmin+"set-policy", bytes.NewBufferString(body)))
		if recorder.Code != 400 {
			t.Errorf("%s: %d %s", body, recorder.Code, recorder.Body)
		}
	}
	recorder := httptest.NewRecorder()
	w.broker.OwnerHandler().ServeHTTP(recorder, httptest.NewRequest("GET", "/admin/v1/else", nil))
	if recorder.Code != 404 {
		t.Errorf("got %d", recorder.Code)
	}
}

// TestRefused counts refusals among the newest records, and no release.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.put("bank", "key", "given", "x", w.machine.policy())
	w.put("bank", "key", "kept", "x", enclave.Policy{Name: "nobody"})
	s := w.attest(newBuild(t, w.machine, signerKey, nil))
	for i, secret := range []string{"bank/key/kept", "bank/key/given", "bank/key/kept"} {
		if _, err := s.Release(t.Context(), secret); (err == nil) != (i == 1) {
			t.Fatalf("%s: %v", secret, err)
		}
	}
	for newest, want := range map[int]uint64{1: 1, 2: 1, 3: 2, 100: 2} {
		if got, err := w.broker.Refused(t.Context(), newest); err != nil || got != want {
			t.Errorf("of the newest %d: %d, %v, want %d", newest, got, err, want)
		}
	}
}
