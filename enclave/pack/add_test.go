package pack

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"surety/base/errs"
	"surety/sys/entropy"
)

// machine is the root of a host with a distribution's merged directories: /lib is usr/lib.
func machine(t testing.TB, more map[string]string) string {
	loader := linked{}.bytes(t)
	files := map[string]string{
		"lib": "->usr/lib", "lib64": "->usr/lib64", "bin": "->usr/bin",
		"usr/lib/x86_64-linux-gnu/ld.so.2": loader, "usr/lib64/ld.so.2": "->../lib/x86_64-linux-gnu/ld.so.2",
		"usr/lib/x86_64-linux-gnu/libc.so.6": linked{needed: []string{"ld.so.2"}}.bytes(t),
		"etc/ld.so.conf":                     "include ld.so.conf.d/*.conf # more\n",
		"etc/ld.so.conf.d/b.conf":            "/usr/local/lib\n",
		"etc/ld.so.conf.d/a.conf":            "/lib/x86_64-linux-gnu\n/usr/lib/x86_64-linux-gnu\n",
	}
	for name, content := range more {
		files[name] = content
	}
	root := tree(t, files)
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.Chmod(path, 0o755)
		}
		return err
	}))
	return root
}

func project(t testing.TB) *Project {
	t.Helper()
	p, err := NewProject(NewOrder{Dir: filepath.Join(t.TempDir(), "credit"), Random: entropy.Seeded(3)})
	must(t, err)
	return p
}

// inside lists the files and links of a project's root, without etc.
func inside(t testing.TB, p *Project) []string {
	t.Helper()
	var found []string
	root := filepath.Join(p.Dir, rootName)
	must(t, filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err != nil || d.IsDir() || strings.HasPrefix(name, "etc/") {
			return err
		}
		if target, err := os.Readlink(path); err == nil {
			name += " -> " + target
		}
		found = append(found, "/"+name)
		return nil
	}))
	slices.Sort(found)
	return found
}

// program is a dynamic one.
func program(needed ...string) linked { return linked{interp: "/lib64/ld.so.2", needed: needed} }

// common is what every program with the C library brings.
var common = []string{"/lib -> usr/lib", "/lib64 -> usr/lib64",
	"/usr/lib/x86_64-linux-gnu/ld.so.2", "/usr/lib/x86_64-linux-gnu/libc.so.6",
	"/usr/lib64/ld.so.2 -> ../lib/x86_64-linux-gnu/ld.so.2"}

