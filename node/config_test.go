package node

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/access"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// TestEveryFieldHasOneSetting sets each field to something else and sees that one setting shows it.
func TestEveryFieldHasOneSetting(t *testing.T) {
	fields := 0
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			if f := typ.Field(i).Type; f.Kind() == reflect.Struct &&
				f != reflect.TypeFor[Secret]() {
				walk(f)
				continue
			}
			fields++
		}
	}
	walk(reflect.TypeFor[Config]())
	rows := settings()
	if fields != len(rows) {
		t.Errorf("%d fields and %d settings", fields, len(rows))
	}
	seen := map[string]bool{}
	for _, s := range rows {
		if seen[s.path] {
			t.Errorf("%s stands twice", s.path)
		}
		seen[s.path] = true
		if s.about == "" || strings.HasSuffix(s.about, ".") {
			t.Errorf("%s: about is %q", s.path, s.about)
		}
	}
}

// TestDefaultsAreAccepted reads back what each default shows.
func TestDefaultsAreAccepted(t *testing.T) {
	for _, s := range settings() {
		c := Default()
		v := s.value(&c)
		shown := v.String()
		if err := v.set(shown); err != nil {
			t.Errorf("%s: default %q: %v", s.path, shown, err)
		}
		if !reflect.DeepEqual(c, Default()) && shown != "" {
			t.Errorf("%s: default %q is read back as another", s.path, shown)
		}
	}
	if _, err := Load(Inputs{}); err != nil {
		t.Error(err)
	}
}

