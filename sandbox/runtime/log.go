package runtime

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"surety/base/errs"
)

// LogLine is one line of a sandbox's captured output, as output.log holds it: JSON, one a line.
type LogLine struct {
	At     time.Time `json:"at"`
	Stream string    `json:"stream"`        // stdout or stderr
	Text   string    `json:"text"`          // without its newline
	Cut    bool      `json:"cut,omitempty"` // goes on in the next line of the stream
}

// maxLine is the longest text of one line; a longer one is cut into several.
const maxLine = 16 << 10

// book writes captured output, turning files over so that they stay within their limit.
type book struct {
	path    string
	now     func() time.Time
	mu      sync.Mutex
	file    *os.File
	size    int64
	readers sync.WaitGroup
	pipes   []*os.File
}

func openLog(path string, now func() time.Time) (*book, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, errs.Wrap(err, "output log")
	}
	return &book{path: path, now: now, file: f}, nil
}

// follow copies a stream into the log until its last writer has gone.
func (b *book) follow(stream string, from *os.File) {
	b.pipes = append(b.pipes, from)
	b.readers.Add(1)
	go func() {
		defer b.readers.Done()
		in := bufio.NewReaderSize(from, maxLine)
		for {
			text, err := in.ReadSlice('\n')
			cut := errors.Is(err, bufio.ErrBufferFull)
			if n := len(text); n > 0 {
				if text[n-1] == '\n' {
					text = text[:n-1]
				}
				b.write(LogLine{At: b.now(), Stream: stream, Text: string(text), Cut: cut})
			}
			if err != nil && !cut {
				return
			}
		}
	}()
}

// write adds a line; what cannot be written is lost to the log and never stops the program.
func (b *book) write(line LogLine) {
	content, err := json.Marshal(line)
	if err != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size+int64(len(content)) > logBytes {
		b.turn()
	}
	n, _ := b.file.Write(append(content, '\n'))
	b.size += int64(n)
}

// turn begins a new file and drops the oldest.
func (b *book) turn() {
	for i := logFiles - 1; i > 0; i-- {
		from := b.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", b.path, i-1)
		}
		_ = os.Rename(from, fmt.Sprintf("%s.%d", b.path, i)) // absent is as good
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return // the full file goes on
	}
	_ = b.file.Close()
	b.file, b.size = f, 0
}

// close waits for what is in the pipes. The writing ends must be closed by then.
func (b *book) close() error {
	b.readers.Wait()
	for _, p := range b.pipes {
		_ = p.Close()
	}
	return b.file.Close()
}

// Logs calls each for every captured line, oldest first. With follow it goes on until the sandbox
// has stopped or each returns an error.
func (s *Sandbox) Logs(follow bool, each func(LogLine) error) error {
	for i := logFiles - 1; i > 0; i-- {
		if err := s.readLog(fmt.Sprintf("%s.%d", s.file(outputLog), i), each); err != nil {
			return err
		}
	}
	if !follow {
		return s.readLog(s.file(outputLog), each)
	}
	return s.followLog(each)
}

func (s *Sandbox) readLog(path string, each func(LogLine) error) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errs.Wrap(err, "sandbox %s: logs", s.id)
	}
	defer f.Close()
	_, err = decodeLines(f, each)
	return err
}

// decodeLines reads whole lines and returns how many bytes they took.
func decodeLines(from io.Reader, each func(LogLine) error) (int64, error) {
	var took int64
	in := bufio.NewReaderSize(from, 8*maxLine)
	for {
		text, err := in.ReadBytes('\n')
		if err != nil {
			return took, nil // the rest is being written
		}
		took += int64(len(text))
		var line LogLine
		if err := json.Unmarshal(text, &line); err != nil {
			return took, errs.As(errs.Corrupt, err, "output log")
		}
		if err := each(line); err != nil {
			return took, err
		}
	}
}

func (s *Sandbox) followLog(each func(LogLine) error) error {
	const pace = 100 * time.Millisecond
	var file os.FileInfo
	var offset int64
	for {
		st, err := s.State()
		if err != nil {
			return err
		}
		f, err := os.Open(s.file(outputLog))
		if err == nil {
			if now, statErr := f.Stat(); statErr == nil && !os.SameFile(file, now) {
				file, offset = now, 0 // turned over: what the last look missed is in file .1
			}
			if _, err = f.Seek(offset, io.SeekStart); err == nil {
				var took int64
				took, err = decodeLines(f, each)
				offset += took
			}
			f.Close()
			if err != nil {
				return err
			}
		}
		if st.Status == Stopped {
			return nil
		}
		<-s.host.after(pace).C()
	}
}
