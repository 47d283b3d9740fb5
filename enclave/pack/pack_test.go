package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/sandbox/image/erofs"
	"surety/sys/entropy"
)

var testLayerKey = layer.Key{7: 7}

func testKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// tree writes files below a new directory: a name that ends in / is a directory, a content that
// begins with -> a symbolic link.
func tree(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	plant(t, dir, files)
	return dir
}

func plant(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		target, isLink := strings.CutPrefix(files[name], "->")
		switch {
		case strings.HasSuffix(name, "/"):
			must(t, os.MkdirAll(path, 0o755))
		case isLink:
			must(t, os.Symlink(target, path))
		default:
			must(t, os.WriteFile(path, []byte(files[name]), 0o644))
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// manifest is one without layers, whose secrets are with a pinned broker.
func manifest() enclave.Manifest {
	return enclave.Manifest{Format: 1, Name: "credit", Product: "credit", SVN: 1, Command: []string{"/bin/score"},
		Cwd: "/", Network: enclave.NetworkNone,
		Brokers: []enclave.Broker{{Name: "bank", Key: enclave.KeyID{1}}},
		State:   []enclave.State{{Name: "books", Target: "/var/lib/books", Bytes: 4096, Broker: "bank"}}}
}

// parts are a public root and a secret layer with something large in each.
func parts(t testing.TB) []Part {
	large := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(large)
	root := tree(t, map[string]string{"bin/score": "#!/bin/sh\n" + string(large), "bin/link": "->score",
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "empty/": ""})
	must(t, os.Chmod(filepath.Join(root, "bin/score"), 0o755))
	secret := tree(t, map[string]string{"model": secretText + string(large), "more/weights": "0.25"})
	return []Part{{Name: "root", Kind: enclave.Public, Target: "/", Dir: root},
		{Name: "models", Kind: enclave.Secret, Target: "/models", Dir: secret, Key: testLayerKey,
			KeyRef: "bank/credit/layer-key/models"}}
}

const secretText = "the weights that nobody else may read "

// builder gives ids that are the same in every run.
func builder(reuse *Bundle) *Builder {
	return &Builder{Signer: testKey("signer"), Reuse: reuse, Random: entropy.Seeded(1)}
}

func build(t testing.TB, b *Builder, m enclave.Manifest, p []Part) *Bundle {
	t.Helper()
	made, err := b.Build(context.Background(), filepath.Join(t.TempDir(), "bundle"), m, p)
	must(t, err)
	t.Cleanup(func() { must(t, made.Close()) })
	return made
}

// contents returns the files of a directory by name.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			var data []byte
			data, err = os.ReadFile(path)
			name, _ := filepath.Rel(dir, path)
			found[name] = string(data)
		}
		return err
	}))
	return found
}

// TestBuiltIsReadBack looks at what Build made with the eyes of those who use it.
func TestBuiltIsReadBack(t *testing.T) {
	p := parts(t)
	b := build(t, builder(nil), manifest(), p)
	s := b.Signed()
	if s.Signer != enclave.KeyIDOf(testKey("signer").Public().(ed25519.PublicKey)) || len(s.Manifest.Layers) != 2 {
		t.Fatalf("the manifest is %+v", s.Manifest)
	}
	if again, err := enclave.OpenSigned(b.SignedBytes()); err != nil || again.Measure != s.Measure {
		t.Errorf("the signed bytes: %v", err)
	}
	files := contents(t, b.Path())
	if len(files) != 3 {
		t.Errorf("there are %d files", len(files))
	}
	for name, content := range files {
		if strings.Contains(content, secretText) {
			t.Errorf("%s has the secret", name)
		}
	}
	must(t, b.Verify(context.Background()))
	must(t, b.VerifyWith(context.Background(), map[string]layer.Key{"models": testLayerKey}))
	err := b.VerifyWith(context.Background(), map[string]layer.Key{"models": {}})
	if !errs.Is(err, errs.Unauthorized) || !strings.Contains(err.Error(), "layer models") {
		t.Errorf("with another key: %v", err)
	}
	checkRoot(t, b)
	checkSecret(t, b)
	if _, err := b.LayerPath(2); !errs.Is(err, errs.Invalid) {
		t.Errorf("a third layer: %v", err)
	}
}

