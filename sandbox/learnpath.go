package sandbox

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// learntPath is a folder or file of a run, with what was done to it and to what is below. The zero
// value is a root that nothing was done to. Names below are pattern components.
type learntPath struct {
	access Access
	under  bool // access is of everything below as well, and nothing is below
	below  map[string]*learntPath
}

// add notes an act on an absolute path; another path, or no access, is nothing to learn.
func (n *learntPath) add(path string, access Access) {
	if access == 0 || path == "" || path[0] != '/' {
		return
	}
	rest, depth, inTask := path[1:], 0, false
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		depth++
		// Another run has other processes and threads: /proc/7/task/8 is any of them.
		if strings.HasPrefix(path, "/proc/") && isNumber(name) && (depth == 2 || depth == 4 && inTask) {
			name = "*"
		} else {
			inTask = depth == 3 && name == "task"
			name = literalPattern(name)
		}
		n = n.child(name)
	}
	n.access |= access
}

func isNumber(text string) bool {
	for i := range len(text) {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return text != ""
}

func (n *learntPath) child(name string) *learntPath {
	if n.below == nil {
		n.below = make(map[string]*learntPath)
	}
	next := n.below[name]
	if next == nil {
		next = &learntPath{}
		n.below[name] = next
	}
	return next
}

// literalPattern is a pattern that matches the name and, where the name has characters that a
// pattern cannot say, as little else as can be.
func literalPattern(name string) string {
	if utf8.ValidString(name) && !strings.ContainsAny(name, "*?\x00") {
		return name
	}
	var out strings.Builder
	run := false // a * was written last
	for i, char := range name {
		_, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case char == utf8.RuneError && size == 1:
			if !run {
				out.WriteByte('*')
			}
			run = true
			continue
		case char == '*' || char == '?' || char == 0:
			out.WriteByte('?')
		default:
			out.WriteRune(char)
		}
		run = false
	}
	return out.String()
}

// each calls visit for the rules that allow what was seen, at most limit of them, in the order of
// their patterns' components.
func (n *learntPath) each(limit int, visit func(pattern string, access Access)) {
	folded := &learntPath{}
	folded.merge(n)
	folded.fold()
	for depth := folded.depth(); folded.count() > limit && depth >= 0; depth-- {
		folded.cut(depth)
	}
	folded.visit("", visit)
}

// merge adds what other saw to n. The order of other's names cannot show: it is a union.
func (n *learntPath) merge(other *learntPath) {
	n.access |= other.access
	for name, child := range other.below { // in any order
		n.child(name).merge(child)
	}
}

// fold puts one pattern in the place of more than MaxLearned names, from the root down.
func (n *learntPath) fold() {
	if len(n.below) > MaxLearned {
		all := &learntPath{}
		for _, child := range n.below { // a union: the order cannot show
			all.merge(child)
		}
		n.below = map[string]*learntPath{"*": all}
	}
	for _, child := range n.below { // each by itself: the order cannot show
		child.fold()
	}
}

// cut makes what is depth folders down stand for all that is below it.
func (n *learntPath) cut(depth int) {
	if depth == 0 {
		if len(n.below) > 0 {
			n.access, n.under, n.below = n.union(), true, nil
		}
		return
	}
	for _, child := range n.below { // each by itself: the order cannot show
		child.cut(depth - 1)
	}
}

func (n *learntPath) union() Access {
	all := n.access
	for _, child := range n.below { // a union: the order cannot show
		all |= child.union()
	}
	return all
}

func (n *learntPath) depth() int {
	deepest := 0
	for _, child := range n.below { // a maximum: the order cannot show
		deepest = max(deepest, 1+child.depth())
	}
	return deepest
}

// count is how many rules visit gives.
func (n *learntPath) count() int {
	rules := 0
	if n.access != 0 {
		rules = 1
	}
	for _, child := range n.below { // a sum: the order cannot show
		rules += child.count()
	}
	return rules
}

func (n *learntPath) visit(path string, visit func(pattern string, access Access)) {
	switch {
	case n.under:
		visit(path+"/**", n.access)
	case n.access != 0 && path == "":
		visit("/", n.access)
	case n.access != 0:
		visit(path, n.access)
	}
	for _, name := range slices.Sorted(maps.Keys(n.below)) {
		n.below[name].visit(path+"/"+name, visit)
	}
}
