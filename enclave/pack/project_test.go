package pack

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
)

// everything is a project's file with every key in it.
const everything = `# about it
name: credit
product: credit.scorer
svn: 3
debug: true
command: [/bin/score, "--port", '80']
entries:
  - /bin/a
  - /bin/b
env: [PATH=/bin]
env_names: [LANG, TZ]
cwd: /srv
uid: 1000
gid: 100
args: true
policy: policy.yaml
network: stack
shown:
  - target: /host
  - {target: /spool, read_only: false}
overlay: true
limits: {memory: 512m, cpu: 1500, processes: 64}
state:
  - {name: books, target: /books, bytes: 1g, broker: bank}
brokers:
  - {name: bank, key: ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB}
contract: sha384:010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101
owners: keep
layers:
  - name: models
    target: /models
    key: bank/credit/layer-key/models-1
  - {name: more, kind: public, target: /more}
`

// TestProjectIsRead takes every key.
func TestProjectIsRead(t *testing.T) {
	p, err := parseProject([]byte(everything))
	must(t, err)
	p.file = nil
	key, contract := enclave.KeyID{}, enclave.Digest{}
	for i := range key {
		key[i] = 0xab
	}
	for i := range contract {
		contract[i] = 1
	}
	want := &Project{Name: "credit", Product: "credit.scorer", SVN: 3, Debug: true,
		Command: []string{"/bin/score", "--port", "80"}, Entries: []string{"/bin/a", "/bin/b"},
		Env: []string{"PATH=/bin"}, EnvNames: []string{"LANG", "TZ"}, Cwd: "/srv", UID: 1000, GID: 100, Args: true,
		Policy: "policy.yaml", Network: "stack", Shown: []enclave.Shown{{Target: "/host", ReadOnly: true},
			{Target: "/spool"}}, Overlay: true, Limits: enclave.Limits{Memory: 512 << 20, CPU: 1500, Processes: 64},
		State:   []enclave.State{{Name: "books", Target: "/books", Bytes: 1 << 30, Broker: "bank"}},
		Brokers: []enclave.Broker{{Name: "bank", Key: key}}, Contract: contract, Owners: "keep",
		Layers: []ProjectLayer{{"models", enclave.Secret, "/models", "bank/credit/layer-key/models-1"},
			{"more", enclave.Public, "/more", ""}}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("it was read as\n%+v\nwant\n%+v", p, want)
	}
	small, err := parseProject([]byte("name: credit\nlayers: [{name: m, target: /m}]\n"))
	must(t, err)
	if small.Product != "credit" || small.SVN != 1 || small.Cwd != "/" || small.Network != "none" ||
		small.Layers[0].Key != "local/credit/layer-key/m" || len(small.Brokers) != 1 || !small.Brokers[0].Key.IsZero() {
		t.Errorf("left open, it is %+v", small)
	}
}

