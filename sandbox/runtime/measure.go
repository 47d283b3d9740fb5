package runtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// measured is what the host remembers of a binary's digest, with what would change if the file did.
// The change time cannot be set by a program, so a file that was rewritten is always read again.
type measured struct {
	Device  uint64 `json:"device"`
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	Changed int64  `json:"changed"` // ctime, ns
	Digest  string `json:"digest"`
}

// binaryDigest is the SHA-256 of this program, remembered between starts.
func (h *Host) binaryDigest() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", errs.Wrap(err, "digest of this program")
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return "", errs.Wrap(err, "digest of this program")
	}
	now := measured{Device: st.Dev, Inode: st.Ino, Size: st.Size, Changed: st.Ctim.Nano()}
	name := filepath.Join(h.config.Root, "binary.json")
	if content, err := os.ReadFile(name); err == nil {
		var old measured
		if json.Unmarshal(content, &old) == nil && old.Digest != "" {
			now.Digest = old.Digest
			if old == now {
				return old.Digest, nil
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", errs.Wrap(err, "digest of this program")
	}
	if now.Digest, err = digestOf(f); err != nil {
		return "", err
	}
	content, err := json.Marshal(now)
	if err != nil {
		return "", errs.Wrap(err, "digest of this program")
	}
	return now.Digest, replaceFile(name, content)
}

// replaceFile gives a file new content in one step for whoever reads it. It does not survive a
// power cut: nothing that a sandbox's run leaves here does.
func replaceFile(name string, content []byte) error {
	draft := fmt.Sprintf("%s.%d.new", name, os.Getpid())
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		_ = os.Remove(draft)
		return errs.Wrap(err, "write %s", name)
	}
	return errs.Wrap(os.Rename(draft, name), "write %s", name)
}
