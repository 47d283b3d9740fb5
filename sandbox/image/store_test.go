package image

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/sandbox/image/erofs"
)

func small(t testing.TB) *drawing {
	return draw(t, tarOf(t, regular("bin/app", "app"), regular("etc/passwd", "app:x:7:8:A:/home/app:/bin/sh\n")),
		tarOf(t, regular("etc/group", "staff:x:50:\nextra:x:60:other,app\n")))
}

// TestEverySourceOfLayers adds one image in each form: one digest, and what its config says.
func TestEverySourceOfLayers(t *testing.T) {
	d := small(t)
	config, _, _ := d.parts(t)
	saved := []file{regular(hexOf(config.says["digest"].(string))+".json", string(config.content))}
	var names []string
	for i, l := range d.layers {
		name := fmt.Sprintf("%d/layer.tar", i)
		names = append(names, name)
		saved = append(saved, regular(name, string(l.content)))
	}
	saved = append(saved, symlink("again/layer.tar", "../1/layer.tar"))
	names[1] = "again/layer.tar"
	saved = append(saved, regular("manifest.json", string(encode(t, []object{{"Config": saved[0].Name,
		"RepoTags": []string{"app:v1"}, "Layers": names}}))))
	want := add(t, newStore(t), Source{Where: d.layout(t)}, "i")
	for name, source := range map[string]Source{
		"tag":          {Where: d.layout(t), Tag: "v1"},
		"archive":      {Where: d.archive(t, plainTar)},
		"gzip archive": {Where: d.archive(t, gzipped)},
		"zstd archive": {Where: d.archive(t, zstdOf)},
		"docker save":  {Where: writeFile(t, "saved.tar", tarOf(t, saved...)), Tag: "v1"},
	} {
		s := newStore(t)
		before := remains(t, s)
		i := add(t, s, source, "i")
		if i.Digest != want.Digest || !reflect.DeepEqual(i.Config, want.Config) || len(i.Layers) != 2 {
			t.Errorf("%s: %+v", name, i)
		}
		before["erofs"], before["names"], before["builds"] = 1, 1, 1
		if after := remains(t, s); !maps.Equal(before, after) {
			t.Errorf("%s left %v, want %v", name, after, before)
		}
	}
	if got, want := want.Config, (Config{Entrypoint: []string{"/bin/app"}, Cmd: []string{"--serve"},
		Env: []string{"A=b"}, User: "app:staff", WorkDir: "/srv", Ports: []string{"443/tcp", "80/tcp"},
		Volumes: []string{"/data"}, StopSignal: "SIGTERM", Labels: map[string]string{"k": "v"}}); !reflect.DeepEqual(
		got, want) {
		t.Errorf("config %+v, want %+v", got, want)
	}
	if l := want.Layers[0]; l.Digest != digestBytes(d.layers[0].content) || l.DiffID != d.diffIDs[0] ||
		l.Size != int64(len(d.layers[0].content)) {
		t.Errorf("layer %+v", l)
	}
}