// checkRoot reads the public image: everything is root's and of 1970, and can be mounted on.
func checkRoot(t *testing.T, b *Bundle) {
	t.Helper()
	path, err := b.LayerPath(0)
	must(t, err)
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	r, err := erofs.Open(f, int64(b.Signed().Manifest.Layers[0].Bytes))
	must(t, err)
	must(t, r.Walk(func(path string, i erofs.Inode) error {
		if i.UID != 0 || i.GID != 0 || i.Seconds != 0 || i.Nanos != 0 {
			t.Errorf("%s is %d:%d's and of %d.%d", path, i.UID, i.GID, i.Seconds, i.Nanos)
		}
		return nil
	}))
	for _, dir := range []string{"/dev", "/proc", "/sys", "/tmp", "/models", "/var/lib/books", "/empty"} {
		if i, err := r.Lookup(dir); err != nil || !i.Is(erofs.Directory) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if i, _ := r.Lookup("/bin/link"); i.Mode != erofs.Regular|0o755 {
		t.Errorf("/bin/link leads to mode %o", i.Mode)
	}
}

func checkSecret(t *testing.T, b *Bundle) {
	t.Helper()
	path, err := b.LayerPath(1)
	must(t, err)
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	l := &b.Signed().Manifest.Layers[1]
	plain, err := layer.Open(f, LayerBytes(l), SealedOf(l), testLayerKey)
	must(t, err)
	r, err := erofs.Open(plain, plain.Size())
	must(t, err)
	model, err := r.ReadFile("/model", 4<<20)
	if err != nil || !strings.HasPrefix(string(model), secretText) {
		t.Errorf("the model: %v", err)
	}
	if _, err := r.Lookup("/dev"); !errs.Is(err, errs.NotFound) {
		t.Errorf("a secret layer has /dev: %v", err)
	}
}

// TestBuildsAreRepeatable builds twice: of the same files, at another place, of other times.
func TestBuildsAreRepeatable(t *testing.T) {
	p := parts(t)
	one := build(t, builder(nil), manifest(), p)
	moved := slices.Clone(p)
	for i := range moved {
		moved[i].Dir = filepath.Join(t.TempDir(), "elsewhere")
		must(t, os.CopyFS(moved[i].Dir, os.DirFS(p[i].Dir)))
		must(t, filepath.WalkDir(moved[i].Dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				err = os.Chtimes(path, time.Unix(1e9, 5), time.Unix(1e9, 5))
			}
			return err
		}))
		mirrorModes(t, p[i].Dir, moved[i].Dir)
	}
	two := build(t, builder(one), manifest(), moved)
	if before, after := contents(t, one.Path()), contents(t, two.Path()); !equal(before, after) {
		t.Errorf("the bundles differ: %+v", enclave.Diff(one.Signed().Manifest, two.Signed().Manifest))
	}
	must(t, two.VerifyWith(context.Background(), map[string]layer.Key{"models": testLayerKey}))
}

func mirrorModes(t *testing.T, from, to string) {
	t.Helper()
	must(t, filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		must(t, err)
		name, _ := filepath.Rel(from, path)
		if d.Type()&os.ModeSymlink != 0 {
			return nil
		}
		return os.Chmod(filepath.Join(to, name), info.Mode().Perm())
	}))
}

func equal(a, b map[string]string) bool {
	for name, content := range a {
		if b[name] != content {
			return false
		}
	}
	return len(a) == len(b)
}

// TestSecretLayersAreSealedAnew where anything about them changed, and under a new id each time.
func TestSecretLayersAreSealedAnew(t *testing.T) {
	p := parts(t)
	b := builder(nil)
	one := build(t, b, manifest(), p)
	fresh := build(t, b, manifest(), p)
	if fresh.Signed().Manifest.Layers[1].ID == one.Signed().Manifest.Layers[1].ID {
		t.Error("without reuse, the id is used twice")
	}
	for _, row := range []struct {
		name   string
		change func(*Part)
	}{
		{"another key", func(p *Part) { p.Key[0]++ }},
		{"other contents", func(p *Part) { plant(t, p.Dir, map[string]string{"more/weights": "0.26"}) }},
		{"one file more", func(p *Part) { plant(t, p.Dir, map[string]string{"new": "x"}) }},
		{"another mode", func(p *Part) { must(t, os.Chmod(filepath.Join(p.Dir, "model"), 0o600)) }},
		{"a damaged bundle", func(*Part) { flip(t, filepath.Join(one.Path(), "layers/models.sealed"), 70000) }},
	} {
		b.Reuse = one
		changed := slices.Clone(p)
		changed[1].Dir = filepath.Join(t.TempDir(), "copy")
		must(t, os.CopyFS(changed[1].Dir, os.DirFS(p[1].Dir)))
		row.change(&changed[1])
		made := build(t, b, manifest(), changed)
		before, after := one.Signed().Manifest.Layers[1], made.Signed().Manifest.Layers[1]
		if before.ID == after.ID || before.Root == after.Root {
			t.Errorf("%s: the layer was taken as it was", row.name)
		}
		must(t, made.VerifyWith(context.Background(), map[string]layer.Key{"models": changed[1].Key}))
	}
}

