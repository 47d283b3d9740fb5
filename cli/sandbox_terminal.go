package cli

import (
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// attach connects the command's terminal with the master side of a program's: raw, with its size,
// until restore.
func (s *streams) attach(master *os.File) {
	in, isFile := s.env.Stdin.(*os.File)
	undo := func() {}
	if isFile && term.IsTerminal(int(in.Fd())) {
		if old, err := term.MakeRaw(int(in.Fd())); err == nil {
			undo = func() { _ = term.Restore(int(in.Fd()), old) }
		}
		sizes := make(chan os.Signal, 1)
		signal.Notify(sizes, unix.SIGWINCH)
		copySize(in, master)
		go func() {
			for range sizes {
				copySize(in, master)
			}
		}()
		raw := undo
		undo = func() {
			signal.Stop(sizes)
			raw()
		}
	}
	if s.stdin {
		go func() { _, _ = io.Copy(master, s.env.Stdin) }()
	}
	s.copies.Add(1)
	go func() {
		defer s.copies.Done()
		_, _ = io.Copy(s.env.Stdout, master) // ends when the program's side is closed
	}()
	s.restore = undo
}

// copySize gives one terminal the size of another.
func copySize(from, to *os.File) {
	if size, err := unix.IoctlGetWinsize(int(from.Fd()), unix.TIOCGWINSZ); err == nil {
		_ = unix.IoctlSetWinsize(int(to.Fd()), unix.TIOCSWINSZ, size)
	}
}
