package egress_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"

	"surety/base/errs"
	"surety/sandbox/egress"
	"surety/sys/wallclock"
)

// memoryLink gives a gateway frames from a channel and drops what it sends.
type memoryLink struct {
	frames chan []byte
	once   sync.Once
	done   chan struct{}

	mu   sync.Mutex
	sent [][]byte
}

func newMemoryLink() *memoryLink {
	return &memoryLink{frames: make(chan []byte), done: make(chan struct{})}
}

func (l *memoryLink) ReadFrame(bufs [][]byte) (int, error) {
	select {
	case frame, ok := <-l.frames:
		if !ok {
			return 0, io.EOF
		}
		read := 0
		for _, b := range bufs {
			read += copy(b, frame[read:])
		}
		return read, nil
	case <-l.done:
		return 0, net.ErrClosed
	}
}

func (l *memoryLink) WriteFrame(_ egress.Segments, bufs [][]byte) error {
	var frame []byte
	for _, b := range bufs {
		frame = append(frame, b...)
	}
	l.mu.Lock()
	l.sent = append(l.sent, frame)
	l.mu.Unlock()
	return nil
}

func (l *memoryLink) MTU() int       { return 1500 }
func (l *memoryLink) Offloads() bool { return true }

func (l *memoryLink) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// feed runs a gateway on frames and waits until it has taken them all. The host connects to nothing.
func feed(t testing.TB, frames ...[]byte) (*memoryLink, egress.Counts) {
	t.Helper()
	link := newMemoryLink()
	g, err := egress.Open(egress.Config{Link: link, Clock: wallclock.System(),
		Servers: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")},
		Dial: func(context.Context, string, netip.AddrPort) (net.Conn, error) {
			return nil, syscall.ECONNREFUSED
		}})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- g.Run(context.Background()) }()
	for _, frame := range frames {
		link.frames <- frame
	}
	close(link.frames)
	if err := <-ran; !errs.Is(err, errs.Unavailable) {
		t.Fatal(err)
	}
	return link, g.Counts()
}

// frame4 is an Ethernet frame with an IPv4 header as the sandbox makes it.
func frame4(protocol byte, to [4]byte, payload []byte) []byte {
	frame := make([]byte, 14+20, 14+20+len(payload))
	copy(frame, []byte{2, 0x5e, 0x7e, 0, 0, 1, 2, 0x5e, 0x7e, 0, 0, 2, 8, 0})
	ip := frame[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(payload)))
	copy(ip[12:], []byte{10, 90, 0, 2})
	copy(ip[16:], to[:])
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	return append(frame, payload...)
}

// frame6 is the same for IPv6.
func frame6(protocol byte, payload []byte) []byte {
	frame := make([]byte, 14+40, 14+40+len(payload))
	copy(frame, []byte{2, 0x5e, 0x7e, 0, 0, 1, 2, 0x5e, 0x7e, 0, 0, 2, 0x86, 0xdd})
	ip := frame[14:]
	ip[0], ip[6], ip[7] = 0x60, protocol, 64
	binary.BigEndian.PutUint16(ip[4:], uint16(len(payload)))
	copy(ip[8:], []byte{0xfd, 0x5e, 0x7e, 0x7e, 0, 0x90, 23 - 8: 2})
	copy(ip[24:], []byte{0x20, 1, 0xd, 0xb8, 15: 1})
	return append(frame, payload...)
}

// syn is a TCP header that asks for a connection to port 80.
func syn() []byte {
	return []byte{0x80, 0, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0}
}

// TestFramesRefused sends what no honest sandbox would. Each is dropped before the stack sees it.
func TestFramesRefused(t *testing.T) {
	away := [4]byte{192, 0, 2, 1}
	change := func(frame []byte, at int, to ...byte) []byte {
		copy(frame[at:], to)
		return frame
	}
	for name, frame := range map[string][]byte{
		"empty":                        {},
		"less than Ethernet":           make([]byte, 13),
		"no payload":                   frame4(6, away, nil)[:14],
		"cut IP header":                frame4(6, away, nil)[:14+19],
		"a header longer than the IP":  change(frame4(6, away, nil), 14, 0x4f),
		"a header shorter than IP's":   change(frame4(6, away, syn()), 14, 0x44),
		"IPv6 in an IPv4 frame":        change(frame4(6, away, syn()), 14, 0x65),
		"from another address":         change(frame4(6, away, syn()), 14+15, 3),
		"from the gateway":             change(frame4(6, away, syn()), 14+15, 1),
		"from a multicast MAC":         change(frame4(6, away, syn()), 6, 3),
		"another protocol of Ethernet": change(frame4(6, away, syn()), 12, 0x88, 0xcc),
		"ICMP cut":                     frame4(1, away, []byte{8, 0, 0}),
		"ICMP redirect":                frame4(1, away, []byte{5, 1, 0, 0, 0, 0, 0, 0}),
		"ARP cut":                      change(frame4(6, away, syn()), 12, 8, 6)[:14+27],
		"IPv6 cut":                     frame6(6, nil)[:14+39],
		"IPv6 from another address":    change(frame6(6, syn()), 14+23, 9),
		"IPv6 router advertisement": change(frame6(58, []byte{134, 0, 0, 0, 0, 0, 0, 0}), 14+8, 0xfe,
			0x80),
	} {
		link, counts := feed(t, frame)
		if counts.FramesRefused != 1 || len(link.sent) != 0 {
			t.Errorf("%s: %+v, %d frames sent", name, counts, len(link.sent))
		}
	}
	if link, counts := feed(t, frame4(6, away, syn())); counts.FramesRefused != 0 {
		t.Errorf("a good frame: %+v, %d frames sent", counts, len(link.sent))
	}
}

// FuzzFrames feeds three mutated frames to one gateway. Whatever they are, it goes on and ends.
func FuzzFrames(f *testing.F) {
	away := [4]byte{192, 0, 2, 1}
	f.Add(frame4(6, away, syn()), frame4(17, away, []byte{0, 1, 0, 53, 0, 8, 0, 0}), frame6(6, syn()))
	f.Add(frame4(1, [4]byte{10, 90, 0, 1}, []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0}), []byte{}, make([]byte, 60))
	f.Add(frame6(58, []byte{135, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0x5e, 0x7e, 0x7e, 0, 0x90, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 1}), frame6(0, []byte{6, 0, 5, 2, 0, 0, 1, 0}), frame6(44, []byte{6, 0, 0, 1, 0, 0, 0, 1}))
	query := []byte{0x80, 0, 0, 53, 0, 29, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1,
		0, 0}
	f.Add(frame4(17, [4]byte{10, 90, 0, 1}, query), frame4(6, [4]byte{10, 90, 0, 1}, syn()),
		frame4(17, [4]byte{10, 90, 0, 254}, query))
	f.Fuzz(func(t *testing.T, a, b, c []byte) { feed(t, a, b, c) })
}
