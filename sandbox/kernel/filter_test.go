//go:build amd64

package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"gvisor.dev/gvisor/runsc/boot/filter"
	"gvisor.dev/gvisor/runsc/boot/filter/config"
)

var rewriteFilters = flag.Bool("rewrite", false, "rewrite filters.json")

// TestFilters compiles the programs as gVisor does and compares.
func TestFilters(t *testing.T) {
	all, err := config.PrecompiledPrograms()
	if err != nil {
		t.Fatal(err)
	}
	var wanted []compiledFilter
	for _, p := range all {
		if !strings.Contains(p.Name, `Platform="systrap"`) || strings.Contains(p.Name, "NVProxy=true") ||
			strings.Contains(p.Name, "TPUProxy=true") || strings.Contains(p.Name, "RDMAProxy=true") {
			continue
		}
		f := compiledFilter{Name: p.Name, Offsets: p.VarOffsets}
		for _, word := range p.Bytecode32 {
			f.Code = binary.LittleEndian.AppendUint32(f.Code, word)
		}
		wanted = append(wanted, f)
	}
	slices.SortFunc(wanted, func(a, b compiledFilter) int { return strings.Compare(a.Name, b.Name) })
	content, err := json.MarshalIndent(wanted, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if *rewriteFilters {
		if err := os.WriteFile("filters.json", content, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(wanted) != 6 || !bytes.Equal(content, filters) {
		t.Errorf("filters.json is not what gVisor compiles for %d configurations; run with -rewrite",
			len(wanted))
	}
	if err := useFilters(); err != nil {
		t.Fatal(err)
	}
	for _, f := range wanted {
		if _, found := filter.GetPrecompiled(f.Name); !found {
			t.Errorf("gVisor does not find %s", f.Name)
		}
	}
}
