//go:build amd64

package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/bpf"
	"gvisor.dev/gvisor/pkg/seccomp"
	"gvisor.dev/gvisor/pkg/sentry/platform/systrap"
	"gvisor.dev/gvisor/runsc/boot/filter"
	"gvisor.dev/gvisor/runsc/boot/filter/config"
)

var rewriteFilters = flag.Bool("rewrite", false, "rewrite filters.json")

// configurations are those we boot with: the networks, with and without files of the host.
func configurations() []config.Options {
	var all []config.Options
	for _, network := range [...][2]bool{{false, false}, {true, false}, {true, true}} {
		for _, files := range [...]bool{false, true} {
			all = append(all, config.Options{Platform: (&systrap.Systrap{}).SeccompInfo(),
				HostNetwork: network[0], HostNetworkRawSockets: network[1], HostFilesystem: files,
				ControllerFD: 9})
		}
	}
	return all
}

// TestFilters compiles the programs as gVisor does where it has none, and compares. The programs
// name the pid of the process they are compiled in, so that is done as the first of a namespace.
func TestFilters(t *testing.T) {
	if os.Getpid() != sentryPID {
		inOwnPIDs(t)
		return
	}
	if *rewriteFilters {
		writeFilters(t)
		return
	}
	if err := useFilters(); err != nil {
		t.Fatal(err)
	}
	for _, o := range configurations() {
		ahead, found := filter.GetPrecompiled(o.ConfigKey())
		if !found {
			t.Errorf("gVisor does not find %s", o.ConfigKey())
			continue
		}
		got, err := ahead.RenderInstructions(o.Vars())
		if err != nil {
			t.Fatal(err)
		}
		rules, deny := config.Rules(o)
		now := seccomp.Program{Options: config.SeccompOptions(o), RuleSets: []seccomp.RuleSet{
			{Rules: deny}, {Rules: rules, Action: seccomp.Allow}}}
		want, _, err := now.Build()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(bpf.ToBytecode(got), bpf.ToBytecode(want)) {
			t.Errorf("%s: filters.json is not what gVisor compiles: run with -rewrite", o.ConfigKey())
		}
	}
}

// inOwnPIDs runs the test again in a process that is the first of a pid namespace.
func inOwnPIDs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a pid namespace of its own is made by root")
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestFilters$",
		fmt.Sprintf("-rewrite=%t", *rewriteFilters))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) {
		t.Errorf("%v\n%s", err, out)
	}
}

// writeFilters takes gVisor's own list of programs that are worth compiling ahead, and of it ours.
func writeFilters(t *testing.T) {
	all, err := config.PrecompiledPrograms()
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{}
	for _, o := range configurations() {
		ours[o.ConfigKey()] = true
	}
	var kept []compiledFilter
	for _, p := range all {
		if !ours[p.Name] {
			continue
		}
		for _, offsets := range p.VarOffsets {
			for _, at := range offsets {
				p.Bytecode32[at] = 0 // set when it is installed
			}
		}
		f := compiledFilter{Name: p.Name, Offsets: p.VarOffsets}
		for _, word := range p.Bytecode32 {
			f.Code = binary.LittleEndian.AppendUint32(f.Code, word)
		}
		kept = append(kept, f)
	}
	slices.SortFunc(kept, func(a, b compiledFilter) int { return strings.Compare(a.Name, b.Name) })
	content, err := json.MarshalIndent(kept, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("filters.json", append(content, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