// TestRefusedImages spoils what stands around the layers, one thing at a time.
func TestRefusedImages(t *testing.T) {
	platform := func(os, arch string) object { return object{"os": os, "architecture": arch} }
	for _, c := range []struct {
		name  string
		spoil func(d *drawing)
		tag   string
		kind  errs.Kind
		says  string
	}{
		{"marker", func(d *drawing) { d.marker = `{"imageLayoutVersion":"2"}` }, "", errs.Invalid, `imageLayoutVersion is "2"`},
		{"marker is no JSON", func(d *drawing) { d.marker = `{` }, "", errs.Invalid, "oci-layout"},
		{"no image", func(d *drawing) { d.index["manifests"] = []object{} }, "", errs.NotFound, "no image for linux/amd64"},
		{"other tag", func(*drawing) {}, "v2", errs.NotFound, `"v2" for linux/amd64, it has: application/vnd`},
		{"other platform", func(d *drawing) {
			_, m, _ := d.parts(t)
			m.says["platform"] = platform("linux", "arm64")
			d.index["manifests"] = []object{m.says}
		}, "", errs.NotFound, "it has: linux/arm64"},
		{"two images", func(d *drawing) {
			_, m, _ := d.parts(t)
			second := maps.Clone(m.says)
			second["digest"] = digestBytes([]byte("x"))
			d.index["manifests"] = []object{m.says, second}
		}, "", errs.Invalid, "several images"},
		{"index in itself", func(d *drawing) {
			says := object{"mediaType": "application/vnd.oci.image.index.v1+json", "size": 2,
				"digest": digestBytes([]byte("{}"))}
			d.extra = append(d.extra, blobOf{[]byte("{}"), says})
			d.index["manifests"] = []object{says}
		}, "", errs.NotFound, "no image for linux/amd64"},
		{"no image type", func(d *drawing) {
			_, m, _ := d.parts(t)
			m.says["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
			d.index["manifests"] = []object{m.says}
		}, "", errs.NotFound, "no image"},
		{"manifest size", func(d *drawing) {
			_, m, _ := d.parts(t)
			m.says["size"] = 1
			d.index["manifests"] = []object{m.says}
		}, "", errs.Invalid, "its descriptor says 1"},
		{"manifest too large", func(d *drawing) {
			_, m, _ := d.parts(t)
			m.says["size"] = 1 << 30
			d.index["manifests"] = []object{m.says}
		}, "", errs.TooLarge, "the limit is 4194304"},
		{"manifest digest", func(d *drawing) {
			_, m, _ := d.parts(t)
			content := append([]byte(" "), m.content[1:]...)
			d.extra = append(d.extra, blobOf{content, m.says})
			d.index["manifests"] = []object{m.says}
		}, "", errs.Invalid, "has digest"},
		{"config platform", func(d *drawing) { d.config["architecture"] = "arm64" }, "", errs.Invalid, "linux/arm64, want"},
		{"config for another system", func(d *drawing) { d.config["os"] = "windows" }, "", errs.Invalid, "windows/amd64"},
		{"config missing", func(d *drawing) {
			d.manifest["config"] = object{"mediaType": "x", "digest": digestBytes(nil), "size": 0}
		}, "", errs.NotFound, "config sha256:e3b0c"},
		{"a layer too many", func(d *drawing) { d.diffIDs = d.diffIDs[:1] }, "", errs.Invalid,
			"has 2 layers, its config has 1"},
		{"no layers", func(d *drawing) { d.diffIDs, d.layers = nil, nil }, "", errs.Invalid, "diff_ids has 0 layers"},
		{"DiffID is none", func(d *drawing) { d.diffIDs[0] = "sha256:12" }, "", errs.Invalid, "parse"},
		{"encrypted layer", func(d *drawing) {
			d.layers[1].says["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
		}, "", errs.Invalid, "+encrypted"},
		{"foreign layer", func(d *drawing) {
			d.layers[1].says["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		}, "", errs.Invalid, "foreign"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := small(t)
			c.spoil(d)
			refuse(t, Source{Where: d.layout(t), Tag: c.tag}, c.kind, c.says)
		})
	}
}

func TestRefusedSources(t *testing.T) {
	shared, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	loose := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(loose, 0o600); err != nil {
		t.Fatal(err)
	}
	twice := tarOf(t, regular("oci-layout", "{}"), regular("oci-layout", "{}"))
	two := tarOf(t, regular("manifest.json", `[{"Config":"a"},{"Config":"b"}]`))
	wrong := strings.Repeat("0", 64) + ".json"
	named := tarOf(t, regular("manifest.json", `[{"Config":"`+wrong+`","Layers":[]}]`), regular(wrong, "{}"))
	for _, c := range []struct {
		name   string
		source Source
		kind   errs.Kind
		says   string
	}{
		{"nothing", Source{Where: filepath.Join(t.TempDir(), "absent")}, errs.NotFound, "absent"},
		{"a pipe", Source{Where: loose}, errs.Invalid, "neither a file nor a directory"},
		{"text", Source{Where: writeFile(t, "notes", []byte("hello"))}, errs.Invalid, "no ELF program and no tar"},
		{"a pipe as an archive", Source{Kind: Archive, Where: loose}, errs.Invalid, "not a regular file"},
		{"a pipe as a program", Source{Kind: Program, Where: loose}, errs.Invalid, "not a regular file"},
		{"no kind", Source{Kind: "zip", Where: "x"}, errs.Invalid, `"zip"`},
		{"a tar of something", Source{Where: writeFile(t, "t", tarOf(t, regular("a", "a")))}, errs.Invalid,
			"neither oci-layout"},
		{"entries twice", Source{Where: writeFile(t, "t", twice)}, errs.Invalid, `"oci-layout": it is there twice`},
		{"archive escapes", Source{Where: writeFile(t, "t", tarOf(t, regular("../manifest.json", "[]")))}, errs.Invalid, `".."`},
		{"two saved images", Source{Where: writeFile(t, "t", two)}, errs.Invalid, "several images"},
		{"saved tag", Source{Where: writeFile(t, "t", two), Tag: "x"}, errs.NotFound, `no image "x"`},
		{"config digest", Source{Where: writeFile(t, "t", named)}, errs.Invalid, "config " + wrong + " has digest"},
		{"damaged archive", Source{Where: writeFile(t, "t.gz", gzipped(t, twice)[:40])}, errs.Invalid, "unexpected EOF"},
		{"shared program", Source{Where: shared}, errs.Invalid, "needs the interpreter /lib64/ld-linux"},
		{"damaged program", Source{Where: writeFile(t, "p", []byte("\x7fELF and then nothing"))}, errs.Invalid, "headers"},
		{"program of a taken name", Source{Where: copyOf(t, testProgram(t), "etc")}, errs.Invalid,
			"a directory of the image"},
		{"reference", Source{Kind: Registry, Where: "Not A Reference"}, errs.Invalid, "Not A Reference"},
	} {
		t.Run(c.name, func(t *testing.T) { refuse(t, c.source, c.kind, c.says) })
	}
	for _, name := range []string{"", "a\x7f", "a\nb", strings.Repeat("n", maxName+1), "\xff"} {
		if _, err := newStore(t).Add(context.Background(), Source{}, name); !errs.Is(err, errs.Invalid) {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

// testProgram returns the least static program: a header, and one page to map.
func testProgram(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	header := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: 0x400078,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	load := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: 5, Vaddr: 0x400000, Paddr: 0x400000, Filesz: 128, Memsz: 128,
		Align: 4096}
	exit := [8]byte{0xb0, 0x3c, 0x31, 0xff, 0x0f, 0x05} // exit(0)
	for _, part := range []any{header, load, exit} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return writeFile(t, "program", b.Bytes())
}

func copyOf(t testing.TB, path, name string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, name, content)
}

func TestProgram(t *testing.T) {
	path := copyOf(t, testProgram(t), "app")
	s := newStore(t)
	i := add(t, s, Source{Where: path}, "app")
	again := add(t, newStore(t), Source{Where: copyOf(t, path, "app")}, "other")
	if i.Digest != again.Digest {
		t.Error("one program, two digests")
	}
	if !slices.Equal(i.Config.Entrypoint, []string{"/app"}) || i.Source != "binary "+path {
		t.Errorf("%+v", i)
	}
	got := shows(t, i)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got["app"] != string(content) {
		t.Error("/app holds something else")
	}
	for path, want := range map[string]string{"tmp": "/", "proc": "/", "dev": "/", "sys": "/", "root": "/",
		"etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n", "etc/resolv.conf": ""} {
		if text, there := got[path]; !there || text != want {
			t.Errorf("%s is %q, %v", path, text, there)
		}
	}
}

// plantTree makes a small root file system.
func plantTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	for name, content := range map[string]string{"etc/passwd": "root:x:0:0::/:\n", "bin/app": "app", "empty": ""} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Symlink("/bin", filepath.Join(dir, "sbin")), os.Mkdir(filepath.Join(dir, "void"), 0o700),
		os.Link(filepath.Join(dir, "bin/app"), filepath.Join(dir, "bin/app2")),
		os.Chmod(filepath.Join(dir, "bin/app"), 0o755|os.ModeSetuid), unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestDirectory(t *testing.T) {
	dir := plantTree(t)
	s := newStore(t)
	i := add(t, s, Source{Where: dir}, "i")
	want := system(map[string]string{"bin": "/", "bin/app": "app", "bin/app2": "app", "empty": "", "etc": "/",
		"etc/passwd": "root:x:0:0::/:\n", "sbin": "-> /bin", "void": "/", "pipe": ""})
	if got := shows(t, i); !maps.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	c, err := Read(i)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	app, err := c.Lookup("sbin/app2")
	if err != nil || app.Mode != erofs.Regular|0o4755 || app.Links != 2 || app.UID != uint32(os.Getuid()) {
		t.Errorf("app is %+v, %v", app, err)
	}
	if again := add(t, s, Source{Where: dir}, "again"); again.Digest != i.Digest {
		t.Error("the same directory, another digest")
	}
	zero := Options{ZeroTime: true, RootOwns: true}
	one := add(t, s, Source{Where: dir, Options: zero}, "x")
	other := add(t, s, Source{Where: plantTree(t), Options: zero}, "y")
	if one.Digest != other.Digest || one.Digest == i.Digest {
		t.Error("directories that differ in times alone are two images")
	}
}

func TestRefusedDirectories(t *testing.T) {
	dir := plantTree(t)
	deep := filepath.Join(dir, "void")
	if os.Geteuid() == 0 {
		null := filepath.Join(dir, "null")
		if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
			t.Logf("no device nodes here: %v", err)
		} else {
			refuse(t, Source{Where: dir}, errs.Refused, `"null" is a device node`)
			i := add(t, newStore(t), Source{Where: dir, Options: Options{Devices: DropDevices}}, "i")
			if i.Dropped.Devices != 1 {
				t.Errorf("dropped %+v", i.Dropped)
			}
			if err := os.Remove(null); err != nil {
				t.Fatal(err)
			}
		}
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	s := newStore(t)
	before := remains(t, s)
	if _, err := s.Add(stopped, Source{Where: deep}, "i"); !errs.Is(err, errs.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	if after := remains(t, s); !maps.Equal(before, after) {
		t.Errorf("left %v, before %v", after, before)
	}
	changed := &hostContent{name: "empty"}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	changed.root = root
	if _, err := changed.Open(); !errs.Is(err, errs.Busy) {
		t.Errorf("a changed file: %v", err)
	}
}

func TestNamesAndDigests(t *testing.T) {
	ctx := context.Background()
	s := newStore(t)
	where := small(t).layout(t)
	i := add(t, s, Source{Where: where}, "docker.io/library/app:1")
	add(t, s, Source{Where: where}, "app")
	other := add(t, s, Source{Where: plantTree(t)}, "zoo")
	all, err := s.List()
	if err != nil || len(all) != 3 || all[0].Name != "app" || all[1].Name != i.Name || all[2].Name != "zoo" {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, name := range []string{"app", i.Digest, i.Digest[:7+12], hexOf(i.Digest)} {
		if found, err := s.Find(name); err != nil || found.Digest != i.Digest || found.Path != i.Path ||
			found.Added.IsZero() {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	for _, name := range []string{"absent", hexOf(i.Digest)[:11], strings.Repeat("0", 64), "../lock"} {
		if _, err := s.Find(name); !errs.Is(err, errs.NotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Remove(ctx, "app"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(i.Path); err != nil {
		t.Error("an image with a name is gone")
	}
	add(t, s, Source{Where: where}, "zoo") // takes the name: the tree has none left
	if _, err := os.Stat(other.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an image without a name is still there: %v", err)
	}
	for _, name := range []string{"zoo", i.Name} {
		if err := s.Remove(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Remove(ctx, "zoo"); !errs.Is(err, errs.NotFound) {
		t.Errorf("removed twice: %v", err)
	}
	left := remains(t, s)
	if left["erofs"]+left["names"]+left["builds"]+left["tmp"] != 0 {
		t.Errorf("left %v", left)
	}
}

// TestKnownLayersAreNotRead takes the layers away: what they made is known by their digests.
func TestKnownLayersAreNotRead(t *testing.T) {
	s := newStore(t)
	d := small(t)
	first := add(t, s, Source{Where: d.layout(t)}, "first")
	for _, l := range d.layers {
		d.skip[l.says["digest"].(string)] = true
	}
	bare := d.layout(t)
	second := add(t, s, Source{Where: bare}, "second")
	if second.Digest != first.Digest {
		t.Errorf("%s, want %s", second.Digest, first.Digest)
	}
	if again := add(t, s, Source{Where: bare}, "second"); !reflect.DeepEqual(again, second) {
		t.Errorf("added again: %+v, want %+v", again, second)
	}
	refuseIn(t, s, Source{Where: bare, Options: Options{ZeroTime: true}}, errs.NotFound, "layer ")
	if err := os.Remove(first.Path); err != nil {
		t.Fatal(err)
	}
	refuseIn(t, s, Source{Where: bare}, errs.NotFound, "layer ")
}

// TestSweep leaves what killed processes leave, and what live ones are making.
func TestSweep(t *testing.T) {
	root := t.TempDir()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"draft-1", "spool-2"} {
		if err := os.WriteFile(s.path("tmp", name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"erofs", "builds"} { // finished, and killed before it was named
		if err := os.WriteFile(s.path(dir, strings.Repeat("0", 64)), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	live, err := s.draft(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if _, err := Open(root); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.path("tmp", ""))
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(live.Name()) {
		t.Errorf("left %v, %v", entries, err)
	}
	if left := remains(t, s); left["erofs"]+left["builds"] != 0 {
		t.Errorf("left %v", left)
	}
}

// TestManyAtOnce adds, finds and removes the same images from several stores at a time.
func TestManyAtOnce(t *testing.T) {
	root := t.TempDir()
	where := []string{small(t).layout(t), draw(t, tarOf(t, regular("x", "x"))).layout(t)}
	var all sync.WaitGroup
	for worker := range 6 {
		all.Go(func() {
			s, err := Open(root)
			if err != nil {
				t.Error(err)
				return
			}
			for round := range 5 {
				name := fmt.Sprintf("i%d", (worker+round)%3)
				i, err := s.Add(context.Background(), Source{Where: where[(worker+round)%2]}, name)
				if err != nil && !errs.Is(err, errs.Busy) {
					t.Error(err)
				}
				if _, err := s.List(); err != nil {
					t.Error(err)
				}
				if round == 2 {
					if err := s.Remove(context.Background(), i.Name); err != nil && !errs.Is(err, errs.NotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	s, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	images, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, i := range images {
		named[i.Digest] = true
		if _, err := Verify(context.Background(), i); err != nil {
			t.Error(err)
		}
	}
	if left := remains(t, s); left["tmp"] != 0 || left["erofs"] != len(named) || left["names"] != len(images) {
		t.Errorf("left %v of %d images", left, len(named))
	}
}

func TestDamagedRecords(t *testing.T) {
	s := newStore(t)
	i := add(t, s, Source{Where: small(t).layout(t)}, "i")
	name := s.path("names", nameFile("i"))
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"{", `{"name":"other"}`, `{"name":"i","digest":"sha256:../../x"}`} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Find("i"); !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", content, err)
		}
	}
	if err := os.Chmod(i.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(i.Path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("?"), i.Size-erofs.BlockBytes); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(context.Background(), i); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a damaged image: %v", err)
	}
}

func TestUser(t *testing.T) {
	c, err := Read(add(t, newStore(t), Source{Where: small(t).layout(t)}, "i"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for text, want := range map[string]User{
		"":          {},
		"0":         {},
		"app":       {UID: 7, GID: 8, Groups: []uint32{60}, Home: "/home/app"},
		"7":         {UID: 7, GID: 8, Groups: []uint32{60}, Home: "/home/app"},
		"app:staff": {UID: 7, GID: 50, Home: "/home/app"},
		"9:9":       {UID: 9, GID: 9},
		"9":         {UID: 9},
	} {
		if got, err := c.User(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"nobody", "app:wheel", "-1"} {
		if _, err := c.User(text); !errs.Is(err, errs.NotFound) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestDefaultNames(t *testing.T) {
	for want, s := range map[string]Source{"debian:12": {Kind: Registry, Where: "debian:12"},
		"app": {Kind: Archive, Where: "/x/app.tar.gz"}, "app:v1": {Kind: Layout, Where: "/x/app/", Tag: "v1"}} {
		if got := s.DefaultName(); got != want {
			t.Errorf("%+v: %s, want %s", s, got, want)
		}
	}
}

// TestLimitsAreDocumented holds the reference to the limits in the code.
func TestLimitsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/sandbox-images.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		fmt.Sprintf("| image | %d GiB |", int64(maxContents)>>30),
		fmt.Sprintf("| layer, uncompressed | %d GiB |", int64(maxLayer)>>30),
		fmt.Sprintf("| growth of a compressed layer | %d for one, after %d MiB |", maxRatio, ratioFree>>20),
		fmt.Sprintf("| files | %d |", erofs.MaxNodes), fmt.Sprintf("| entries of all layers | %d |", maxEntries),
		fmt.Sprintf("| %d, %d, %d bytes |", erofs.MaxPath, erofs.MaxName, erofs.MaxTarget),
		fmt.Sprintf("| names of one file | %d |", erofs.MaxLinks), fmt.Sprintf("| layers | %d |", maxLayers),
		fmt.Sprintf("| manifest, index, config | %d MiB |", maxManifest>>20),
		fmt.Sprintf("| memory for a zstd layer | %d MiB |", maxWindow>>20),
	} {
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/reference/sandbox-images.md does not say %q", row)
		}
	}
}
