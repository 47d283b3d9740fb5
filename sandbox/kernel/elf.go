//go:build amd64

package kernel

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"
)

// loaderOf returns the path in an ELF file's last PT_INTERP segment, which is the one gVisor takes;
// "" when it has none or is no ELF file. What gVisor's loader would not take it leaves for that to
// refuse.
func loaderOf(ctx context.Context, file *vfs.FileDescription) (string, error) {
	var head elf.Header64
	if err := readStruct(ctx, file, 0, &head); err != nil {
		return "", notELF(err)
	}
	if !bytes.Equal(head.Ident[:len(elf.ELFMAG)], []byte(elf.ELFMAG)) ||
		elf.Class(head.Ident[elf.EI_CLASS]) != elf.ELFCLASS64 || head.Phnum > maxSegments {
		return "", nil
	}
	loader := ""
	for i := range uint64(head.Phnum) {
		var segment elf.Prog64
		at := head.Phoff + i*uint64(head.Phentsize)
		if err := readStruct(ctx, file, int64(at), &segment); err != nil {
			return "", notELF(err)
		}
		if elf.ProgType(segment.Type) != elf.PT_INTERP {
			continue
		}
		if segment.Filesz < 2 || segment.Filesz > maxLoader {
			return "", linuxerr.ENOEXEC
		}
		text := make([]byte, segment.Filesz)
		to := usermem.BytesIOSequence(text)
		if _, err := file.ReadFull(ctx, to, int64(segment.Off)); err != nil {
			return "", linuxerr.ENOEXEC
		}
		if i := bytes.IndexByte(text, 0); i >= 0 {
			text = text[:i]
		}
		loader = string(text)
	}
	return loader, nil
}

// notELF makes nothing of a file too short to be one.
func notELF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

func readStruct(ctx context.Context, file *vfs.FileDescription, at int64, into any) error {
	data := make([]byte, binary.Size(into))
	if _, err := file.ReadFull(ctx, usermem.BytesIOSequence(data), at); err != nil {
		return err
	}
	_, err := binary.Decode(data, binary.LittleEndian, into)
	return err
}