// TestAddBringsWhatIsNeeded adds programs of every sort of search path.
func TestAddBringsWhatIsNeeded(t *testing.T) {
	lib := func(needed ...string) string { return linked{needed: needed}.bytes(t) }
	with := func(more ...string) []string { return append(more, common...) }
	for _, row := range []struct {
		name string
		host map[string]string
		add  AddOrder
		want []string
	}{
		{"a program of the distribution", map[string]string{"usr/bin/tool-1": program("libc.so.6").bytes(t),
			"usr/bin/tool": "->tool-1"}, AddOrder{Paths: []string{"/bin/tool"}},
			with("/bin -> usr/bin", "/usr/bin/tool -> tool-1", "/usr/bin/tool-1")},
		{"one's own program", map[string]string{"home/me/score": program("libc.so.6").bytes(t)},
			AddOrder{Paths: []string{"/home/me/score"}}, with("/bin/score")},
		{"with a place", map[string]string{"home/me/score": program("libc.so.6").bytes(t)},
			AddOrder{Paths: []string{"/home/me/score"}, To: "/opt/app/run"}, with("/opt/app/run")},
		{"a library behind names, and what it needs", map[string]string{
			"home/me/score":                      program("libz.so.1", "libc.so.6").bytes(t),
			"usr/lib/x86_64-linux-gnu/libz.so.1": "->libz.so.1.3", "usr/lib/x86_64-linux-gnu/libz.so.1.3": lib("libm.so.6"),
			"usr/lib/x86_64-linux-gnu/libm.so.6": lib("libz.so.1")},
			AddOrder{Paths: []string{"/home/me/score"}}, with("/bin/score", "/usr/lib/x86_64-linux-gnu/libm.so.6",
				"/usr/lib/x86_64-linux-gnu/libz.so.1 -> libz.so.1.3", "/usr/lib/x86_64-linux-gnu/libz.so.1.3")},
		{"$ORIGIN moves with the program", map[string]string{"home/me/b/score": linked{interp: "/lib64/ld.so.2",
			needed: []string{"libmine.so", "libc.so.6"}, runpath: "$ORIGIN/../l"}.bytes(t), "home/me/l/libmine.so": lib()},
			AddOrder{Paths: []string{"/home/me/b/score"}}, with("/bin/score", "/l/libmine.so")},
		{"DT_RPATH counts for those below", map[string]string{"home/me/score": linked{interp: "/lib64/ld.so.2",
			needed: []string{"liba.so"}, rpath: "/home/me/lib"}.bytes(t), "home/me/lib/liba.so": lib("libb.so", "libc.so.6"),
			"home/me/lib/libb.so": lib()}, AddOrder{Paths: []string{"/home/me/score"}},
			with("/bin/score", "/home/me/lib/liba.so", "/home/me/lib/libb.so")},
		{"another machine's library is passed by", map[string]string{"home/me/score": linked{interp: "/lib64/ld.so.2",
			needed: []string{"liba.so", "libc.so.6"}, runpath: "/other:/home/me/lib"}.bytes(t),
			"other/liba.so": linked{machine: elf.EM_PPC64}.bytes(t), "home/me/lib/liba.so": lib()},
			AddOrder{Paths: []string{"/home/me/score"}}, with("/bin/score", "/home/me/lib/liba.so")},
		{"only the list of directories leads to it", map[string]string{"home/me/score": program("liba.so",
			"libc.so.6").bytes(t), "usr/local/lib/liba.so": lib()}, AddOrder{Paths: []string{"/home/me/score"}},
			with("/bin/score", "/usr/lib/x86_64-linux-gnu/liba.so -> /usr/local/lib/liba.so", "/usr/local/lib/liba.so")},
		{"a directory that is named", map[string]string{"home/me/score": program("liba.so", "libc.so.6").bytes(t),
			"home/me/out/liba.so": lib()}, AddOrder{Paths: []string{"/home/me/score"}, Search: []string{"/home/me/out"}},
			with("/bin/score", "/usr/lib/x86_64-linux-gnu/liba.so")},
		{"a library that is opened later", map[string]string{"usr/lib/x86_64-linux-gnu/libnss_dns.so.2": lib("libc.so.6")},
			AddOrder{Libs: []string{"libnss_dns.so.2"}}, []string{"/lib -> usr/lib", "/usr/lib/x86_64-linux-gnu/ld.so.2",
				"/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libnss_dns.so.2"}},
		{"a library by its path", map[string]string{"home/me/libplug.so": lib()},
			AddOrder{Libs: []string{"/home/me/libplug.so"}}, []string{"/lib -> usr/lib",
				"/usr/lib/x86_64-linux-gnu/libplug.so"}},
		{"a script", map[string]string{"home/me/job": "#! /bin/sh -e\n", "usr/bin/sh": "->dash",
			"usr/bin/dash": program("libc.so.6").bytes(t)}, AddOrder{Paths: []string{"/home/me/job"}},
			with("/bin/job", "/bin/sh")},
		{"a static program", map[string]string{"home/me/score": linked{}.bytes(t)},
			AddOrder{Paths: []string{"/home/me/score"}}, []string{"/bin/score"}},
		{"a directory", map[string]string{"home/me/app/main": program("libc.so.6").bytes(t), "home/me/app/data/x": "x",
			"home/me/app/link": "->data/x", "home/me/app/nowhere": "->/none", "home/me/app/plug.so": lib("libabsent.so")},
			AddOrder{Paths: []string{"/home/me/app"}}, with("/app/data/x", "/app/link -> data/x", "/app/main",
				"/app/nowhere -> /none", "/app/plug.so")},
	} {
		p := project(t)
		row.add.sys = machine(t, row.host)
		_, err := p.Add(context.Background(), row.add)
		if err != nil {
			t.Errorf("%s: %v", row.name, err)
			continue
		}
		slices.Sort(row.want)
		if got := inside(t, p); !slices.Equal(got, row.want) {
			t.Errorf("%s: there is\n%s\nwant\n%s", row.name, strings.Join(got, "\n"), strings.Join(row.want, "\n"))
		}
		if again, err := p.Add(context.Background(), row.add); err != nil || len(again.Set) > 0 {
			t.Errorf("%s, again: %v, %q", row.name, err, again.Set)
		}
	}
}

