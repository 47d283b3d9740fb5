//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	endian "encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// plantedBytes is the size of a planted value; neededBytes is how much of one, as it is written
// somewhere, is looked for.
const (
	plantedBytes = 16
	neededBytes  = 16
)

// planted are random values, and the search for them in any form that a program may write bytes in
// without meaning to: raw, hexadecimal, base64 at each alignment.
type planted struct {
	values [][plantedBytes]byte
	// near has a bit for the hash of each form's first eight bytes, so that most of what is searched
	// is passed by with one look.
	near  []uint64
	forms map[[neededBytes]byte]form
}

// form is one way in which a value may be written.
type form struct {
	value int
	name  string
}

const nearBits = 24

func plant(t *testing.T, count int) *planted {
	t.Helper()
	p := &planted{near: make([]uint64, 1<<nearBits/64), forms: map[[neededBytes]byte]form{}}
	for range count {
		var v [plantedBytes]byte
		if _, err := rand.Read(v[:]); err != nil {
			t.Fatal(err)
		}
		p.add(v[:], "a planted value")
		p.values = append(p.values, v)
	}
	return p
}

// add looks for a value too, of at least plantedBytes.
func (p *planted) add(v []byte, what string) {
	keep := func(name string, written []byte) {
		p.forms[[neededBytes]byte(written)] = form{len(p.values), what + ", " + name}
		at := hashOf(written)
		p.near[at/64] |= 1 << (at % 64)
	}
	keep("raw", v)
	keep("hexadecimal", hex.AppendEncode(nil, v))
	keep("hexadecimal, upper case", bytes.ToUpper(hex.AppendEncode(nil, v)))
	for shift := range 3 { // bytes before it in its group of three
		skip := (3 - shift) % 3
		whole := v[skip : skip+(len(v)-skip)/3*3]
		keep(fmt.Sprintf("base64 at %d", shift), base64.StdEncoding.AppendEncode(nil, whole))
		keep(fmt.Sprintf("base64 of URLs at %d", shift), base64.URLEncoding.AppendEncode(nil, whole))
	}
}

func hashOf(b []byte) uint64 {
	return endian.LittleEndian.Uint64(b) * 0x9e3779b97f4a7c15 >> (64 - nearBits)
}

// in returns what is found first in a text, and empty where nothing is.
func (p *planted) in(text []byte) string {
	for i := 0; i+neededBytes <= len(text); i++ {
		if at := hashOf(text[i:]); p.near[at/64]&(1<<(at%64)) == 0 {
			continue
		}
		if f, found := p.forms[[neededBytes]byte(text[i:i+neededBytes])]; found {
			return fmt.Sprintf("value %d, %s, at byte %d", f.value, f.name, i)
		}
	}
	return ""
}

// below searches every file below the directories, and their names; a pipe or socket has no content.
// Files that end while they are read are passed by.
func (p *planted) below(t *testing.T, dirs ...string) (found []string, files int, size int64) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if what := p.in([]byte(name)); what != "" {
				found = append(found, "the name "+name+": "+what)
			}
			if !d.Type().IsRegular() {
				return nil
			}
			text, err := os.ReadFile(name)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			files, size = files+1, size+int64(len(text))
			if what := p.in(text); what != "" {
				found = append(found, name+": "+what)
			}
			return err
		})
		if err != nil {
			t.Fatalf("search %s: %v", dir, err)
		}
	}
	return found, files, size
}

// lines are the values as text, a line each.
func (p *planted) lines() []byte {
	var text bytes.Buffer
	for _, v := range p.values {
		fmt.Fprintf(&text, "%x\n", v)
	}
	return text.Bytes()
}

// raw are the values' bytes.
func (p *planted) raw() []byte {
	var all bytes.Buffer
	for _, v := range p.values {
		all.Write(v[:])
	}
	return all.Bytes()
}

// TestEnclaveSearch is the control of every search that finds nothing: it finds each form, at the
// ends of a text and inside, and in files and their names.
func TestEnclaveSearch(t *testing.T) {
	t.Parallel()
	p := plant(t, 10_000)
	noise := make([]byte, 1<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	if found := p.in(noise); found != "" {
		t.Fatalf("found %s in noise", found)
	}
	v := p.values[7_777][:]
	for name, written := range map[string]string{
		"raw": string(v), "hex": hex.EncodeToString(v), "HEX": strings.ToUpper(hex.EncodeToString(v)),
		"base64": base64.StdEncoding.EncodeToString(v), "url": base64.RawURLEncoding.EncodeToString(v),
		"base64 with one before":    base64.StdEncoding.EncodeToString(append([]byte{1}, v...)),
		"base64 with two before":    base64.StdEncoding.EncodeToString(append([]byte{1, 2}, v...)),
		"of URLs, with five before": base64.URLEncoding.EncodeToString(append([]byte("12345"), v...)),
	} {
		for _, text := range []string{written, string(noise) + written, written + string(noise),
			string(noise[:1001]) + written + string(noise[1001:])} {
			if !strings.HasPrefix(p.in([]byte(text)), "value 7777, ") {
				t.Errorf("%s: found %q in %d bytes", name, p.in([]byte(text)), len(text))
			}
		}
	}
	dir := t.TempDir()
	write := func(name string, text []byte) {
		full := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755),
			os.WriteFile(full, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("clean", noise)
	if found, files, size := p.below(t, dir); len(found) != 0 || files != 1 || size != 1<<20 {
		t.Errorf("in noise: %v, %d files, %d bytes", found, files, size)
	}
	write("deep/down/spoiled", append(noise, v...))
	write(hex.EncodeToString(v), nil)
	if found, files, _ := p.below(t, dir); len(found) != 2 || files != 3 {
		t.Errorf("two planted: %v, %d files", found, files)
	}
}

// wiretap is a proxy that writes down all that passes, in both directions.
type wiretap struct {
	address string
	mu      sync.Mutex
	sent    bytes.Buffer // by whoever connects
	got     bytes.Buffer // what they are answered
}

// tap listens before an address; it ends with the test.
func tap(t *testing.T, address string) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{address: l.Addr().String()}
	var open sync.WaitGroup
	ended, end := context.WithCancel(context.Background())
	open.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer context.AfterFunc(ended, func() { near.Close() })()
				w.pass(near, address)
			})
		}
	})
	t.Cleanup(func() { l.Close(); end(); open.Wait() })
	return w
}

// pass joins one connection with its far end until both directions are over.
func (w *wiretap) pass(near net.Conn, address string) {
	defer near.Close()
	far, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer far.Close()
	var both sync.WaitGroup
	for _, way := range []struct {
		from, to net.Conn
		into     *bytes.Buffer
	}{{near, far, &w.sent}, {far, near, &w.got}} {
		both.Go(func() {
			io.Copy(io.MultiWriter(way.to, writerFunc(func(b []byte) (int, error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				return way.into.Write(b)
			})), way.from)
			way.from.Close()
			way.to.Close()
		})
	}
	both.Wait()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// heard returns all that passed so far.
func (w *wiretap) heard() (sent, got []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.sent.Bytes()), bytes.Clone(w.got.Bytes())
}
