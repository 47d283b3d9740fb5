package runtime

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"surety/base/errs"
)

// ParseSignal reads a signal by its number, or by its name with or without SIG in any case: kind
// Invalid where there is none.
func ParseSignal(text string) (int, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if n < 1 || n > 64 {
			return 0, errs.New(errs.Invalid, "signal %d is not from 1 to 64", n)
		}
		return n, nil
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return int(s), nil
	}
	return 0, errs.New(errs.Invalid, "%q is no signal", text)
}