// TestAddSetsTheCommand of a project that has none, and of no other.
func TestAddSetsTheCommand(t *testing.T) {
	p := project(t)
	host := machine(t, map[string]string{"home/me/score": linked{}.bytes(t), "home/me/other": linked{}.bytes(t),
		"home/me/notes": "text"})
	must(t, os.Chmod(filepath.Join(host, "home/me/notes"), 0o644))
	for _, row := range []struct{ path, added, command string }{
		{"/home/me/notes", "", ""}, {"/home/me/score", "command: [/bin/score]", "/bin/score"},
		{"/home/me/other", "", "/bin/score"},
	} {
		a, err := p.Add(context.Background(), AddOrder{Paths: []string{row.path}, sys: host})
		must(t, err)
		again, err := LoadProject(p.Dir)
		must(t, err)
		if strings.Join(a.Set, " ") != row.added || strings.Join(again.Command, " ") != row.command {
			t.Errorf("%s: said %q, wrote %q", row.path, a.Set, again.Command)
		}
	}
	text, err := os.ReadFile(filepath.Join(p.Dir, projectName))
	must(t, err)
	if !strings.Contains(string(text), "# raise it when") {
		t.Error("the file's comments are gone")
	}
}

// TestAddRefuses what is not there, or in the way.
func TestAddRefuses(t *testing.T) {
	host := machine(t, map[string]string{"home/me/score": program("libabsent.so.1").bytes(t),
		"home/me/alien":  linked{interp: "/lib/ld-musl.so.1"}.bytes(t),
		"home/me/broken": elf.ELFMAG + "rest", "home/me/loop": "->loop", "home/me/job": "#!/usr/bin/absent\n",
		"home/me/x": "x"})
	for _, row := range []struct {
		name string
		add  AddOrder
		kind errs.Kind
		text string
	}{
		{"nothing", AddOrder{}, errs.Invalid, "nothing to add"},
		{"two at one place", AddOrder{Paths: []string{"/a", "/b"}, To: "/c"}, errs.Invalid, "one place for 2"},
		{"a relative place", AddOrder{Paths: []string{"/a"}, To: "c"}, errs.Invalid, "no clean absolute path"},
		{"a place above", AddOrder{Paths: []string{"/a"}, To: "/../c"}, errs.Invalid, "no clean absolute path"},
		{"an image as a secret", AddOrder{From: "x", Secret: "s"}, errs.Invalid, "not into a secret layer"},
		{"what is not there", AddOrder{Paths: []string{"/none"}}, errs.NotFound, "/none"},
		{"an image that is not there", AddOrder{From: "/none"}, errs.NotFound, "/none"},
		{"a missing library", AddOrder{Paths: []string{"/home/me/score"}}, errs.NotFound,
			"needs libabsent.so.1, which is in none of /lib"},
		{"a missing loader", AddOrder{Paths: []string{"/home/me/alien"}}, errs.NotFound, "interpreter /lib/ld-musl.so.1"},
		{"a missing interpreter", AddOrder{Paths: []string{"/home/me/job"}}, errs.NotFound, "/usr/bin/absent"},
		{"a broken program", AddOrder{Paths: []string{"/home/me/broken"}}, errs.Invalid, "ELF header"},
		{"a link to itself", AddOrder{Paths: []string{"/home/me/loop"}}, errs.Internal, "too many levels"},
		{"a missing library by name", AddOrder{Libs: []string{"liba.so"}}, errs.NotFound, "library liba.so"},
		{"no library", AddOrder{Libs: []string{"/home/me/x"}}, errs.NotFound, "library /home/me/x"},
		{"a file where a directory would be", AddOrder{Paths: []string{"/home/me/x"}, To: "/etc/passwd/x"}, errs.Exists,
			"is a file in the project already"},
		{"no name of a layer", AddOrder{Paths: []string{"/home/me/x"}, Secret: "A/B"}, errs.Invalid, "no name of a layer"},
		{"the root as a secret", AddOrder{Paths: []string{"/home/me/x"}, Secret: "root"}, errs.Invalid, "no name of a layer"},
		{"no place to mount", AddOrder{Paths: []string{"/home/me/x"}, Secret: "s:/proc/x"}, errs.Invalid, "by hand"},
		{"beside the layer", AddOrder{Paths: []string{"/home/me/x"}, Secret: "s", To: "/t/x"}, errs.Invalid, "not below /s"},
	} {
		row.add.sys = host
		_, err := project(t).Add(context.Background(), row.add)
		if !errs.Is(err, row.kind) || !strings.Contains(err.Error(), row.text) {
			t.Errorf("%s: %v, want %v with %q", row.name, err, row.kind, row.text)
		}
	}
}

