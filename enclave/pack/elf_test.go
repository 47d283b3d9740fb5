package pack

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"
)

// linked describes an ELF file to be made.
type linked struct {
	interp  string
	needed  []string
	rpath   string
	runpath string
	machine elf.Machine // zero: this machine's
}

// bytes writes the file: a header, an interpreter, and a dynamic section with its strings.
func (l linked) bytes(t testing.TB) string {
	t.Helper()
	strings := []byte{0}
	name := func(text string) uint64 {
		at := len(strings)
		strings = append(append(strings, text...), 0)
		return uint64(at)
	}
	var dynamic []elf.Dyn64
	for _, lib := range l.needed {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_NEEDED), Val: name(lib)})
	}
	if l.rpath != "" {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_RPATH), Val: name(l.rpath)})
	}
	if l.runpath != "" {
		dynamic = append(dynamic, elf.Dyn64{Tag: int64(elf.DT_RUNPATH), Val: name(l.runpath)})
	}
	dynamic = append(dynamic, elf.Dyn64{})
	machine := l.machine
	if machine == 0 {
		machine = native().machine
	}
	const headers = 64 + 56 // the file's and one program's
	interp := append([]byte(l.interp), 0)
	stringsAt := uint64(headers + len(interp))
	dynamicAt := stringsAt + uint64(len(strings))
	sectionsAt := dynamicAt + uint64(16*len(dynamic))
	h := elf.Header64{Type: uint16(elf.ET_DYN), Machine: uint16(machine), Version: 1, Phoff: 64, Shoff: sectionsAt,
		Ehsize: 64, Phentsize: 56, Phnum: 1, Shentsize: 64, Shnum: 3, Shstrndx: 1}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = 2, 1, 1
	p := elf.Prog64{Type: uint32(elf.PT_INTERP), Off: headers, Filesz: uint64(len(interp))}
	if l.interp == "" {
		p.Type = uint32(elf.PT_NULL)
	}
	var to bytes.Buffer
	for _, part := range []any{h, p, interp, strings, dynamic, elf.Section64{},
		elf.Section64{Type: uint32(elf.SHT_STRTAB), Off: stringsAt, Size: uint64(len(strings))},
		elf.Section64{Type: uint32(elf.SHT_DYNAMIC), Off: dynamicAt, Size: uint64(16 * len(dynamic)), Link: 1,
			Entsize: 16}} {
		must(t, binary.Write(&to, binary.LittleEndian, part))
	}
	return to.String()
}
