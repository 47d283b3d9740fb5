//go:build amd64

package kernel_test

import (
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gridPaths are tried with every call, below a folder made anew each time.
var gridPaths = []string{"file", "dir", "missing", "tofile", "todir", "dangling", "loop", "abs",
	"file/", "dir/", "missing/", "tofile/", "todir/", "dangling/", "loop/", ".", "..", "./file",
	"dir/.", "dir/..", "dir/../file", "missing/x", "file/x", "todir/inner", "dangling/x", "dir//inner",
	"full", "full/inner", "locked", "locked/x", "closed",
	"pipe", strings.Repeat("n", 256), strings.Repeat("d/", 2100), "", "/", "//",
	"/proc/self/cwd", "/proc/self/cwd/file", "/proc/self", "/dev/null", "chain"}

// gridFlags are the flags open is tried with. Left out are three on which we differ from gVisor and
// agree with Linux: O_DIRECTORY with O_NOFOLLOW on a link, O_DIRECTORY with O_CREAT, and O_TMPFILE,
// which gVisor refuses before it looks at the path.
var gridFlags = []int{unix.O_RDONLY | unix.O_NONBLOCK, unix.O_WRONLY | unix.O_NONBLOCK, unix.O_RDWR,
	unix.O_WRONLY | unix.O_CREAT | unix.O_NONBLOCK, unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL,
	unix.O_RDONLY | unix.O_CREAT | unix.O_NONBLOCK, unix.O_WRONLY | unix.O_TRUNC | unix.O_NONBLOCK,
	unix.O_DIRECTORY, unix.O_NOFOLLOW | unix.O_NONBLOCK,
	unix.O_PATH, unix.O_PATH | unix.O_NOFOLLOW, unix.O_CREAT | unix.O_NOFOLLOW | unix.O_NONBLOCK,
	3 | unix.O_NONBLOCK,
	unix.O_PATH | unix.O_CREAT, unix.O_EXCL | unix.O_NONBLOCK}

type gridCall struct {
	name string
	do   func(path string) error
}

func gridCalls() []gridCall {
	at := func(path string) uintptr {
		p, _ := unix.BytePtrFromString(path)
		return uintptr(unsafe.Pointer(p))
	}
	cwd := ^uintptr(99)
	calls := []gridCall{
		{"unlink", unix.Unlink}, {"rmdir", unix.Rmdir},
		{"mkdir", func(p string) error { return unix.Mkdir(p, 0o3755) }},
		{"mkfifo", func(p string) error { return unix.Mknod(p, unix.S_IFIFO|0o640, 0) }},
		{"mkreg", func(p string) error { return unix.Mknod(p, 0o640, 0) }},
		{"mkchr", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o640, 0x103) }},
		{"symlink", func(p string) error { return unix.Symlink("file", p) }},
		{"symlink-empty", func(p string) error { return unix.Symlink("", p) }},
		{"link-from", func(p string) error { return unix.Link(p, "linked") }},
		{"link-to", func(p string) error { return unix.Link("file", p) }},
		{"link-follow", func(p string) error {
			return unix.Linkat(unix.AT_FDCWD, p, unix.AT_FDCWD, "linked", unix.AT_SYMLINK_FOLLOW)
		}},
		{"rename-from", func(p string) error { return unix.Rename(p, "renamed") }},
		{"rename-to", func(p string) error { return unix.Rename("file", p) }},
		{"rename-dir-to", func(p string) error { return unix.Rename("dir", p) }},
		{"rename-into", func(p string) error { return unix.Rename(p, "dir/deep") }},
		{"rename-noreplace", func(p string) error {
			return unix.Renameat2(unix.AT_FDCWD, "file", unix.AT_FDCWD, p, unix.RENAME_NOREPLACE)
		}},
		{"rename-exchange", func(p string) error {
			return unix.Renameat2(unix.AT_FDCWD, "file", unix.AT_FDCWD, p, unix.RENAME_EXCHANGE)
		}},
		{"chmod", func(p string) error { return unix.Chmod(p, 0o4711) }},
		{"lchown", func(p string) error { return unix.Lchown(p, -1, -1) }},
		{"chown", func(p string) error { return unix.Chown(p, 0, 0) }},
		{"truncate", func(p string) error { return unix.Truncate(p, 3) }},
		{"truncate-minus", func(p string) error { return unix.Truncate(p, -1) }},
		{"utimes", func(p string) error { return unix.Utimes(p, make([]unix.Timeval, 2)) }},
		{"utimensat", func(p string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Nsec: unix.UTIME_OMIT},
				{Nsec: 5}}, unix.AT_SYMLINK_NOFOLLOW)
		}},
		{"utimensat-bad", func(p string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, p, []unix.Timespec{{Nsec: -4}, {Nsec: 5}}, 0)
		}},
		{"fchownat-empty", func(p string) error {
			return raw(unix.SYS_FCHOWNAT, cwd, at(p), ^uintptr(0), ^uintptr(0), unix.AT_EMPTY_PATH)
		}},
		{"fchmodat", func(p string) error { return raw(unix.SYS_FCHMODAT, cwd, at(p), 0o711) }},
		{"setxattr", func(p string) error { return unix.Setxattr(p, "user.a", []byte("b"), 0) }},
		{"lremovexattr", func(p string) error { return unix.Lremovexattr(p, "user.a") }},
		{"unix-connect", func(p string) error { return unixConnect(p) }},
		{"unix-bind", func(p string) error { return unixBind(p) }},
		{"exec", func(p string) error {
			return raw(unix.SYS_EXECVE, at(p), 0, 0)
		}},
		{"execat-nofollow", func(p string) error {
			return raw(unix.SYS_EXECVEAT, cwd, at(p), 0, 0, unix.AT_SYMLINK_NOFOLLOW)
		}},
		{"rmdir-slash", func(p string) error { return unix.Rmdir(p + "/") }},
	}
	for _, flags := range gridFlags {
		calls = append(calls, gridCall{fmt.Sprintf("open-%#x", flags), func(p string) error {
			fd, err := unix.Open(p, flags, 0o4755)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}})
	}
	return calls
}

