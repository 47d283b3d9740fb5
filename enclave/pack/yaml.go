package pack

import (
	"math"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"surety/sys/plainyaml"
)

// reader takes a project from the nodes of its file.
type reader struct{ *plainyaml.File }

// size reads bytes: a number, or one with k, m or g behind it.
func (r reader) size(field string, node ast.Node) uint64 {
	value, isText := node.(*ast.StringNode)
	if !isText {
		return r.Number(field, node, math.MaxInt64)
	}
	shift := strings.IndexByte("kmgt", lower(value.Value)) // the last letter
	if shift >= 0 {
		n, err := strconv.ParseUint(value.Value[:len(value.Value)-1], 10, 64)
		if shift = 10 * (shift + 1); err == nil && n <= math.MaxInt64>>shift {
			return n << shift
		}
	}
	r.Fail(node, "%s: %.40q is no size: want bytes, or a whole number with k, m, g or t", field,
		value.Value)
	return 0
}

// lower is a text's last letter in lower case; 0 where there is none.
func lower(text string) byte {
	if text == "" {
		return 0
	}
	return strings.ToLower(text[len(text)-1:])[0]
}
