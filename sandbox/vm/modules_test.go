package vm

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"surety/base/errs"
)

// fakeModules makes a directory of modules that need each other as the map says.
func fakeModules(t *testing.T, needs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "kernel", "drivers"), 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{"modules.builtin": []byte("kernel/lib/built-in.ko\n")}
	for name, need := range needs {
		files[filepath.Join("kernel", "drivers", name+".ko")] = fakeModule("license=GPL", "depends="+need)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fakeModule is an ELF file with a section .modinfo and no more.
func fakeModule(fields ...string) []byte {
	info := strings.Join(fields, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	out := make([]byte, 64)
	copy(out, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(out[16:], 1)
	le.PutUint16(out[18:], 62)
	le.PutUint32(out[20:], 1)
	le.PutUint64(out[40:], uint64(64+len(info)+len(names)))
	le.PutUint16(out[52:], 64)
	le.PutUint16(out[58:], 64)
	le.PutUint16(out[60:], 3)
	le.PutUint16(out[62:], 2)
	out = append(out, info+names...)
	out = append(out, make([]byte, 64)...)
	for _, s := range [...][4]uint64{{1, 1, 64, uint64(len(info))}, {10, 3, uint64(64 + len(info)), uint64(len(names))}} {
		header := make([]byte, 64)
		le.PutUint32(header, uint32(s[0]))
		le.PutUint32(header[4:], uint32(s[1]))
		le.PutUint64(header[24:], s[2])
		le.PutUint64(header[32:], s[3])
		le.PutUint64(header[48:], 1)
		out = append(out, header...)
	}
	return out
}

func TestModuleOrder(t *testing.T) {
	for _, c := range []struct {
		name   string
		needs  map[string]string
		wanted string
		order  string // or, after !, what the error says
	}{
		{"alone", map[string]string{"a": ""}, "a", "a"},
		{"chain", map[string]string{"a": "b", "b": "c", "c": ""}, "a", "c b a"},
		{"shared", map[string]string{"a": "r,v", "b": "v", "r": "", "v": "r"}, "a b", "r v a b"},
		{"twice", map[string]string{"a": "", "b": "a"}, "b a b", "a b"},
		{"built in", map[string]string{"a": "built_in"}, "a", "a"},
		{"built in, wanted", map[string]string{}, "built_in", ""},
		{"named with a dash", map[string]string{"net-x": "v-y", "v_y": ""}, "net_x", "v_y net_x"},
		{"missing", map[string]string{"a": "b"}, "a", "!module b, which a needs"},
		{"missing, wanted", map[string]string{}, "a", "!module a, which the guest needs"},
		{"circle", map[string]string{"a": "b", "b": "a"}, "a", "!need each other: a and b"},
	} {
		order, err := moduleOrder(fakeModules(t, c.needs), strings.Fields(c.wanted)...)
		if text, fails := strings.CutPrefix(c.order, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		var names []string
		for _, m := range order {
			names = append(names, m.name)
		}
		if got := strings.Join(names, " "); err != nil || got != c.order {
			t.Errorf("%s: %q, %v, want %q", c.name, got, err, c.order)
		}
	}
}

// TestModuleOrderOfTheRealKernel is the order for the kernel that is there.
func TestModuleOrderOfTheRealKernel(t *testing.T) {
	k, err := FindKernel(testKernel(t))
	if err != nil {
		t.Fatal(err)
	}
	order, err := moduleOrder(k.Modules, append(drivers[:], wireDriver)...)
	if err != nil {
		t.Fatal(err)
	}
	loaded := map[string]bool{}
	for _, m := range order {
		for _, need := range m.needs {
			if !loaded[need] {
				t.Errorf("%s comes before %s, which it needs", m.name, need)
			}
		}
		loaded[m.name] = true
	}
}

func TestModuleFiles(t *testing.T) {
	for name, content := range map[string][]byte{
		"no ELF file":         []byte("hello"),
		"no section .modinfo": bytes.Replace(fakeModule(), []byte(".modinfo"), []byte(".modinfa"), 1),
	} {
		_, err := parseNeeds(bytes.NewReader(content))
		if !errs.Is(err, errs.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzModule(f *testing.F) {
	f.Add(fakeModule("depends=a,b"))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _ = parseNeeds(bytes.NewReader(content)) // it must only not panic
	})
}

func TestFindKernel(t *testing.T) {
	root := t.TempDir()
	if _, err := FindKernel(root); !errs.Is(err, errs.NotFound) || !strings.Contains(err.Error(), "apt-get install") {
		t.Errorf("without a kernel: %v", err)
	}
	for _, release := range []string{"6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.0-1-cloud-amd64"} {
		for _, dir := range []string{"boot", "lib/modules/" + release + "/kernel"} {
			if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(root, "boot", "vmlinuz-"+release), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := FindKernel(root); err != nil || k.Release != release {
			t.Errorf("with %s: %+v, %v", release, k, err)
		}
	}
	// One without modules is passed over.
	if err := os.WriteFile(filepath.Join(root, "boot", "vmlinuz-7.0.0-1-cloud-amd64"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := FindKernel(root); err != nil || k.Release != "6.12.0-1-cloud-amd64" {
		t.Errorf("with one that has no modules: %+v, %v", k, err)
	}
}
