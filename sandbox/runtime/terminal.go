package runtime

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// OpenTerminal makes the two sides of a pseudo terminal.
func OpenTerminal() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, nil, errs.Wrap(err, "open a terminal")
	}
	unlock := 0
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, unlock); err != nil {
		master.Close()
		return nil, nil, errs.Wrap(err, "open a terminal")
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		master.Close()
		return nil, nil, errs.Wrap(err, "open a terminal")
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		master.Close()
		return nil, nil, errs.Wrap(err, "open a terminal")
	}
	return master, slave, nil
}
