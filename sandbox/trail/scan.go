package trail

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"surety/base/errs"
	"surety/sys/vfs"
)

const segmentSuffix = ".trail"

// segmentName is a segment's file name: six digits, so that names sort as numbers do.
func segmentName(n int) string { return fmt.Sprintf("%06d%s", n, segmentSuffix) }

// segmentOf is the inverse of segmentName; false for another file's name.
func segmentOf(name string) (int, bool) {
	digits, found := strings.CutSuffix(name, segmentSuffix)
	n, err := strconv.Atoi(digits)
	return n, found && err == nil && n > 0 && segmentName(n) == name
}

// source is where segments lie: a directory, or a bundle.
type source interface {
	list() ([]int, error) // numbers, ascending
	open(segment int) (segmentFile, error)
}

// segmentFile is what is read of a segment; vfs.File has it.
type segmentFile interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

// directory is a source.
type directory struct {
	fs  vfs.FS
	dir string
}

func (d directory) path(segment int) string { return filepath.Join(d.dir, segmentName(segment)) }

func (d directory) list() ([]int, error) {
	names, err := d.fs.List(d.dir)
	if err != nil {
		return nil, errs.Wrap(err, "trail")
	}
	var numbers []int
	for _, name := range names {
		if n, is := segmentOf(name); is {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	if len(numbers) > maxSegments {
		return nil, errs.New(errs.TooLarge, "trail: %s holds %d segments, limit %d", d.dir,
			len(numbers), maxSegments)
	}
	return numbers, nil
}

func (d directory) open(segment int) (segmentFile, error) {
	f, err := d.fs.Open(d.path(segment), 0)
	return f, errs.Wrap(err, "trail")
}

// damage is an entry that is not as it was written.
type damage struct {
	place place
	size  int // of the entry, where its length can be believed; else 0
	text  string
}

func (d *damage) Error() string {
	return fmt.Sprintf("segment %d at byte %d: %s", d.place.segment, d.place.offset, d.text)
}

// scanner reads the entries of a trail in order. At the end of what is there it returns io.EOF, and
// goes on from there when asked again.
type scanner struct {
	src      source
	last     int         // no segment after this one is looked for; 0: all
	file     segmentFile // nil before the first segment
	segment  int
	offset   int64 // of the next entry
	window   []byte
	start    int64 // window holds the bytes of the file from start on
	segments int   // opened so far
	bytes    int64 // of whole entries so far
}

func newScanner(src source) *scanner {
	return &scanner{src: src, window: make([]byte, 0, readBytes)}
}

// next returns the next entry. Errors: io.EOF, *damage, or one of the source's.
func (s *scanner) next() (entry, error) {
	for {
		if s.file == nil {
			if moved, err := s.advance(); err != nil || !moved {
				return entry{}, orEOF(err)
			}
		}
		n, sound, err := s.look()
		if err != nil {
			return entry{}, err
		}
		switch {
		case sound:
			return s.take(n), nil
		case n != 0:
			return entry{}, s.damaged(n, "the entry is not what was written")
		}
		// The entries here end. A later segment is begun only when this one is complete: look for
		// one first, and then here once more.
		later, err := s.later()
		if err != nil || later == 0 {
			return entry{}, orEOF(err)
		}
		if err := s.fill(); err != nil {
			return entry{}, err
		}
		if left := len(s.view()); left == 0 {
			if err := s.enter(later); err != nil {
				return entry{}, err
			}
		} else if n, _ := entrySize(s.view()); n == 0 {
			return entry{}, s.damaged(-1, fmt.Sprintf("the segment ends %d bytes into an entry", left))
		}
	}
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// advance opens the first segment, or the one after this; false where there is none.
func (s *scanner) advance() (bool, error) {
	later, err := s.later()
	if err != nil || later == 0 {
		return false, err
	}
	return true, s.enter(later)
}

// later returns the first segment after this one; 0 where there is none.
func (s *scanner) later() (int, error) {
	numbers, err := s.src.list()
	if err != nil {
		return 0, err
	}
	for _, n := range numbers {
		if n > s.segment && (s.last == 0 || n <= s.last) {
			return n, nil
		}
	}
	return 0, nil
}

func (s *scanner) enter(segment int) error {
	file, err := s.src.open(segment)
	if err != nil {
		return err
	}
	if err := s.close(); err != nil {
		_ = file.Close() // the error at hand says more
		return err
	}
	s.file, s.segment, s.offset, s.start = file, segment, 0, 0
	s.window = s.window[:0]
	s.segments++
	return nil
}

// look reports the length of the entry at the offset, and whether it is sound, as entrySize does.
func (s *scanner) look() (int, bool, error) {
	n, sound := entrySize(s.view())
	if n != 0 {
		return n, sound, nil
	}
	if err := s.fill(); err != nil {
		return 0, false, err
	}
	n, sound = entrySize(s.view())
	return n, sound, nil
}

// view is what the window holds from the offset on.
func (s *scanner) view() []byte { return s.window[min(s.offset-s.start, int64(len(s.window))):] }

// fill reads the file anew from the offset on.
func (s *scanner) fill() error {
	n, err := s.file.ReadAt(s.window[:readBytes], s.offset)
	if err != nil && err != io.EOF {
		return errs.Wrap(err, "trail: segment %d at byte %d", s.segment, s.offset)
	}
	s.window, s.start = s.window[:n], s.offset
	return nil
}

func (s *scanner) take(n int) entry {
	raw := s.view()[:n:n]
	e := entry{place: place{s.segment, s.offset}, kind: kind(raw[4]), raw: raw}
	s.offset += int64(n)
	s.bytes += int64(n)
	return e
}

func (s *scanner) damaged(n int, text string) error {
	return &damage{place: place{s.segment, s.offset}, size: max(n, 0), text: text}
}

// skip goes on after a damaged entry: behind it, where its length leads to a sound one; else in the
// next segment. It reports where it is: false at the end of the trail.
func (s *scanner) skip(d *damage) (bool, error) {
	if d.size > 0 {
		s.offset += int64(d.size)
		if _, sound, err := s.look(); err != nil || sound {
			return sound, err
		}
		s.offset -= int64(d.size)
	}
	return s.advance()
}

// left returns how many bytes of the segment lie behind the last whole entry.
func (s *scanner) left() (int64, error) {
	if s.file == nil {
		return 0, nil
	}
	size, err := s.file.Size()
	return size - s.offset, errs.Wrap(err, "trail: segment %d", s.segment)
}

func (s *scanner) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return errs.Wrap(err, "trail: segment %d", s.segment)
}