// flip changes one bit of a file.
func flip(t testing.TB, path string, at int) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	data[at%len(data)] ^= 4
	must(t, os.WriteFile(path, data, 0o644))
}

// TestVerifySeesEveryFile spoils one thing at a time.
func TestVerifySeesEveryFile(t *testing.T) {
	p := parts(t)
	keys := map[string]layer.Key{"models": testLayerKey}
	for _, row := range []struct {
		name  string
		spoil func(dir string)
		text  string
	}{
		{"the public image", func(dir string) { flip(t, dir+"/layers/root.erofs", 2<<20) }, "layer root: its SHA-256"},
		{"the sealed header", func(dir string) { flip(t, dir+"/layers/models.sealed", 100) }, "layer models: "},
		{"a sealed block", func(dir string) { flip(t, dir+"/layers/models.sealed", 1<<20) }, "models: layer.read: block"},
		{"a short image", func(dir string) { must(t, os.Truncate(dir+"/layers/root.erofs", 4096)) }, "has 4096 bytes"},
		{"no image", func(dir string) { must(t, os.Remove(dir+"/layers/root.erofs")) }, "is missing"},
		{"a link", func(dir string) {
			must(t, os.Rename(dir+"/layers/root.erofs", dir+"/x"))
			must(t, os.Symlink("../x", dir+"/layers/root.erofs"))
		}, "is no regular file"},
		{"the manifest", func(dir string) { flip(t, dir+"/manifest.cose", 200) }, "pack.open"},
	} {
		b := build(t, builder(nil), manifest(), p)
		row.spoil(b.Path())
		again, err := Open(b.Path())
		if err == nil {
			err = again.VerifyWith(context.Background(), keys)
			must(t, again.Close())
		}
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v, want corrupt with %q", row.name, err, row.text)
		}
	}
	for _, path := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := Open(path); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestBuildRefuses what makes no enclave, and leaves nothing behind.
func TestBuildRefuses(t *testing.T) {
	good := parts(t)
	taken := filepath.Join(t.TempDir(), "taken")
	must(t, os.Mkdir(taken, 0o755))
	inTheWay := tree(t, map[string]string{"models": "a file"})
	junk := filepath.Join(tree(t, map[string]string{"x": strings.Repeat("x", 8192)}), "x")
	stopped, stop := context.WithCancel(context.Background())
	stop()
	for _, row := range []struct {
		name   string
		change func(out *string, ctx *context.Context, m *enclave.Manifest, p []Part)
		kind   errs.Kind
		text   string
	}{
		{"a place that is taken", func(out *string, _ *context.Context, _ *enclave.Manifest, _ []Part) { *out = taken },
			errs.Exists, "is there already"},
		{"a wrong manifest", func(_ *string, _ *context.Context, m *enclave.Manifest, _ []Part) { m.Command = nil },
			errs.Invalid, "command: it is missing"},
		{"an unknown broker", func(_ *string, _ *context.Context, m *enclave.Manifest, p []Part) { p[1].KeyRef = "x/y/z/w" },
			errs.Invalid, "layers[1].key"},
		{"a secret root", func(_ *string, _ *context.Context, m *enclave.Manifest, p []Part) { p[0].Kind = enclave.Secret },
			errs.Invalid, "layers[0].kind"},
		{"of nothing", func(_ *string, _ *context.Context, m *enclave.Manifest, p []Part) { p[1].Dir = "" },
			errs.Invalid, "layer models: it is of nothing"},
		{"of two things", func(_ *string, _ *context.Context, m *enclave.Manifest, p []Part) { p[1].Image = "x" },
			errs.Invalid, "layer models: it is of a directory and"},
		{"no directory", func(_ *string, _ *context.Context, m *enclave.Manifest, p []Part) { p[1].Dir += "/none" },
			errs.NotFound, "layer models"},
		{"no image", func(_ *string, _ *context.Context, m *enclave.Manifest, p []Part) { p[1].Dir, p[1].Image = "", junk },
			errs.Corrupt, "layer models"},
		{"a file to mount on", func(_ *string, _ *context.Context, m *enclave.Manifest, p []Part) { p[0].Dir = inTheWay },
			errs.Invalid, "/models is no directory in the root"},
		{"stopped", func(_ *string, ctx *context.Context, _ *enclave.Manifest, _ []Part) { *ctx = stopped },
			errs.Canceled, "stopped"},
	} {
		ctx, m, p := context.Background(), manifest(), slices.Clone(good)
		parent := t.TempDir()
		out := filepath.Join(parent, "bundle")
		row.change(&out, &ctx, &m, p)
		_, err := builder(nil).Build(ctx, out, m, p)
		if !errs.Is(err, row.kind) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v, want %v with %q", row.name, err, row.kind, row.text)
		}
		if left, _ := os.ReadDir(parent); len(left) != 0 {
			t.Errorf("%s: it left %v", row.name, left)
		}
	}
}

