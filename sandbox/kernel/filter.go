//go:build amd64

package kernel

import (
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"os"
	_ "unsafe" // for go:linkname

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/runsc/boot/filter"

	"surety/base/errs"
)

// filters are the programs that limit what the kernel process may ask of the host, for the
// configurations we boot with, compiled ahead: compiling one takes a tenth of a cold start.
// TestFilters sees that they are what gVisor would compile, and makes them anew with -rewrite.
//
//go:embed filters.json
var filters []byte

// compiledFilters is gVisor's table of programs compiled ahead. Its own build fills it with generated
// code; the module has the table and not the code, and exports no way to put it there.
//
//go:linkname compiledFilters gvisor.dev/gvisor/runsc/boot/filter.precompiledPrograms
var compiledFilters map[string]precompiledseccomp.Program

// compiledFilter is one program as filters.json holds it.
type compiledFilter struct {
	Name    string           `json:"name"`    // gVisor's key of the configuration
	Code    []byte           `json:"code"`    // 32-bit words, little endian
	Offsets map[string][]int `json:"offsets"` // words that are set when it is installed, by variable
}

// sentryPID is the kernel process's own pid: it is the first of its namespace. The programs name it.
const sentryPID = 1

// useFilters hands the programs to gVisor. A configuration without one is compiled as it boots, and
// so is all of it where the process has another pid than the programs were compiled for.
func useFilters() error {
	if os.Getpid() != sentryPID {
		return nil
	}
	var programs []compiledFilter
	if err := json.Unmarshal(filters, &programs); err != nil {
		return errs.As(errs.Corrupt, err, "kernel.filters")
	}
	filter.ListPrecompiled() // makes the table, once
	for _, p := range programs {
		words := make([]uint32, len(p.Code)/4)
		for i := range words {
			words[i] = binary.LittleEndian.Uint32(p.Code[4*i:])
		}
		compiledFilters[p.Name] = precompiledseccomp.Program{Name: p.Name, Bytecode32: words,
			VarOffsets: p.Offsets}
	}
	return nil
}
