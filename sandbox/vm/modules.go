package vm

import (
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"surety/base/errs"
)

// drivers are the modules a guest cannot do without, in the order in which they are loaded.
var drivers = [...]string{"virtio_mmio", "virtio_console", "virtio_blk"}

// wireDriver is needed by a guest that has a network.
const wireDriver = "virtio_net"

// module is one kernel module: a file and the modules that must be loaded before it.
type module struct {
	name  string
	path  string
	needs []string
}

// moduleOrder returns the modules that have to be loaded for the wanted ones, each after those it
// needs and none twice. Modules built into the kernel are left out. Errors: NotFound for a module
// that is neither a file nor built in; Corrupt for a file that is no module, and for a circle.
func moduleOrder(dir string, wanted ...string) ([]module, error) {
	set, err := indexModules(dir)
	if err != nil {
		return nil, err
	}
	var order []module
	const visiting, done = 1, 2
	state := map[string]int{}
	var visit func(name, by string) error
	visit = func(name, by string) error {
		if state[name] == done || set.builtin[name] {
			return nil
		}
		if state[name] == visiting {
			return errs.New(errs.Corrupt, "vm: modules below %s need each other: %s and %s", dir, name,
				by)
		}
		path, found := set.files[name]
		if !found {
			return errs.New(errs.NotFound, "vm: module %s, which %s needs, is not below %s", name, by,
				dir)
		}
		if len(state) >= maxModules {
			return errs.New(errs.TooLarge, "vm: more than %d modules for %s", maxModules,
				strings.Join(wanted, ", "))
		}
		state[name] = visiting
		needs, err := moduleNeeds(path)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := visit(n, name); err != nil {
				return err
			}
		}
		state[name] = done
		order = append(order, module{name: name, path: path, needs: needs})
		return nil
	}
	for _, name := range wanted {
		if err := visit(name, "the guest"); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// moduleSet is what a kernel has as files and what it has built in, by name.
type moduleSet struct {
	files   map[string]string
	builtin map[string]bool
}

// indexModules looks at names alone; no file but the list of what is built in is opened.
func indexModules(dir string) (moduleSet, error) {
	set := moduleSet{files: map[string]string{}, builtin: map[string]bool{}}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return set, errs.Wrap(err, "vm: modules of the guest's kernel")
	}
	for _, line := range strings.Fields(string(list)) {
		set.builtin[moduleName(line)] = true
	}
	err = filepath.WalkDir(filepath.Join(dir, "kernel"),
		func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.HasSuffix(path, ".ko") {
				set.files[moduleName(path)] = path
			}
			return err
		})
	return set, errs.Wrap(err, "vm: modules of the guest's kernel")
}

// moduleName is the name the kernel knows a module by.
func moduleName(path string) string {
	return strings.ReplaceAll(strings.TrimSuffix(filepath.Base(path), ".ko"), "-", "_")
}

// moduleNeeds reads what a module says of itself: the section .modinfo holds "key=value" strings,
// and the value of depends is names parted by commas.
func moduleNeeds(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, errs.Wrap(err, "vm: module")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, errs.Wrap(err, "vm: module")
	}
	if info.Size() > maxModuleBytes {
		return nil, errs.New(errs.TooLarge, "vm: module %s has %d bytes, limit %d", path, info.Size(),
			maxModuleBytes)
	}
	needs, err := parseNeeds(f)
	return needs, errs.Wrap(err, "vm: module %s", path)
}

func parseNeeds(from io.ReaderAt) ([]string, error) {
	file, err := elf.NewFile(from)
	if err != nil {
		return nil, errs.As(errs.Corrupt, err, "not an ELF file")
	}
	section := file.Section(".modinfo")
	if section == nil || section.Size > maxModuleBytes {
		return nil, errs.New(errs.Corrupt, "no section .modinfo")
	}
	content, err := section.Data()
	if err != nil {
		return nil, errs.As(errs.Corrupt, err, "section .modinfo")
	}
	for _, field := range strings.Split(string(content), "\x00") {
		names, found := strings.CutPrefix(field, "depends=")
		if found && names != "" {
			return strings.Split(strings.ReplaceAll(names, "-", "_"), ","), nil
		}
	}
	return nil, nil
}