// TestProjectErrorsNameTheLine gives a file with one mistake each.
func TestProjectErrorsNameTheLine(t *testing.T) {
	for _, row := range []struct{ text, says string }{
		{"", "the file is empty"},
		{"- a\n", "line 1: the file is no mapping"},
		{"svn: 1\n", "line 1: key name is missing"},
		{"name: credit\nnome: x\n", "line 2: key nome is unknown"},
		{"name: credit\nname: x\n", "line 2: "},
		{"name: credit\nsvn: 1.5\n", "line 2: svn: \"1.5\" where a whole number"},
		{"name: credit\nsvn: \"1\"\n", "line 2: svn: text where a whole number"},
		{"name: credit\nsvn: -1\n", "line 2: svn: "},
		{"name: credit\nuid: 4294967296\n", "line 2: uid: "},
		{"name: credit\ndebug: yes please\n", "line 2: debug: text where true or false"},
		{"name: 5\n", "line 1: name: \"5\" where text"},
		{"name: credit\ncommand: /bin/x\n", "line 2: command: text where a list"},
		{"name: credit\ncommand:\n  - /bin/x\n  - 80\n", "line 4: command[1]: \"80\" where text"},
		{"name: credit\ncommand: [score]\n", "line 2: command[0]: \"score\" is no clean absolute path"},
		{"name: Credit\n", "line 1: name: \"Credit\""},
		{"name: credit\nnetwork: host\n", "line 2: network: "},
		{"name: credit\nowners: mine\n", "line 2: owners: "},
		{"name: credit\nlayers:\n  - {name: a, target: /a}\n  - {name: a, target: /b}\n",
			"line 4: layers[1].name: \"a\" is there twice"},
		{"name: credit\nlayers:\n  - name: a\n    target: b\n", "line 4: layers[0].target: "},
		{"name: credit\nlayers:\n  - name: a\n    tarjet: b\n", "line 4: key layers[0].tarjet is unknown"},
		{"name: credit\nlayers:\n  - {name: a, target: /a, key: bank/a/b/c}\n", "line 3: layers[0].key: "},
		{"name: credit\nlayers: [5]\n", "line 2: layers[0]: \"5\" where keys"},
		{"name: credit\nstate: [{name: s, target: /s, bytes: 5x}]\n", "line 2: state[0].bytes: \"5x\" is no size"},
		{"name: credit\nstate: [{name: s, target: /s, bytes: 99999999t}]\n", "line 2: state[0].bytes: "},
		{"name: credit\nbrokers: [{name: bank}]\n", "line 2: brokers[0].key: it is missing"},
		{"name: credit\nbrokers: [{name: bank, key: xx}]\n", "line 2: brokers[0].key: want 64"},
		{"name: credit\ncontract: sha256:00\n", "line 2: contract: want sha384"},
		{"name: credit\nlimits: {memory: lots}\n", "line 2: limits.memory: \"lots\" is no size"},
		{"name: credit\nlimits: {disk: 1}\n", "line 2: key limits.disk is unknown"},
		{"name: credit\nshown: [{target: /proc}]\n", "line 2: shown[0]: "},
		{"name: &a credit\nproduct: *a\n", "line 1: anchors"},
		{"name: !!str credit\n", "line 1: tags"},
		{"name: credit\ncwd:\n", "line 2: a key without a value"},
		{"name: credit\n---\nname: b\n", "documents, not one"},
		{"name: credit\ncommand: [[[[[[[[[/bin/x]]]]]]]]]\n", "line 2: more than 8 levels"},
	} {
		_, err := parseProject([]byte(row.text))
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%q: %v, want %q", row.text, err, row.says)
		}
	}
	if _, err := parseProject(make([]byte, maxProject+1)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("a large file: %v", err)
	}
}

// TestNewProjectIsWhole builds what new makes, and overwrites nothing.
func TestNewProjectIsWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "credit")
	p, err := NewProject(NewOrder{Dir: dir, Command: []string{"/bin/score", "--port", "80", "true", "a b"},
		Random: entropy.Seeded(1)})
	must(t, err)
	if p.Name != "credit" || strings.Join(p.Command, "|") != "/bin/score|--port|80|true|a b" {
		t.Errorf("it is %+v", p)
	}
	for name, mode := range map[string]os.FileMode{"keys": 0o700 | os.ModeDir, "keys/signer.pem": 0o600,
		"secrets":         0o700 | os.ModeDir,
		"root/etc/passwd": 0o644, "root": 0o755 | os.ModeDir} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	before := contents(t, dir)
	if _, err := NewProject(NewOrder{Dir: dir}); !errs.Is(err, errs.Exists) || !equal(before, contents(t, dir)) {
		t.Errorf("made twice: %v", err)
	}
	if _, err := NewProject(NewOrder{Dir: t.TempDir(), Name: "No"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("another name: %v", err)
	}
	b, err := p.Build(context.Background(), BuildOrder{Random: entropy.Seeded(2)})
	must(t, err)
	if b.Path() != p.BundlePath() {
		t.Errorf("it is built at %s", b.Path())
	}
}

