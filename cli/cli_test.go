package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/sys/presence"
)

// outcome is what a person gets from a command.
type outcome struct {
	status         int
	stdout, stderr string
}

// run runs a command in process with nothing in its environment but env.
func run(t *testing.T, env map[string]string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := Main(t.Context(), Env{
		Stdin:     strings.NewReader(""),
		Stdout:    &stdout,
		Stderr:    &stderr,
		LookupEnv: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	}, args)
	return outcome{status, stdout.String(), stderr.String()}
}

// TestEveryCommandIsWhole walks the tree: each command has descriptions, an example that names it,
// and a check of its arguments, and its help works.
func TestEveryCommandIsWhole(t *testing.T) {
	env := &Env{Stdout: io.Discard, Stderr: io.Discard,
		LookupEnv: func(string) (string, bool) { return "", false }}
	seen := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		seen++
		path := c.CommandPath()
		for what, missing := range map[string]bool{
			"a short description":               c.Short == "",
			"a long description":                c.Long == "",
			"an example":                        c.Example == "",
			"an example of itself":              !strings.Contains(c.Example, path) && c.HasParent(),
			"a check of its arguments":          c.Args == nil,
			"something to do":                   c.RunE == nil,
			"a shelf (shelves.go)":              c.HasParent() && c.Parent() == c.Root() && c.GroupID == "",
			"no full stop after its short text": strings.HasSuffix(c.Short, "."),
			"a short text that begins upper":    strings.ToUpper(c.Short[:1]) != c.Short[:1],
		} {
			if missing && !c.Hidden {
				t.Errorf("%s lacks %s", path, what)
			}
		}
		for line := range strings.Lines(c.Long) {
			if len(strings.TrimRight(line, "\n")) > 100 {
				t.Errorf("%s: a line of its help has %d columns", path, len(line))
			}
		}
		got := run(t, nil, append(strings.Fields(path)[1:], "--help")...)
		if got.status != 0 || !strings.Contains(got.stdout, "Usage:") || got.stderr != "" {
			t.Errorf("%s --help: status %d, %s", path, got.status, got.stderr)
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(newRoot(env))
	t.Logf("%d commands", seen)
}

// TestWrongUsage sees each kind of it: status 2, one line that says what, one that says where help
// is, and nothing on standard output.
func TestWrongUsage(t *testing.T) {
	for _, row := range []struct{ args, want, hint string }{
		{"acces", `no command "acces", did you mean access`, `see "surety --help"`},
		{"qqqqq", `no command "qqqqq"`, `see "surety --help"`},
		{"access tokn", `access: no command "tokn", did you mean token`, `see "surety access --help"`},
		{"version extra", `version: takes no arguments, got "extra"`, `see "surety version --help"`},
		{"config check", `config check: FILE is missing`, `see "surety config check --help"`},
		{"config check a b", `config check: takes 1 argument, got "b" besides`,
			`see "surety config check --help"`},
		{"version --what", `version: unknown flag: --what`, `see "surety version --help"`},
		{"version -o xml", `version: invalid argument "xml" for "-o, --output" flag: "xml" is not table ` +
			`or json`, `see "surety version --help"`},
		{"completion tcsh", `completion: "tcsh" is not bash, zsh or fish`,
			`see "surety completion --help"`},
		{"help no such", `help: no command "no such"`, `see "surety --help"`},
		{"ledger freeze ledger --ledger 156", `ledger freeze: required flag(s) "reason" not set`,
			`see "surety ledger freeze --help"`},
		{"access token create --lifetime -1h", `access token create: --lifetime -1h0m0s is in the past`,
			`see "surety access token create --help"`},
	} {
		got := run(t, nil, strings.Fields(row.args)...)
		want := fmt.Sprintf("surety: %s\nhint: %s\n", row.want, row.hint)
		if got.status != 2 || got.stderr != want || got.stdout != "" {
			t.Errorf("surety %s: status %d\n got %q\nwant %q", row.args, got.status, got.stderr, want)
		}
	}
}

// TestErrorsByKind sees that each kind of error has its exit status, and one line.
func TestErrorsByKind(t *testing.T) {
	for n := range 2 * int(errs.Canceled+1) {
		kind, hints := errs.Kind(n/2), hintFor
		if n%2 == 1 {
			hints = sandboxHintFor
		}
		var out strings.Builder
		report(&out, errs.New(kind, "part.op: first\nsecond"), hints)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if lines[0] != "surety: part.op: first; second" || len(lines) > 2 {
			t.Errorf("%s: %q", kind, out.String())
		}
		if len(lines) == 2 && !strings.HasPrefix(lines[1], "hint: ") {
			t.Errorf("%s: %q", kind, lines[1])
		}
	}
}

func TestVersion(t *testing.T) {
	got := run(t, nil, "version")
	if got.status != 0 || !strings.HasPrefix(got.stdout, "surety "+Version) {
		t.Errorf("%+v", got)
	}
	var view versionView
	got = run(t, nil, "version", "-o", "json")
	if err := json.Unmarshal([]byte(got.stdout), &view); err != nil || view.Version != Version {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestHelpAndCompletion(t *testing.T) {
	for args, want := range map[string]string{
		"":                          "Usage:",
		"help access token create":  "surety access token create",
		"completion bash":           "__start_surety",
		"completion zsh":            "#compdef surety",
		"completion fish":           "complete -c surety",
		"__complete access token ":  "revoke",
		"__complete completion ":    "fish",
		"__complete version -o ":    "json",
		"__complete access token c": "create",
	} {
		fields := strings.Fields(args)
		if strings.HasSuffix(args, " ") {
			fields = append(fields, "")
		}
		if got := run(t, nil, fields...); got.status != 0 || !strings.Contains(got.stdout, want) {
			t.Errorf("surety %s: status %d, %.200q", args, got.status, got.stdout+got.stderr)
		}
	}
}

func TestConfigCommands(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	write(t, good, "log:\n  level: debug\n")
	write(t, bad, "log:\n  level: loud\nhttp:\n  adress: x\n")
	if got := run(t, nil, "config", "check", good); got.status != 0 || got.stdout != good+": ok\n" {
		t.Errorf("%+v", got)
	}
	want := bad + ":2:3: log.level: \"loud\" is not debug, info, warn or error\n" +
		bad + ":4:3: unknown key http.adress, did you mean http.address\n" +
		"surety: config check: " + bad + " has 2 mistakes\n"
	if got := run(t, nil, "config", "check", bad); got.status != 2 || got.stderr != want {
		t.Errorf("%+v\nwant %q", got, want)
	}
	got := run(t, nil, "config", "check", filepath.Join(dir, "none.yaml"))
	if got.status != 1 || !strings.Contains(got.stderr, "none.yaml: no such file") {
		t.Errorf("%+v", got)
	}
	env := map[string]string{"SURETY_CONFIG": good, "SURETY_LENDING_SEED": "5",
		"SURETY_DATA_DIR": "elsewhere"}
	got = run(t, env, "config", "show", "-o", "json", "--set", "log.format=json", "--data-dir", "d")
	var settings []struct{ Path, Value, Source, Where string }
	if err := json.Unmarshal([]byte(got.stdout), &settings); err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{
		"log.level":    "debug file " + good + ":2:3",
		"log.format":   "json flag --set",
		"lending.seed": "5 env SURETY_LENDING_SEED",
		"data_dir":     "d flag --data-dir",
	}
	for _, s := range settings {
		line := s.Value + " " + s.Source + " " + s.Where
		if want, named := wants[s.Path]; named && line != want {
			t.Errorf("%s is %q, want %q", s.Path, line, want)
		}
	}
	for _, arg := range []string{"log.level", "log.levl=debug", "log.level=loud"} {
		if got := run(t, nil, "config", "show", "--set", arg); got.status != 2 {
			t.Errorf("--set %s: %+v", arg, got)
		}
	}
}

func TestTokenCommands(t *testing.T) {
	dir := t.TempDir()
	made := run(t, nil, "access", "token", "create", "--data-dir", dir, "--name", "ann", "--role",
		"risk,viewer")
	if made.status != 0 || !strings.HasPrefix(made.stdout, "surety_") ||
		strings.Count(made.stdout, "\n") != 1 {
		t.Fatalf("%+v", made)
	}
	env := map[string]string{"SURETY_DATA_DIR": dir}
	listed := run(t, env, "access", "token", "list")
	if !strings.Contains(listed.stdout, "ann        risk,viewer") ||
		strings.Contains(listed.stdout, strings.TrimSpace(made.stdout)) {
		t.Errorf("%+v", listed)
	}
	if got := run(t, env, "access", "token", "revoke", "ann"); !strings.Contains(got.stdout, " of ann\n") {
		t.Errorf("%+v", got)
	}
	if got := run(t, env, "access", "token", "list", "-o", "json"); !strings.Contains(got.stdout,
		`"revoked"`) {
		t.Errorf("%+v", got)
	}
	if got := run(t, env, "access", "token", "create", "--name", "A B", "--role", "risk"); got.status != 2 {
		t.Errorf("%+v", got)
	}
	none := filepath.Join(dir, "none")
	if got := run(t, nil, "access", "token", "list", "--data-dir", none); got.status != 1 {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a mistyped data directory was made")
	}
}

func TestTarget(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	dir := t.TempDir()
	secret := strings.TrimSpace(run(t, nil, "access", "token", "create", "--data-dir", dir, "--name",
		"ann", "--role", "viewer").stdout)
	hold, err := presence.Acquire(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Release()
	record := presence.Record{PID: 1, Addresses: map[string]string{
		"http": server.Listener.Addr().String()}}
	if err := hold.Publish(record); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		args   []string
		env    map[string]string
		kind   errs.Kind
		answer string
		fails  bool
	}{
		{name: "found by its directory", args: []string{"--data-dir", dir}},
		{name: "token of the environment", args: []string{"--data-dir", dir},
			env: map[string]string{"SURETY_TOKEN": secret}, answer: "Bearer " + secret},
		{name: "named", args: []string{"--address", server.URL + "/", "--token", secret},
			answer: "Bearer " + secret},
		{name: "no node", args: []string{"--data-dir", t.TempDir()}, fails: true,
			kind: errs.Unavailable},
		{name: "not a token", args: []string{"--data-dir", dir, "--token", "x"}, fails: true,
			kind: errs.Unauthorized},
		{name: "clear text", args: []string{"--address", "192.0.2.1:80", "--token", secret},
			fails: true, kind: errs.Invalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			env := &Env{LookupEnv: func(name string) (string, bool) { v, ok := row.env[name]; return v, ok }}
			c := &cobra.Command{}
			target := targetFlags(env, c.Flags())
			if err := c.ParseFlags(row.args); err != nil {
				t.Fatal(err)
			}
			client, base, err := target.http()
			if row.fails {
				if !errs.Is(err, row.kind) {
					t.Errorf("got %v, want %s", err, row.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Get(base + "/x")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(answer.Body)
			if err != nil || string(body) != row.answer {
				t.Errorf("sent %q, want %q, %v", body, row.answer, err)
			}
		})
	}
}

func TestGrid(t *testing.T) {
	var out strings.Builder
	g := newGrid(left("name"), right("amount"), left("note"))
	g.row("a", 5, "")
	g.row("bénéfice", 12345, "x\x1b[31m")
	if err := g.write(&out); err != nil {
		t.Fatal(err)
	}
	want := "NAME      AMOUNT  NOTE\na              5\nbénéfice   12345  x.[31m\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
	out.Reset()
	if err := writePairs(&out, pair{"id", 1}, pair{"longer", "b"}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "id      1\nlonger  b\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestCanceledContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	status := Main(ctx, Env{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr,
		LookupEnv: func(string) (string, bool) { return "", false }}, []string{"version"})
	if status != 0 {
		t.Errorf("status %d: %s", status, stderr.String())
	}
}

func TestOutputThatFails(t *testing.T) {
	var stderr bytes.Buffer
	for _, args := range [][]string{{"version"}, {"version", "-o", "json"}, {"config", "show"}} {
		status := Main(t.Context(), Env{Stdin: strings.NewReader(""), Stdout: broken{}, Stderr: &stderr,
			LookupEnv: func(string) (string, bool) { return "", false }}, args)
		if status != 1 || !strings.Contains(stderr.String(), "write output: the pipe is gone") {
			t.Errorf("%v: status %d, %s", args, status, stderr.String())
		}
		stderr.Reset()
	}
}

// broken is an output that nobody reads.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errs.New(errs.Canceled, "the pipe is gone") }

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	args := []string{"doctor", "--data-dir", dir, "--set", "http.address=127.0.0.1:0", "--set",
		"ledger.address=127.0.0.1:0"}
	got := run(t, nil, args...)
	if got.status != 0 || !strings.Contains(got.stdout, "disk sync") ||
		strings.Contains(got.stdout, "kvm") {
		t.Errorf("%+v", got)
	}
	var findings []struct{ Name, State, Seen string }
	got = run(t, nil, append(args, "--all", "-o", "json")...)
	if err := json.Unmarshal([]byte(got.stdout), &findings); err != nil || len(findings) < 12 {
		t.Errorf("%d findings, %v", len(findings), err)
	}
	file := filepath.Join(dir, "file")
	write(t, file, "")
	got = run(t, nil, append(args, "--data-dir", file)...)
	if got.status != 1 || !strings.Contains(got.stderr, "missing") {
		t.Errorf("%+v", got)
	}
}