// TestAddKeepsWhatIsThere puts files below directories that the project has its own way.
func TestAddKeepsWhatIsThere(t *testing.T) {
	p := project(t)
	plant(t, filepath.Join(p.Dir, rootName), map[string]string{"lib64/": "", "data": "->/srv/data", "srv/data/": ""})
	host := machine(t, map[string]string{"home/me/score": program("libc.so.6").bytes(t), "home/me/x": "x"})
	_, err := p.Add(context.Background(), AddOrder{Paths: []string{"/home/me/score"}, sys: host})
	must(t, err)
	_, err = p.Add(context.Background(), AddOrder{Paths: []string{"/home/me/x"}, To: "/data/x", sys: host})
	must(t, err)
	for _, want := range []string{"/lib64/ld.so.2", "/srv/data/x"} {
		if got := inside(t, p); !slices.Contains(got, want) {
			t.Errorf("there is no %s: %q", want, got)
		}
	}
}

// TestAddTakesSecrets puts files into layers, old and new.
func TestAddTakesSecrets(t *testing.T) {
	p := project(t)
	host := machine(t, map[string]string{"home/me/w/a": "1", "home/me/w/deep/b": "2", "home/me/c": "3"})
	for _, row := range []struct {
		add  AddOrder
		want string
	}{
		{AddOrder{Paths: []string{"/home/me/w"}, Secret: "models"}, "/models/a /models/deep/b"},
		{AddOrder{Paths: []string{"/home/me/c"}, Secret: "models:/models"}, "/models/c"},
		{AddOrder{Paths: []string{"/home/me/c"}, Secret: "models", To: "/models/x/y"}, "/models/x/y"},
		{AddOrder{Paths: []string{"/home/me/c"}, Secret: "keys:/etc/keys"}, "/etc/keys/c"},
	} {
		row.add.sys = host
		a, err := p.Add(context.Background(), row.add)
		must(t, err)
		var got []string
		for _, f := range a.Files {
			got = append(got, f.Path)
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%+v: %q", row.add, got)
		}
	}
	p, err := LoadProject(p.Dir)
	must(t, err)
	want := []ProjectLayer{{"models", "secret", "/models", "local/credit/layer-key/models"},
		{"keys", "secret", "/etc/keys", "local/credit/layer-key/keys"}}
	if !slices.Equal(p.Layers, want) {
		t.Errorf("the layers are %+v", p.Layers)
	}
}

// TestAddStaysInTheProject where a link of it leads out: the host's files keep what they are.
func TestAddStaysInTheProject(t *testing.T) {
	p := project(t)
	outside := tree(t, map[string]string{"file": "host's"})
	must(t, os.Chmod(outside, 0o711))
	plant(t, filepath.Join(p.Dir, rootName), map[string]string{"a": "->" + outside, "b": "->../../../../../" + outside,
		"c": "->" + outside + "/file"})
	image := tree(t, map[string]string{"a/file": "image's", "a/new": "", "b/deep/new": "", "c": "image's", "d/x": ""})
	must(t, os.Chmod(filepath.Join(image, "a"), 0o777))
	_, err := p.Add(context.Background(), AddOrder{From: image})
	must(t, err)
	_, err = p.Add(context.Background(), AddOrder{Paths: []string{filepath.Join(image, "a")}, To: "/b"})
	must(t, err)
	_, err = p.Add(context.Background(), AddOrder{Paths: []string{filepath.Join(image, "c")}, To: "/a/file"})
	must(t, err)
	info, err := os.Stat(outside)
	must(t, err)
	if got := contents(t, outside); len(got) != 1 || got["file"] != "host's" || info.Mode().Perm() != 0o711 {
		t.Errorf("outside there is %q, mode %v", got, info.Mode())
	}
	if got := inside(t, p); !slices.Contains(got, outside+"/new") || !slices.Contains(got, "/c") {
		t.Errorf("inside there is %q", got)
	}
}