// TestProjectIsBuiltAgain changes one thing a time, and looks at what that changed.
func TestProjectIsBuiltAgain(t *testing.T) {
	ctx := context.Background()
	p := project(t)
	plant(t, p.Dir, map[string]string{"root/bin/score": "x", "secrets/models/w": "0.25", "layers/more/y": "y",
		"policy.yaml": "policy: v1\nmode: observe\nname: one\n",
		projectName: "name: credit\ncommand: [/bin/score]\npolicy: policy.yaml\nlayers:\n" +
			"  - {name: models, target: /m}\n  - {name: more, kind: public, target: /more}\n"})
	random := entropy.Seeded(9)
	build := func() *Bundle {
		t.Helper()
		p, err := LoadProject(p.Dir)
		must(t, err)
		b, err := p.Build(ctx, BuildOrder{Random: random})
		must(t, err)
		return b
	}
	first := build()
	if again := build(); again.Signed().Measure != first.Signed().Measure {
		t.Errorf("built again, it differs in %+v", enclave.Diff(first.Signed().Manifest, again.Signed().Manifest))
	}
	keys, err := p.LayerKeys()
	must(t, err)
	if len(keys) != 0 { // p was loaded before it had layers
		t.Errorf("keys of a project without layers: %d", len(keys))
	}
	loaded, err := LoadProject(p.Dir)
	must(t, err)
	if keys, err = loaded.LayerKeys(); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
	must(t, first.VerifyWith(ctx, keys))
	for _, row := range []struct{ file, content, field string }{
		{"root/bin/score", "z", "layers.root.digest"},
		{"secrets/models/w", "0.26", "layers.models.id"},
		{"layers/more/y", "z", "layers.more.digest"},
		{"policy.yaml", "policy: v1\nmode: observe\nname: two\n", "policy line 3"},
	} {
		was := build().Signed().Manifest
		plant(t, p.Dir, map[string]string{row.file: row.content})
		d := enclave.Diff(was, build().Signed().Manifest)
		if len(d) == 0 || d[0].Field != row.field {
			t.Errorf("%s: the first difference is %+v, want %s", row.file, d, row.field)
		}
	}
	left, err := filepath.Glob(filepath.Join(p.Dir, ".*"))
	must(t, err)
	if len(left) != 1 { // .gitignore
		t.Errorf("there is %q", left)
	}
}

// TestProjectsAreChangedByOne refuses a second command, and clears up after one that was killed.
func TestProjectsAreChangedByOne(t *testing.T) {
	ctx := context.Background()
	p := project(t)
	plant(t, p.Dir, map[string]string{projectName: "name: credit\ncommand: [/bin/score]\n", "x": "x"})
	p, err := LoadProject(p.Dir)
	must(t, err)
	held, err := p.hold()
	must(t, err)
	_, err1 := p.Build(ctx, BuildOrder{})
	_, err2 := p.Add(ctx, AddOrder{Paths: []string{filepath.Join(p.Dir, "x")}})
	if !errs.Is(err1, errs.Locked) || !errs.Is(err2, errs.Locked) {
		t.Errorf("while another is at it: %v; %v", err1, err2)
	}
	must(t, held.Close())
	b, err := p.Build(ctx, BuildOrder{})
	must(t, err)
	measure := b.Signed().Measure
	for name, killed := range map[string]func(dir string){
		"while it wrote":  func(dir string) { plant(t, dir, map[string]string{"new/.building-1/layers/root.erofs": "x"}) },
		"before it swaps": func(dir string) { must(t, os.CopyFS(dir+"/new", os.DirFS(p.BundlePath()))) },
		"while it swaps": func(dir string) {
			must(t, os.CopyFS(dir+"/new", os.DirFS(p.BundlePath())))
			must(t, os.Rename(p.BundlePath(), dir+"/old"))
		},
		"when it had swapped": func(dir string) { must(t, os.CopyFS(dir+"/old", os.DirFS(p.BundlePath()))) },
	} {
		dir := filepath.Join(p.Dir, tmpPrefix+"123")
		must(t, os.Mkdir(dir, 0o700))
		killed(dir)
		held, err := p.hold()
		must(t, err)
		must(t, held.Close())
		again, err := Open(p.BundlePath())
		if err != nil || again.Signed().Measure != measure {
			t.Errorf("killed %s: %v", name, err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("killed %s: it left its directory: %v", name, err)
		}
	}
}

// TestProjectBuildRefuses what cannot be built, and keeps the bundle that is there.
func TestProjectBuildRefuses(t *testing.T) {
	const head = "name: credit\ncommand: [/bin/score]\n"
	other := filepath.Join(t.TempDir(), "other.key")
	_, err := NewLayerKey(other, counting)
	must(t, err)
	for _, row := range []struct {
		name, text string
		files      map[string]string
		order      BuildOrder
		kind       errs.Kind
		says       string
	}{
		{"no command", "name: credit\n", nil, BuildOrder{}, errs.Invalid, "line 1: command is missing"},
		{"no policy", head + "policy: p\n", nil, BuildOrder{}, errs.NotFound, "p: no such file"},
		{"a policy elsewhere", head + "policy: ../p\n", nil, BuildOrder{}, errs.Invalid, "line 3: policy: \"../p\""},
		{"a wrong policy", head + "policy: p\n", map[string]string{"p": "policy: v1\nmode: x\n"}, BuildOrder{},
			errs.Invalid, "line 2"},
		{"no signing key", head, nil, BuildOrder{SignKey: "/none"}, errs.NotFound, "/none"},
		{"no files of a layer", head + "layers: [{name: m, target: /m}]\n", nil, BuildOrder{}, errs.NotFound, "layer m"},
		{"no key of a layer", head + "layers: [{name: m, target: /m}]\n", map[string]string{"secrets/m/x": ""},
			BuildOrder{LayerKeys: map[string]string{"m": "/none"}}, errs.NotFound, "layer m"},
		{"a key of no layer", head, nil, BuildOrder{LayerKeys: map[string]string{"m": other}}, errs.Invalid,
			"no secret layer"},
		{"a file to mount on", head + "layers: [{name: m, target: /etc/passwd}]\n", map[string]string{"secrets/m/x": ""},
			BuildOrder{}, errs.Invalid, "/etc/passwd is no directory"},
	} {
		p := project(t)
		plant(t, p.Dir, map[string]string{projectName: head})
		good, err := LoadProject(p.Dir)
		must(t, err)
		_, err = good.Build(context.Background(), BuildOrder{Random: entropy.Seeded(1)})
		must(t, err)
		before := contents(t, good.BundlePath())
		plant(t, p.Dir, row.files)
		plant(t, p.Dir, map[string]string{projectName: row.text})
		bad, err := LoadProject(p.Dir)
		must(t, err)
		row.order.Random = entropy.Seeded(1)
		_, err = bad.Build(context.Background(), row.order)
		if !errs.Is(err, row.kind) || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %v with %q", row.name, err, row.kind, row.says)
		}
		if !equal(before, contents(t, good.BundlePath())) {
			t.Errorf("%s: the bundle that was there changed", row.name)
		}
	}
}

