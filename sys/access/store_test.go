package access

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

const start = clock.Instant(1_700_000_000) * clock.Instant(clock.Second)

// place is a store with the world around it.
type place struct {
	fs    *vfs.Memory
	clock *wallclock.Manual
	store *Store
}

func newPlace(t *testing.T) place {
	t.Helper()
	p := place{fs: vfs.NewMemory(), clock: wallclock.NewManual(start)}
	p.store = p.open(t, 1)
	return p
}

func (p place) open(t *testing.T, seed uint64) *Store {
	t.Helper()
	s, err := OpenStore(p.fs, "access", p.clock, entropy.Seeded(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLifeOfAToken(t *testing.T) {
	p := newPlace(t)
	token, secret, err := p.store.Issue(Grant{Principal: "ann", Roles: []Role{Risk},
		Expires: start.Add(clock.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := ParseSecret(secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	who, err := p.store.Check(parsed)
	if err != nil || who.Name != "ann" || !who.May(Risk) || !who.May(Viewer) || who.May(Operator) {
		t.Errorf("the token is %+v, %v", who, err)
	}
	if strings.Contains(string(p.store.raw), strings.TrimPrefix(secret.Reveal(), secretPrefix)) {
		t.Error("the secret is in the file")
	}
	again := p.open(t, 2)
	if who, err := again.Check(secret); err != nil || who.Name != "ann" {
		t.Errorf("opened again it is %+v, %v", who, err)
	}
	if _, err := p.store.Revoke(token.ID.String()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Check(secret); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("a revoked token gave %v", err)
	}
	if _, err := again.Check(secret); err != nil {
		t.Errorf("another process sees the change before the interval: %v", err)
	}
	p.clock.Advance(reloadInterval)
	if _, err := again.Check(secret); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("another process does not see the change: %v", err)
	}
	if _, err := p.store.Revoke("ann"); !errs.Is(err, errs.NotFound) {
		t.Errorf("revoked twice: %v", err)
	}
}

func TestTokensExpire(t *testing.T) {
	p := newPlace(t)
	_, secret, err := p.store.Issue(Grant{Principal: "bob", Roles: []Role{Viewer},
		Expires: start.Add(10)})
	if err != nil {
		t.Fatal(err)
	}
	p.clock.Advance(9)
	if _, err := p.store.Check(secret); err != nil {
		t.Error(err)
	}
	p.clock.Advance(1)
	if _, err := p.store.Check(secret); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("an expired token gave %v", err)
	}
}

func TestBootstrapOnce(t *testing.T) {
	p := newPlace(t)
	secret, made, err := p.store.Bootstrap()
	if err != nil || !made {
		t.Fatalf("made %t, %v", made, err)
	}
	if who, err := p.store.Check(secret); err != nil || !who.May(Admin) || !who.May(Risk) {
		t.Errorf("the first token is %+v, %v", who, err)
	}
	if _, made, err := p.open(t, 2).Bootstrap(); made || err != nil {
		t.Errorf("made a second first token: %t, %v", made, err)
	}
}

func TestAdopt(t *testing.T) {
	p := newPlace(t)
	secret := newSecret(entropy.Seeded(99))
	for range 2 {
		if err := p.store.Adopt(Grant{Principal: "admin", Roles: []Role{Admin}}, secret); err != nil {
			t.Fatal(err)
		}
	}
	tokens, err := p.store.List()
	if err != nil || len(tokens) != 1 {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
}

// TestGrantRefusals starts with every defect and mends one a row.
func TestGrantRefusals(t *testing.T) {
	p := newPlace(t)
	for _, row := range []struct {
		grant Grant
		want  string
	}{
		{Grant{Principal: "Ann!", Roles: nil, Expires: 1}, "principal"},
		{Grant{Principal: "local", Roles: nil, Expires: 1}, "without a token"},
		{Grant{Principal: "ann", Roles: nil, Expires: 1}, "needs a role"},
		{Grant{Principal: "ann", Roles: []Role{"root"}, Expires: 1}, `role "root"`},
		{Grant{Principal: "ann", Roles: []Role{Risk}, Expires: 1}, "expired"},
		{Grant{Principal: "ann", Roles: []Role{Risk}}, ""},
	} {
		_, _, err := p.store.Issue(row.grant)
		if row.want == "" && err == nil {
			continue
		}
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%+v gave %v, want %q", row.grant, err, row.want)
		}
	}
}

func TestFullStore(t *testing.T) {
	p := newPlace(t)
	var content file
	content.Version = fileVersion
	for i := range tokensMax {
		content.Tokens = append(content.Tokens, Token{Principal: fmt.Sprint("p", i)})
	}
	content.Tokens[3].Revoked = start
	raw, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.replace(raw); err != nil {
		t.Fatal(err)
	}
	grant := Grant{Principal: "ann", Roles: []Role{Viewer}}
	if _, _, err := p.store.Issue(grant); err != nil {
		t.Errorf("a revoked token did not make room: %v", err)
	}
	if _, _, err := p.store.Issue(grant); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a full store gave %v", err)
	}
}

func TestBrokenFiles(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":      "{",
		"newer version": `{"version":2,"tokens":[]}`,
		"unknown key":   `{"version":1,"tokens":[],"backdoor":true}`,
		"too large":     strings.Repeat(" ", fileMax+1),
	} {
		p := newPlace(t)
		_, secret, err := p.store.Issue(Grant{Principal: "ann", Roles: []Role{Viewer}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.store.replace([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenStore(p.fs, "access", p.clock, entropy.System()); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: opening gave %v", name, err)
		}
		p.clock.Advance(reloadInterval)
		for range 2 {
			if _, err := p.store.Check(secret); !errs.Is(err, errs.Corrupt) {
				t.Errorf("%s: a running store let the token in: %v", name, err)
			}
		}
	}
}

// TestIssueUnderFaults fails each operation of the file system in turn, cuts the power, and finds
// the file either as it was or as it was meant to be.
func TestIssueUnderFaults(t *testing.T) {
	for step := 0; ; step++ {
		p := newPlace(t)
		if _, _, err := p.store.Issue(Grant{Principal: "old", Roles: []Role{Viewer}}); err != nil {
			t.Fatal(err)
		}
		count := 0
		p.fs.SetFault(func(vfs.Op) error {
			count++
			if count == step+1 {
				return errs.New(errs.NoSpace, "injected")
			}
			return nil
		})
		_, secret, issued := p.store.Issue(Grant{Principal: "new", Roles: []Role{Viewer}})
		p.fs.SetFault(nil)
		p.fs.Crash(uint64(step))
		after := p.open(t, 3)
		tokens, err := after.List()
		if err != nil || len(tokens) < 1 || tokens[0].Principal != "old" {
			t.Fatalf("step %d: %d tokens, %v", step, len(tokens), err)
		}
		if _, err := after.Check(secret); issued == nil && err != nil {
			t.Fatalf("step %d: an issued token is lost: %v", step, err)
		}
		if count <= step {
			return // no operation was left to fail
		}
		if issued == nil && step > 100 {
			t.Fatal("the faults never end")
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	secret := newSecret(entropy.Seeded(5))
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "token", secret)
	asJSON, err := json.Marshal(map[string]Secret{"token": secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{log.String(), string(asJSON), fmt.Sprint(secret),
		fmt.Sprintf("%v %+v %#v %s", secret, secret, secret, secret)} {
		if !strings.Contains(text, redacted) || strings.Contains(text, secret.Reveal()[10:]) {
			t.Errorf("shown as %q", text)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(newSecret(entropy.Seeded(1)).Reveal())
	f.Add("surety_")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		secret, err := ParseSecret(text)
		if err == nil && secret.Reveal() != text {
			t.Errorf("%q is read as %q", text, secret.Reveal())
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"tokens":[{"principal":"ann"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := decode(raw); err != nil && !errs.Is(err, errs.Corrupt) {
			t.Error(err)
		}
	})
}