// TestImagesAreTakenAsTheyAre builds of a bundle's own root image.
func TestImagesAreTakenAsTheyAre(t *testing.T) {
	p := parts(t)
	one := build(t, builder(nil), manifest(), p)
	path, err := one.LayerPath(0)
	must(t, err)
	p[0].Dir, p[0].Image = "", path
	two := build(t, builder(one), manifest(), p)
	if one.Signed().Measure != two.Signed().Measure {
		t.Errorf("they differ in %+v", enclave.Diff(one.Signed().Manifest, two.Signed().Manifest))
	}
	p[1].Target = "/elsewhere"
	_, err = builder(nil).Build(context.Background(), filepath.Join(t.TempDir(), "b"), manifest(), p)
	if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "/elsewhere is to be mounted on") {
		t.Errorf("without a place to mount on: %v", err)
	}
}

// TestPackedIsTheSame packs a bundle into one file, twice, and reads it.
func TestPackedIsTheSame(t *testing.T) {
	ctx := context.Background()
	b := build(t, builder(nil), manifest(), parts(t))
	dir := t.TempDir()
	file, again := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	must(t, Package(ctx, b, file, nil))
	must(t, Package(ctx, b, again, nil))
	files := contents(t, dir)
	if len(files) != 2 || files["a"] != files["b"] {
		t.Errorf("%d files, or they differ", len(files))
	}
	packed, err := Open(file)
	must(t, err)
	if packed.Signed().Measure != b.Signed().Measure {
		t.Error("it is another measurement")
	}
	must(t, packed.VerifyWith(ctx, map[string]layer.Key{"models": testLayerKey}))
	path, err := packed.LayerPath(1)
	must(t, err)
	if data, err := os.ReadFile(path); err != nil || string(data) != contents(t, b.Path())["layers/models.sealed"] {
		t.Errorf("the layer is another one: %v", err)
	}
	must(t, Package(ctx, packed, filepath.Join(dir, "c"), nil))
	must(t, packed.Close())
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("closed, and its layers are still there: %v", err)
	}
	if files := contents(t, dir); files["c"] != files["a"] {
		t.Error("packed again from the file, the bytes differ")
	}
	if err := Package(ctx, b, file, nil); !errs.Is(err, errs.Exists) {
		t.Errorf("over another file: %v", err)
	}
}

// TestPackageRefuses what is not for others.
func TestPackageRefuses(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(m *enclave.Manifest)
		text   string
	}{
		{"debug", func(m *enclave.Manifest) { m.Debug = true }, "debug build"},
		{"an unpinned broker", func(m *enclave.Manifest) {
			m.Brokers = append(m.Brokers, enclave.Broker{Name: enclave.LocalBroker})
		}, "takes simulated evidence"},
		{"the local broker, pinned", func(m *enclave.Manifest) {
			m.Brokers = append(m.Brokers, enclave.Broker{Name: enclave.LocalBroker, Key: enclave.KeyID{2}})
		}, "takes simulated evidence"},
	} {
		m := manifest()
		row.change(&m)
		b := build(t, builder(nil), m, parts(t))
		dir := t.TempDir()
		err := Package(context.Background(), b, filepath.Join(dir, "file"), nil)
		if !errs.Is(err, errs.Refused) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v", row.name, err)
		}
		if left := contents(t, dir); len(left) != 0 {
			t.Errorf("%s: it left %d files", row.name, len(left))
		}
	}
	b := build(t, builder(nil), manifest(), parts(t))
	flip(t, filepath.Join(b.Path(), "layers/root.erofs"), 5000)
	if err := Package(context.Background(), b, filepath.Join(t.TempDir(), "x"), nil); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a damaged bundle: %v", err)
	}
}