// TestEditsKeepTheRest adds layers to files of every form.
func TestEditsKeepTheRest(t *testing.T) {
	for _, row := range []struct{ before, after string }{
		{"name: credit # here\n", "name: credit # here\nlayers:\n  - {name: m, target: /m}\n"},
		{"name: credit\nlayers: [] # none\nsvn: 2\n", "name: credit\nlayers:\n  - {name: m, target: /m}\nsvn: 2\n"},
		{"name: credit\nlayers:\n  - name: a\n    target: /a # here\nsvn: 2\n",
			"name: credit\nlayers:\n  - name: a\n    target: /a # here\n  - {name: m, target: /m}\nsvn: 2\n"},
		{"name: credit\nlayers:\n- {name: a, target: /a}\n",
			"name: credit\nlayers:\n- {name: a, target: /a}\n- {name: m, target: /m}\n"},
		{"name: credit\nlayers: [{name: a, target: /a}]\n", ""},
	} {
		dir := tree(t, map[string]string{projectName: row.before})
		p, err := LoadProject(dir)
		must(t, err)
		err = p.addLayer(ProjectLayer{Name: "m", Target: "/m"})
		text := contents(t, dir)[projectName]
		switch {
		case row.after == "" && (!errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "by hand") ||
			text != row.before):
			t.Errorf("%q: %v, %q", row.before, err, text)
		case row.after != "" && (err != nil || text != row.after):
			t.Errorf("%q: %v, %q, want %q", row.before, err, text, row.after)
		}
	}
}

// FuzzParseProject reads any file: it is refused as such, or its manifest is right.
func FuzzParseProject(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(template(NewOrder{Name: "credit"})))
	f.Add([]byte("name: a\nlayers: [{}]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parseProject(data)
		if err != nil {
			if !errs.Is(err, errs.Invalid) && !errs.Is(err, errs.TooLarge) {
				t.Fatalf("kind %v: %v", errs.KindOf(err), err)
			}
			return
		}
		if len(p.Command) == 0 {
			p.Command = []string{"/x"}
		}
		if err := rehearse(p.bare(), p.parts()); err != nil {
			t.Fatalf("%q gives a manifest that is refused: %v", data, err)
		}
	})
}
