//go:build amd64

package kernel

import (
	"os"
	"path/filepath"

	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"

	"surety/sandbox/volume"
)

// Main runs what gVisor re-executed us for: the kernel of a sandbox, its file server, or the helper
// that unmounts /proc. The file server serves the mounts that a provider claims from the volumes it
// opens. It never returns.
func Main(volumes ...volume.Provider) {
	switch filepath.Base(os.Args[0]) {
	case argvGofer:
		volume.Register(volumes)
	case argvSandbox:
		g := &guard{}
		g.install()
		g.watch()
		register(g)
		if err := useFilters(); err != nil {
			panic(err) // the file is part of this program
		}
	}
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot):   "",
		new(cmd.Gofer):        "",
		new(sentrycmd.Umount): "",
	}, nil)
}
