package escape

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"surety/base/errs"
	"surety/sys/entropy"
)

// The places of a drill inside its sandbox.
const (
	secretInside   = "/vault/deep/secret/word"
	volumeInside   = "/volume"
	writableInside = "/writable"
)

// Ground is what a drill lays out on the host: a root directory for its sandboxes, files that must
// not be reached or changed, and listeners that must not be spoken to.
type Ground struct {
	dir       string
	name      string
	scene     Scene
	streams   []net.Listener
	datagrams []net.PacketConn
	serving   sync.WaitGroup

	mu   sync.Mutex
	hits []string
}

// Prepare lays the ground in a new directory dir: program is the binary that will make the attempts.
// The caller closes it, which removes the directory.
func Prepare(dir, program string) (*Ground, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, errs.Wrap(err, "escape.Prepare")
	}
	var word [8]byte
	entropy.System().Fill(word[:])
	g := &Ground{dir: dir, name: "drill-" + hex.EncodeToString(word[:4])}
	if err := errors.Join(g.layFiles(program), g.listen()); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// layFiles writes the canaries and the root directory.
func (g *Ground) layFiles(program string) error {
	for _, dir := range []string{"root", "root/tmp", "root/etc", "root/run", "root/proc", "root/dev",
		"root/sys", "root" + filepath.Dir(secretInside), "root" + volumeInside,
		"root" + writableInside, "volume", "writable"} {
		if err := os.MkdirAll(filepath.Join(g.dir, dir), 0o755); err != nil {
			return errs.Wrap(err, "escape.Prepare")
		}
	}
	canary, secret := newWord(), newWord()
	g.scene = Scene{Canary: filepath.Join(g.dir, "canary"), Seen: digestOf(canary),
		Told: digestOf(secret)}
	for name, content := range map[string]string{"canary": canary, "volume/word": "volume",
		"writable/word": "writable", "root/etc/passwd": "root:x:0:0::/:/bin/sh\n",
		"root/etc/shadow": "root:*::::::\n", "root/etc/hosts": "", "root/etc/resolv.conf": "",
		"root/etc/hostname": "", "root" + secretInside: secret} {
		if err := os.WriteFile(filepath.Join(g.dir, name), []byte(content), 0o644); err != nil {
			return errs.Wrap(err, "escape.Prepare")
		}
	}
	if err := os.Symlink(g.scene.Canary, filepath.Join(g.dir, "volume/outside")); err != nil {
		return errs.Wrap(err, "escape.Prepare")
	}
	// An unprivileged program may write where everybody may: /tmp.
	if err := os.Chmod(filepath.Join(g.dir, "root/tmp"), 0o1777); err != nil {
		return errs.Wrap(err, "escape.Prepare")
	}
	return errors.Join(copyProgram(program, filepath.Join(g.dir, "root", Name), 0o755),
		copyProgram(program, filepath.Join(g.dir, "root", "surety-setuid"), 0o755|os.ModeSetuid))
}

// newWord is content that nothing else has.
func newWord() string {
	var word [16]byte
	entropy.System().Fill(word[:])
	return "canary " + hex.EncodeToString(word[:])
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(strings.TrimSpace(text)))
	return hex.EncodeToString(sum[:])
}

func copyProgram(from, to string, mode os.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return errs.Wrap(err, "escape.Prepare: program")
	}
	defer source.Close()
	into, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return errs.Wrap(err, "escape.Prepare: program")
	}
	_, err = io.Copy(into, source)
	return errs.Wrap(errors.Join(err, into.Chmod(mode), into.Close()), "escape.Prepare: program")
}

// listen opens a listener for streams and one for datagrams, on the same port of every address of
// the host, and notes whoever speaks.
func (g *Ground) listen() error {
	first, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return errs.As(errs.Unavailable, err, "escape.Prepare: listener")
	}
	g.streams = append(g.streams, first)
	port := first.Addr().(*net.TCPAddr).Port
	packets, err := net.ListenPacket("udp4", fmt.Sprintf("0.0.0.0:%d", port))
	if err != nil {
		return errs.As(errs.Unavailable, err, "escape.Prepare: listener")
	}
	g.datagrams = append(g.datagrams, packets)
	g.serving.Go(func() { g.accept(first) })
	g.serving.Go(func() { g.receive(packets) })
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return errs.As(errs.Unavailable, err, "escape.Prepare: addresses")
	}
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().Is4() && !prefix.Addr().IsLoopback() {
			g.scene.Hosts = append(g.scene.Hosts, fmt.Sprintf("%s:%d", prefix.Addr(), port))
		}
	}
	// What a sandbox's own network calls the loopback of the host.
	g.scene.Hosts = append(g.scene.Hosts, fmt.Sprintf("10.90.0.254:%d", port))
	return nil
}

func (g *Ground) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		g.hit("connection from " + c.RemoteAddr().String())
		_ = c.Close()
	}
}

func (g *Ground) receive(c net.PacketConn) {
	for {
		_, from, err := c.ReadFrom(make([]byte, 64))
		if err != nil {
			return
		}
		g.hit("datagram from " + from.String())
	}
}

func (g *Ground) hit(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.hits = append(g.hits, what)
}

// Hits returns who spoke to the listeners.
func (g *Ground) Hits() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.hits...)
}

// Name begins the names of the drill's sandboxes: no other sandbox has it.
func (g *Ground) Name() string { return g.name }

// Root is the root directory for the drill's sandboxes; State is where they may keep theirs.
func (g *Ground) Root() string  { return filepath.Join(g.dir, "root") }
func (g *Ground) State() string { return filepath.Join(g.dir, "state") }

// Volume and Writable are the directories to be shown at VolumeInside and WritableInside.
func (g *Ground) Volume() (source, target string) {
	return filepath.Join(g.dir, "volume"), volumeInside
}

// Writable is the directory of the planted fault and where it is shown.
func (g *Ground) Writable() (source, target string) {
	return filepath.Join(g.dir, "writable"), writableInside
}

// Scene is what the attempts are told, before the caller says what the policy does.
func (g *Ground) Scene() Scene { return g.scene }

// Secret is the file inside that the policy is to deny.
func (g *Ground) Secret() string { return secretInside }

// Close stops listening and removes the directory.
func (g *Ground) Close() error {
	var all error
	for _, l := range g.streams {
		all = errors.Join(all, l.Close())
	}
	for _, c := range g.datagrams {
		all = errors.Join(all, c.Close())
	}
	g.serving.Wait()
	return errors.Join(all, os.RemoveAll(g.dir))
}