func unixConnect(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}

func unixBind(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Bind(fd, &unix.SockaddrUnix{Name: path})
}

// grid tries every call on every path, below a[0], and tells the outcome and what is there after.
func grid(a []string) string {
	base := a[0] + "/grid"
	var out []string
	for _, call := range gridCalls() {
		for _, path := range gridPaths {
			if strings.HasPrefix(call.name, "exec") && path == "pipe" {
				continue // gVisor waits for its writer
			}
			if err := gridFixture(base); err != nil {
				return "fixture: " + err.Error()
			}
			err := call.do(path)
			shown := path
			if len(shown) > 20 {
				shown = shown[:20]
			}
			out = append(out, fmt.Sprintf("%s %q %s %s", call.name, shown, said(err), gridSeen(base)))
		}
	}
	return strings.Join(out, "\n")
}

func gridFixture(base string) error {
	_ = os.Chdir("/")
	_ = os.RemoveAll(base)
	if err := os.MkdirAll(base+"/dir", 0o755); err != nil {
		return err
	}
	if err := os.Chdir(base); err != nil {
		return err
	}
	if err := os.MkdirAll("full", 0o755); err != nil {
		return err
	}
	for _, name := range []string{"file", "full/inner", "dir/inner"} {
		if err := os.WriteFile(name, []byte("hello"), 0o644); err != nil {
			return err
		}
	}
	_ = os.Remove("dir/inner")
	if err := os.WriteFile("closed", []byte("hello"), 0); err != nil {
		return err
	}
	if err := os.Mkdir("locked", 0); err != nil {
		return err
	}
	if err := unix.Mknod("pipe", unix.S_IFIFO|0o600, 0); err != nil {
		return err
	}
	for name, to := range map[string]string{"tofile": "file", "todir": "full", "dangling": "made",
		"loop": "loop", "abs": base + "/file", "chain": "tofile"} {
		if err := os.Symlink(to, name); err != nil {
			return err
		}
	}
	return nil
}

// gridSeen is what is below base: names, modes and sizes.
func gridSeen(base string) string {
	var out []string
	var walk func(dir string)
	walk = func(dir string) {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			var st unix.Stat_t
			name := dir + "/" + e.Name()
			_ = unix.Lstat(name, &st)
			text := fmt.Sprintf("%s:%o:%d:%d", strings.TrimPrefix(name, base), st.Mode, st.Size, st.Nlink)
			if to, err := os.Readlink(name); err == nil {
				text += ">" + strings.TrimPrefix(to, base)
			}
			out = append(out, text)
			if e.IsDir() {
				walk(name)
			}
		}
	}
	walk(base)
	return strings.Join(out, " ")
}