func TestOriginsInOrder(t *testing.T) {
	env := map[string]string{"SURETY_LOG_LEVEL": "warn", "SURETY_LENDING_SEED": "9",
		"SURETY_HTTP_HOSTS": "a.example, b.example"}
	effective, err := Load(Inputs{
		FileName: "s.yaml",
		File: []byte("log:\n  level: debug\n  format: json\nlending:\n  seed: 5\n" +
			"guard: {freeze: dry_run, canary_interval: 30s}\nlimits:\n  memory_bytes: 256MiB\n"),
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		Overrides: []Override{{"lending.seed", "77", "--seed"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"data_dir":              "surety-data default ",
		"log.level":             "warn env SURETY_LOG_LEVEL",
		"log.format":            "json file s.yaml:3:3",
		"lending.seed":          "77 flag --seed",
		"http.hosts":            "a.example,b.example env SURETY_HTTP_HOSTS",
		"guard.freeze":          "dry_run file s.yaml:6:9",
		"guard.canary_interval": "30s file s.yaml:6:26",
		"limits.memory_bytes":   "256MiB file s.yaml:8:3",
	}
	for _, s := range effective.Settings() {
		got := fmt.Sprint(s.Value, " ", s.Source, " ", s.Where)
		if line, named := want[s.Path]; named && got != line {
			t.Errorf("%s is %q, want %q", s.Path, got, line)
		}
	}
	if effective.Guard.CanaryInterval != 30*clock.Second || effective.Lending.Seed != 77 ||
		len(effective.HTTP.Hosts) != 2 || effective.HTTP.Hosts[1] != "b.example" {
		t.Errorf("%+v", effective.Config)
	}
}

func TestFiles(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", ""},
		{"comment", "# nothing\n", ""},
		{"empty section", "http:\nlog:\n  # level: debug\n", ""},
		{"several lists", "http:\n  hosts: [a.example, b.example]\n", ""},
		{"quoted", "http:\n  address: \"localhost:0\"\n", ""},
		{"unknown key", "http:\n  adress: x\n",
			"f:2:3: unknown key http.adress, did you mean http.address"},
		{"unknown section", "htp:\n  address: x\n", "f:1:1: unknown key htp, did you mean http"},
		{"far key", "zzzzzzzzzzzzzz: 1\n", "f:1:1: unknown key zzzzzzzzzzzzzz; "},
		{"key twice", "log:\n  level: info\n  level: warn\n",
			"f:3:3: mapping key \"level\" already"},
		{"section of text", "http: yes\n", "f:1:7: http wants keys below it"},
		{"list for text", "log:\n  level: [a]\n",
			"f:2:3: log.level: wants one value (debug, info, warn or error), got a list"},
		{"map for text", "log:\n  level: {a: b}\n", "f:2:3: log.level: wants one value"},
		{"no value", "log:\n  level:\n", "f:2:3: log.level: has no value"},
		{"anchor", "log: &x\n  level: info\n", "f:1:6: log wants keys below it"},
		{"merge", "<<: {a: b}\n", "f:1:1: merge keys are not supported"},
		{"two documents", "log:\n  level: info\n---\nlog:\n  level: warn\n",
			"more than one document"},
		{"tab", "log:\n\tlevel: info\n", "f:2:1"},
		{"top is a list", "- a\n", "the file wants keys"},
		{"number", "lending:\n  seed: ten\n", "f:2:3: lending.seed: \"ten\" is not a whole number"},
		{"range", "lending:\n  rate_per_second: 10001\n",
			"lending.rate_per_second: 10001 is not within 0 to 10000"},
		{"size", "ledger:\n  segment_bytes: 1KiB\n",
			"ledger.segment_bytes: 1KiB is not within 4MiB to 1GiB"},
		{"huge size", "ledger:\n  segment_bytes: 99999999999TiB\n", "is not a size"},
		{"duration", "guard:\n  sweep_interval: 5\n", "\"5\" is not a duration"},
		{"duration range", "guard:\n  sweep_interval: 5h\n", "5h is not within 100ms to 1h"},
		{"toggle", "http:\n  plaintext: yes\n", "http.plaintext: \"yes\" is not true or false"},
		{"address", "http:\n  address: localhost\n", "\"localhost\" is not host:port"},
		{"port", "http:\n  address: localhost:99999\n", "has port \"99999\", want 0 to 65535"},
		{"token", "access:\n  bootstrap_token: hunter2hunter2\n", "is not a token"},
		{"half of TLS", "http:\n  tls_key: k.pem\n", "http.tls_certificate: the certificate and"},
		{"clear text", "http:\n  address: 0.0.0.0:80\n",
			"f:2:3: http.address: 0.0.0.0:80 is reached"},
		{"clear text meant", "http:\n  address: 0.0.0.0:80\n  plaintext: true\n", ""},
		{"open ledger", "ledger:\n  address: :80\n", "ledger.address: :80 is reached from outside"},
		{"mapping alone", "lending:\n  mapping: taiwan\n", "lending.mapping: a mapping needs"},
		{"canary", "guard:\n  fail_closed_after: 90s\n", "1m30s is less than two canary"},
		{"long text", "evidence:\n  origin: " + strings.Repeat("x", 256) + "\n", "has 256 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Load(Inputs{FileName: "f", File: []byte(row.text)})
			switch {
			case row.want == "" && err != nil:
				t.Error(err)
			case row.want != "" && !errs.Is(err, errs.Invalid):
				t.Errorf("got %v, want %q", err, row.want)
			case row.want != "" && !strings.Contains(err.Error(), row.want):
				t.Errorf("got %q, want %q", err, row.want)
			}
		})
	}
}

func TestAllProblemsAreFound(t *testing.T) {
	_, err := Load(Inputs{
		FileName:  "f",
		File:      []byte("log:\n  level: loud\n  formt: text\nguard:\n  freeze: maybe\n"),
		LookupEnv: func(name string) (string, bool) { return "x", name == "SURETY_LENDING_SEED" },
		Overrides: []Override{{"data_dir", "", "--data-dir"}, {"nonsense.path", "1", "--set"}},
	})
	for _, want := range []string{"f:2:3: log.level", "f:3:3: unknown key log.formt",
		"f:5:3: guard.freeze", "SURETY_LENDING_SEED: lending.seed", "--data-dir: data_dir",
		"--set: unknown key nonsense.path"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestSecretsStaySecret(t *testing.T) {
	store, err := access.OpenStore(vfs.NewMemory(), "a", wallclock.System(), entropy.System())
	if err != nil {
		t.Fatal(err)
	}
	made, _, err := store.Bootstrap()
	if err != nil {
		t.Fatal(err)
	}
	token := made.Reveal()
	effective, err := Load(Inputs{FileName: "f",
		File: []byte("access:\n  bootstrap_token: " + token + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	if effective.Access.BootstrapToken.Reveal() != token {
		t.Error("the token was not read")
	}
	asJSON, err := json.Marshal(effective.Settings())
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s", effective.Access, effective.Access, effective.Access,
		asJSON)
	if strings.Contains(shown, token) || !strings.Contains(shown, "redacted") {
		t.Errorf("the token shows in %s", shown)
	}
	_, err = Load(Inputs{FileName: "f",
		File: []byte("access:\n  bootstrap_token: x" + token + "\n")})
	if err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("a mistyped token gave %v", err)
	}
}

func TestFormats(t *testing.T) {
	for text, want := range map[string]string{"24h": "24h", "90s": "1m30s", "1500ms": "1.5s",
		"60m": "1h",
		"90m": "1h30m", "0": "0s"} {
		d, err := parseDuration(text)
		if err != nil || formatDuration(d) != want {
			t.Errorf("%s is shown as %s, %v", text, formatDuration(d), err)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1024: "1KiB", 64 << 20: "64MiB",
		1<<40 + 1: "1099511627777", 3 << 40: "3TiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("%d is shown as %s", n, got)
		}
		if back, err := parseSize(want); err != nil || back != n {
			t.Errorf("%s is read as %d, %v", want, back, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("log:\n  level: debug\n"))
	f.Add([]byte("http: {address: \"[::1]:0\", hosts: [a]}\n"))
	f.Add([]byte("a: &x {b: *x}\n<<: *x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		effective, err := Load(Inputs{FileName: "f", File: data})
		if err != nil {
			if !errs.Is(err, errs.Invalid) {
				t.Error(err)
			}
			return
		}
		if len(effective.Settings()) != len(settings()) {
			t.Error("settings are missing")
		}
	})
}
