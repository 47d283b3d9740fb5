package joint

import (
	"bytes"
	"encoding/hex"
	"path/filepath"
	"strconv"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/sys/vfs"
)

// Tally counts a party's runs under contracts that no broker counts, in a directory of its own, which
// exists.
type Tally struct {
	FS  vfs.FS
	Dir string
}

// maxTallyBytes bounds a contract's file: a line of some 20 bytes for each run of a million.
const maxTallyBytes = 20 << 20

// Take counts a run that is about to begin: a run that fails has been one, since parts of it may
// have been shown. It is errs.Refused where the contract's budget has none left, ever or in this day
// of UTC, and Corrupt where the file is not what Take wrote.
func (t Tally) Take(s enclave.SignedContract, now clock.Instant) error {
	name := filepath.Join(t.Dir, hex.EncodeToString(s.Digest[:])+".runs")
	lock, err := t.FS.Lock(name + ".lock")
	if err != nil {
		return errs.Wrap(err, "joint.tally")
	}
	defer lock.Close() // a lock holds nothing that could be lost
	content, err := vfs.ReadWhole(t.FS, name, maxTallyBytes)
	if err != nil && !errs.Is(err, errs.NotFound) {
		return errs.Wrap(err, "joint.tally")
	}
	today := int64(now) / int64(clock.Day)
	ever, daily := uint64(0), uint64(0)
	for line := range strings.Lines(string(content)) {
		day, err := strconv.ParseInt(strings.TrimSuffix(line, "\n"), 10, 64)
		if err != nil {
			return errs.New(errs.Corrupt, "joint.tally: %s: line %d is no day", name, ever+1)
		}
		ever++
		if day == today {
			daily++
		}
	}
	b := s.Contract.Budget
	if ever >= b.Runs {
		return errs.New(errs.Refused, "joint.budget: %d runs of %d were made under this contract", ever,
			b.Runs)
	}
	if b.Daily > 0 && daily >= b.Daily {
		return errs.New(errs.Refused, "joint.budget: %d runs of %d were made today", daily, b.Daily)
	}
	content = append(bytes.Clone(content), strconv.FormatInt(today, 10)+"\n"...)
	return errs.Wrap(vfs.WriteWhole(t.FS, name, content), "joint.tally")
}