// TestAddLaysOutImages of a root directory with everything that files can be.
func TestAddLaysOutImages(t *testing.T) {
	p := project(t)
	from := tree(t, map[string]string{"usr/bin/app": "#!/bin/sh\n", "bin": "->usr/bin", "etc/os-release": "ID=x\n",
		"empty": "", "var/closed/x": "x"})
	must(t, os.Chmod(filepath.Join(from, "usr/bin/app"), 0o4755|os.ModeSetuid))
	must(t, os.Link(filepath.Join(from, "etc/os-release"), filepath.Join(from, "etc/other")))
	must(t, os.Chmod(filepath.Join(from, "var/closed"), 0o555))
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(from, "var/closed"), 0o755)) })
	a, err := p.Add(context.Background(), AddOrder{From: from})
	must(t, err)
	root := filepath.Join(p.Dir, rootName)
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(root, "var/closed"), 0o755)) })
	for name, mode := range map[string]os.FileMode{"usr/bin/app": 0o755 | os.ModeSetuid, "bin": 0o777 | os.ModeSymlink,
		"var/closed": 0o555 | os.ModeDir, "empty": 0o644, "etc/passwd": 0o644} {
		if info, err := os.Lstat(filepath.Join(root, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	one, err1 := os.Stat(filepath.Join(root, "etc/os-release"))
	two, err2 := os.Stat(filepath.Join(root, "etc/other"))
	if err1 != nil || err2 != nil || !os.SameFile(one, two) || len(a.Files) != 1 {
		t.Errorf("hard links: %v, %v, %+v", err1, err2, a.Files)
	}
}

// TestAddedProgramsFindTheirLibraries asks the loader that was added, on the machine the tests run on,
// what a program of that machine would load inside.
func TestAddedProgramsFindTheirLibraries(t *testing.T) {
	const sh = "/bin/sh"
	o, err := readObject(sh)
	if err != nil || o == nil || o.interp == "" {
		t.Logf("%s is no dynamic program here: only made ones are tested", sh)
		return
	}
	p := project(t)
	a, err := p.Add(context.Background(), AddOrder{Paths: []string{sh}})
	must(t, err)
	root := filepath.Join(p.Dir, rootName)
	c := newCopier("/", root)
	loader, err := c.locate(o.interp, false)
	must(t, err)
	var dirs []string
	for _, f := range a.Files {
		dirs = append(dirs, filepath.Join(root, filepath.Dir(f.Path)))
	}
	slices.Sort(dirs)
	run := exec.Command(loader, "--inhibit-cache", "--library-path", strings.Join(slices.Compact(dirs), ":"),
		filepath.Join(root, sh), "-c", "echo inside")
	out, err := run.CombinedOutput()
	if err != nil || string(out) != "inside\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// TestAddLaysOutLayers of an OCI image, and takes its command.
func TestAddLaysOutLayers(t *testing.T) {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		var to bytes.Buffer
		w := tar.NewWriter(&to)
		for name, content := range map[string]string{"srv/app": "#!/bin/sh\n"} {
			must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}))
			_, err := io.WriteString(w, content)
			must(t, err)
		}
		must(t, w.WriteHeader(&tar.Header{Name: "dev/null", Mode: 0o666, Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}))
		return io.NopCloser(&to), w.Close()
	})
	must(t, err)
	made, err := mutate.AppendLayers(empty.Image, layer)
	must(t, err)
	made, err = mutate.Config(made, v1.Config{Entrypoint: []string{"app"}, Cmd: []string{"-x"}, User: "1000:100",
		Env: []string{"PATH=/bin:/srv", "A=b c"}, WorkingDir: "/srv"})
	must(t, err)
	config, err := made.ConfigFile()
	must(t, err)
	config.OS, config.Architecture = "linux", "amd64"
	made, err = mutate.ConfigFile(made, config)
	must(t, err)
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: made})
	from := filepath.Join(t.TempDir(), "layout")
	_, err = layout.Write(from, index)
	must(t, err)
	p := project(t)
	a, err := p.Add(context.Background(), AddOrder{From: from})
	must(t, err)
	if got := inside(t, p); !slices.Equal(got, []string{"/srv/app"}) || strings.Join(p.Command, " ") != "/srv/app -x" {
		t.Errorf("there is %q, and it runs %q", got, p.Command)
	}
	if !slices.Equal(p.Env, []string{"PATH=/bin:/srv", "A=b c"}) || p.Cwd != "/srv" || p.UID != 1000 || p.GID != 100 ||
		len(a.Set) != 5 || len(a.Notes) != 1 || !strings.Contains(a.Notes[0], "1 device") {
		t.Errorf("it has %+v\nand says %q, %q", p, a.Set, a.Notes)
	}
	text, err := os.ReadFile(filepath.Join(p.Dir, projectName))
	must(t, err)
	if strings.Count(string(text), "env:") != 1 || strings.Count(string(text), "cwd:") != 1 {
		t.Errorf("the file is\n%s", text)
	}
}
