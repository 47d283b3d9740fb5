//go:build amd64

package inside_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// calls uses what a file system offers, and compares with what Linux's would do.
func calls([]string) error {
	if err := os.Mkdir("/state/calls", 0o700); err != nil {
		return err
	}
	if err := os.Chdir("/state/calls"); err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"errors", refusals}, {"append", appends}, {"truncate", truncates}, {"times", times},
		{"owners", owners}, {"directory", directory}, {"renames", renames},
		{"attributes", attributes}, {"statfs", statfs}, {"fallocate", fallocates},
		{"sockets and pipes", special}, {"sync", syncs},
	} {
		if err := c.call(); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func appends() error {
	for _, word := range []string{"one", "two"} {
		f, err := os.OpenFile("appended", os.O_APPEND|os.O_CREATE|os.O_WRONLY|os.O_SYNC, 0o600)
		if err != nil {
			return err
		}
		if _, err := f.WriteString(word); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return holds("appended", "onetwo")
}

func holds(name, want string) error {
	got, err := os.ReadFile(name)
	if err != nil || string(got) != want {
		return fmt.Errorf("%s: %.80q, %w", name, got, err)
	}
	return nil
}

func truncates() error {
	if err := os.WriteFile("cut", bytes.Repeat([]byte("x"), 100000), 0o600); err != nil {
		return err
	}
	for _, size := range []int64{50000, 70000, 3} {
		if err := os.Truncate("cut", size); err != nil {
			return err
		}
	}
	if err := holds("cut", "xxx"); err != nil {
		return err
	}
	f, err := os.OpenFile("cut", os.O_RDWR|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("end"), 5); err != nil {
		return err
	}
	return holds("cut", "\x00\x00\x00\x00\x00end")
}

func times() error {
	if err := os.WriteFile("timed", nil, 0o600); err != nil {
		return err
	}
	want := time.Unix(1_000_000_000, 123456789)
	if err := os.Chtimes("timed", want, want); err != nil {
		return err
	}
	info, err := os.Stat("timed")
	if err != nil || !info.ModTime().Equal(want) {
		return fmt.Errorf("%v, %w", info.ModTime(), err)
	}
	return nil
}

func owners() error {
	if err := os.WriteFile("owned", nil, 0o600); err != nil {
		return err
	}
	if err := os.Chmod("owned", 0o640); err != nil {
		return err
	}
	info, err := os.Stat("owned")
	if err != nil || info.Mode() != 0o640 {
		return fmt.Errorf("%v, %w", info.Mode(), err)
	}
	return nil
}

func directory() error {
	const count = 3000 // more than one answer of the protocol
	if err := os.Mkdir("many", 0o700); err != nil {
		return err
	}
	for i := range count {
		if err := os.WriteFile(fmt.Sprintf("many/entry-with-a-long-name-%d", i), nil, 0o600); err != nil {
			return err
		}
	}
	list, err := os.ReadDir("many")
	if err != nil || len(list) != count {
		return fmt.Errorf("%d entries, %w", len(list), err)
	}
	if err := os.RemoveAll("many"); err != nil {
		return err
	}
	if _, err := os.Stat("many"); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("it is still there: %w", err)
	}
	return nil
}

func renames() error {
	if err := errors.Join(os.WriteFile("x", []byte("x"), 0o600), os.WriteFile("y", []byte("y"), 0o600),
		os.WriteFile("z", []byte("z"), 0o600), os.Rename("x", "y"), holds("y", "x")); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, "y", unix.AT_FDCWD, "z", unix.RENAME_NOREPLACE)
	if !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("over what is there: %w", err)
	}
	return errors.Join(holds("y", "x"), holds("z", "z"))
}

func attributes() error {
	if err := os.WriteFile("attributed", nil, 0o600); err != nil {
		return err
	}
	if err := unix.Setxattr("attributed", "user.word", []byte("value"), 0); err != nil {
		return err
	}
	value := make([]byte, 10)
	n, err := unix.Getxattr("attributed", "user.word", value)
	if err != nil || string(value[:n]) != "value" {
		return fmt.Errorf("%q, %w", value[:max(n, 0)], err)
	}
	return unix.Removexattr("attributed", "user.word")
}

func statfs() error {
	var s unix.Statfs_t
	if err := unix.Statfs("/state", &s); err != nil {
		return err
	}
	if s.Blocks*uint64(s.Bsize) != 200<<20 || s.Bfree > s.Blocks || s.Namelen != 255 {
		return fmt.Errorf("%+v", s)
	}
	return nil
}

func fallocates() error {
	f, err := os.Create("allocated")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 123456); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil || info.Size() != 123456 {
		return fmt.Errorf("%d bytes, %w", info.Size(), err)
	}
	return nil
}

// special makes what the kernel inside keeps itself.
func special() error {
	if err := unix.Mkfifo("pipe", 0o600); err != nil {
		return fmt.Errorf("fifo: %w", err)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	return unix.Bind(s, &unix.SockaddrUnix{Name: "socket"})
}

func syncs() error {
	f, err := os.Create("synced")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString("s"); err != nil {
		return err
	}
	unix.Sync()
	return errors.Join(unix.Fdatasync(int(f.Fd())), unix.Syncfs(int(f.Fd())))
}

func refusals() error {
	if err := os.WriteFile("present", nil, 0o600); err != nil {
		return err
	}
	long := string(bytes.Repeat([]byte("n"), 256))
	for _, c := range []struct {
		err  error
		want error
	}{
		{os.Mkdir(long, 0o700), syscall.ENAMETOOLONG},
		{os.Mkdir("/state/calls", 0o700), syscall.EEXIST},
		{syscall.Rmdir("/state/calls"), syscall.ENOTEMPTY},
		{os.Link("/state/calls", "l"), syscall.EPERM},
		{os.Rename("/state/calls", "/state/calls/below"), syscall.EINVAL},
		{os.Remove("none"), syscall.ENOENT},
		{unix.Mknod("device", unix.S_IFCHR|0o600, 1<<8|3), syscall.EPERM},
	} {
		if !errors.Is(c.err, c.want) {
			return fmt.Errorf("%w, want %v", c.err, c.want)
		}
	}
	return nil
}

// beside copies what the host shows into the state, and back.
func beside([]string) error {
	word, err := os.ReadFile("/tmp/word")
	if err != nil {
		return err
	}
	if err := synced("/state/word", word); err != nil {
		return err
	}
	f, err := os.Open("/state/word")
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, len(word), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil || !bytes.Equal(m, word) {
		return fmt.Errorf("mapped: %q, %w", m, err)
	}
	return os.WriteFile("/tmp/answer", word, 0o644)
}

// two uses both states, and moves nothing from one to the other by its name.
func two([]string) error {
	if err := errors.Join(synced("/state/a", []byte("a")), synced("/tmp/b", []byte("b"))); err != nil {
		return err
	}
	if err := os.Rename("/tmp/b", "/state/b"); !errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("across: %w", err)
	}
	return errors.Join(holds("/state/a", "a"), holds("/tmp/b", "b"))
}

// lost syncs until that fails, and looks at what is left to it then.
func lost([]string) error {
	for i := range 100 {
		err := synced(fmt.Sprint("/state/", i), []byte("word"))
		if err == nil {
			continue
		}
		if !errors.Is(err, syscall.EIO) {
			return fmt.Errorf("file %d: %w", i, err)
		}
		if err := os.Mkdir("/state/more", 0o700); !errors.Is(err, syscall.EIO) {
			return fmt.Errorf("a change after that: %w", err)
		}
		return holds("/state/0", "word")
	}
	return errors.New("everything was acknowledged")
}