// TestPackedIsUntrusted gives files that are no bundles, or have something else in them.
func TestPackedIsUntrusted(t *testing.T) {
	b := build(t, builder(nil), manifest(), parts(t))
	files := contents(t, b.Path())
	type member struct {
		name    string
		content string
		kind    byte
	}
	whole := []member{{"manifest.cose", files["manifest.cose"], tar.TypeReg},
		{"layers/root.erofs", files["layers/root.erofs"], tar.TypeReg},
		{"layers/models.sealed", files["layers/models.sealed"], tar.TypeReg}}
	archive := func(change func(m []member) []member) []byte {
		var to bytes.Buffer
		w := tar.NewWriter(&to)
		for _, m := range change(slices.Clone(whole)) {
			h := &tar.Header{Typeflag: m.kind, Name: m.name, Size: int64(len(m.content)), Mode: 0o644}
			if m.kind != tar.TypeReg {
				h.Linkname, h.Size, m.content = "/etc/passwd", 0, ""
			}
			must(t, w.WriteHeader(h))
			_, err := io.WriteString(w, m.content)
			must(t, err)
		}
		must(t, w.Close())
		return to.Bytes()
	}
	good := archive(func(m []member) []member { return m })
	for _, row := range []struct {
		name string
		file []byte
		good bool
	}{
		{"the bundle", good, true},
		{"nothing", nil, false},
		{"no tar", []byte(strings.Repeat("x", 4096)), false},
		{"cut in the manifest", good[:700], false},
		{"cut in a layer", good[:1<<20], false},
		{"cut in the last layer", good[:len(good)-5000], false},
		{"no layers", archive(func(m []member) []member { return m[:1] }), false},
		{"another order", archive(func(m []member) []member { m[1], m[2] = m[2], m[1]; return m }), false},
		{"a name that leads out", archive(func(m []member) []member { m[1].name = "../root.erofs"; return m }), false},
		{"an absolute name", archive(func(m []member) []member { m[1].name = "/layers/root.erofs"; return m }), false},
		{"a link", archive(func(m []member) []member { m[1].kind = tar.TypeSymlink; return m }), false},
		{"a hard link", archive(func(m []member) []member { m[1].kind = tar.TypeLink; return m }), false},
		{"a longer layer", archive(func(m []member) []member { m[1].content += "x"; return m }), false},
		{"something behind", archive(func(m []member) []member { return append(m, member{"x", "y", tar.TypeReg}) }), false},
		{"a manifest twice", archive(func(m []member) []member { return append(m[:1], m...) }), false},
		{"a huge manifest", archive(func(m []member) []member {
			m[0].content += strings.Repeat("x", 1<<20)
			return m
		}), false},
	} {
		path := filepath.Join(t.TempDir(), "packed")
		must(t, os.WriteFile(path, row.file, 0o644))
		t.Setenv("TMPDIR", t.TempDir())
		b, err := Open(path)
		if err == nil {
			err = b.Verify(context.Background())
			must(t, b.Close())
		}
		if row.good != (err == nil) || err != nil && !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", row.name, err)
		}
		if left, _ := os.ReadDir(os.TempDir()); len(left) != 0 {
			t.Errorf("%s: it left %v", row.name, left)
		}
	}
}

// FuzzOpenPacked opens any file as a bundle: what is opened was signed.
func FuzzOpenPacked(f *testing.F) {
	b := build(f, builder(nil), manifest(), []Part{{Name: "root", Kind: enclave.Public, Target: "/",
		Dir: tree(f, map[string]string{"a": "b"})}})
	path := filepath.Join(f.TempDir(), "packed")
	must(f, Package(context.Background(), b, path, nil))
	data, err := os.ReadFile(path)
	must(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "packed")
		must(t, os.WriteFile(path, data, 0o600))
		b, err := Open(path)
		if err == nil {
			err = errors.Join(b.Verify(context.Background()), b.Close())
		}
		if err != nil && !errs.Is(err, errs.Corrupt) {
			t.Fatalf("kind %v: %v", errs.KindOf(err), err)
		}
	})
}
