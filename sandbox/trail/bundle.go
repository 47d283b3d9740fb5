package trail

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"time"

	"surety/base/errs"
	"surety/sys/vfs"
)

// manifestName is the first member of a bundle: it tells a person what the rest is, and proves
// nothing.
const manifestName = "manifest.json"

type manifest struct {
	Format string `json:"format"`
	Head   Head   `json:"head"`
	Key    string `json:"key"`
}

const bundleFormat = "surety sandbox audit bundle v1"

// Export writes the trail in dir as one tar file, which Open and Verify take as they take dir, and
// which unpacks to such a directory. It holds the segments up to the last seal; of a trail that is
// still written, what came after is left out. Errors: NotFound before the first seal.
func Export(dir string, w io.Writer) error {
	src := directory{vfs.OS{}, dir}
	at, err := lastSeal(src)
	if err != nil {
		return err
	}
	head, end, err := readSeal(src, at)
	if err != nil {
		return err
	}
	numbers, err := src.list()
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	if err := writeManifest(out, src, numbers, head); err != nil {
		return err
	}
	for _, n := range numbers {
		if n > end.segment {
			break
		}
		limit := int64(-1)
		if n == end.segment {
			limit = end.offset
		}
		if err := exportSegment(out, src, n, limit); err != nil {
			return err
		}
	}
	return errs.As(errs.Internal, out.Close(), "trail.export")
}

func writeManifest(out *tar.Writer, src directory, numbers []int, head Head) error {
	s := newScanner(src)
	defer func() { _ = s.close() }() // it was only read
	e, err := s.next()
	if err != nil {
		return asCorrupt(err)
	}
	h, err := decodeHeader(e.payload())
	if err != nil {
		return errs.Wrap(err, "trail.export: segment %d", numbers[0])
	}
	content, err := json.MarshalIndent(manifest{bundleFormat, head, h.key.String()}, "", "  ")
	if err != nil {
		return errs.As(errs.Internal, err, "trail.export")
	}
	content = append(content, '\n')
	if err := writeMember(out, manifestName, int64(len(content))); err != nil {
		return err
	}
	_, err = out.Write(content)
	return errs.As(errs.Internal, err, "trail.export")
}

// writeMember begins a member; its time is zero, so that equal trails give equal bundles.
func writeMember(out *tar.Writer, name string, size int64) error {
	err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600,
		ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
	return errs.As(errs.Internal, err, "trail.export: %s", name)
}

// exportSegment copies a segment up to limit; all of it where that is negative.
func exportSegment(out *tar.Writer, src directory, n int, limit int64) error {
	file, err := src.open(n)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // it was only read
	if limit < 0 {
		if limit, err = file.Size(); err != nil {
			return errs.Wrap(err, "trail.export: segment %d", n)
		}
	}
	if err := writeMember(out, segmentName(n), limit); err != nil {
		return err
	}
	_, err = io.Copy(out, io.NewSectionReader(file, 0, limit))
	return errs.As(errs.Internal, err, "trail.export: segment %d", n)
}

// bundle is a source: a tar file, read where it lies.
type bundle struct {
	file    *os.File
	numbers []int
	members map[int]*io.SectionReader
}

// openBundle finds the segments in a tar file. Errors: Corrupt.
func openBundle(path string) (*bundle, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, errs.As(errs.Internal, err, "trail.open")
	}
	b := &bundle{file: file, members: map[int]*io.SectionReader{}}
	if err := b.index(); err != nil {
		_ = file.Close() // the error at hand says more
		return nil, errs.Wrap(err, "trail.open: bundle %s", path)
	}
	return b, nil
}

func (b *bundle) index() error {
	in := tar.NewReader(b.file)
	for {
		member, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errs.As(errs.Corrupt, err, "not a tar file")
		}
		n, is := segmentOf(member.Name)
		if !is {
			continue
		}
		start, err := b.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return errs.As(errs.Internal, err, "%s", member.Name)
		}
		last := 0
		if len(b.numbers) > 0 {
			last = b.numbers[len(b.numbers)-1]
		}
		if n <= last || member.Typeflag != tar.TypeReg {
			return errs.New(errs.Corrupt, "member %s is out of order or no file", member.Name)
		}
		b.numbers = append(b.numbers, n)
		b.members[n] = io.NewSectionReader(b.file, start, member.Size)
	}
	if len(b.numbers) == 0 {
		return errs.New(errs.Corrupt, "it holds no segment of a trail")
	}
	return nil
}

func (b *bundle) list() ([]int, error) { return b.numbers, nil }

func (b *bundle) open(n int) (segmentFile, error) { return member{b.members[n]}, nil }

func (b *bundle) Close() error { return b.file.Close() }

// member is a segment in a bundle; the bundle closes the file.
type member struct{ *io.SectionReader }

func (m member) Size() (int64, error) { return m.SectionReader.Size(), nil }
func (m member) Close() error         { return nil }
