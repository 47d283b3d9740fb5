package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// matchSlowly says what a pattern means, one token at a time and with all the going back there is.
func matchSlowly(pattern, path string, rooted bool) bool {
	if rooted && path == "/" {
		return pattern == "/" || pattern == "/**"
	}
	return matchFrom(pattern, 0, path, rooted)
}

func matchFrom(pattern string, at int, path string, rooted bool) bool {
	rest := pattern[at:]
	folder := rooted && at > 0 && pattern[at-1] == '/'
	switch {
	case rest == "":
		return path == ""
	case rooted && rest == "/**" && path == "":
		return true
	case strings.HasPrefix(rest, "**"):
		if folder && strings.HasPrefix(rest, "**/") && matchFrom(pattern, at+3, path, rooted) {
			return true
		}
		for i := 0; i <= len(path); i++ {
			if matchFrom(pattern, at+2, path[i:], rooted) {
				return true
			}
		}
		return false
	case rest[0] == '*':
		for i := 0; i <= len(path); i++ {
			if matchFrom(pattern, at+1, path[i:], rooted) {
				return true
			}
			if i < len(path) && path[i] == '/' {
				return false
			}
		}
		return false
	case path == "":
		return false
	case rest[0] == '?':
		if path[0] == '/' || path[0]&0xc0 == 0x80 {
			return false
		}
		size := 1
		for size < len(path) && path[size]&0xc0 == 0x80 {
			size++
		}
		return matchFrom(pattern, at+1, path[size:], rooted)
	}
	return path[0] == rest[0] && matchFrom(pattern, at+1, path[1:], rooted)
}

// tableMatch asks the table that policies use.
func tableMatch(pattern, path string) bool {
	var table pathTable
	table.add(pattern, effect{access: Read})
	t := newTally(Read)
	table.find(path, &t)
	return t.allow != NoRule
}

func TestPattern(t *testing.T) {
	for _, row := range []struct {
		pattern string
		yes, no []string
	}{
		{"/", []string{"/"}, []string{"/a", ""}},
		{"/**", []string{"/", "/a", "/a/b"}, []string{"", "a"}},
		{"/*", []string{"/a", "/.a"}, []string{"/", "/a/b"}},
		{"/a", []string{"/a"}, []string{"/", "/b", "/ab", "/a/b"}},
		{"/a/**", []string{"/a", "/a/b", "/a/b/c"}, []string{"/", "/ab", "/b/a"}},
		{"/a**", []string{"/a", "/ab", "/a/b", "/ab/c"}, []string{"/", "/b"}},
		{"/a/*", []string{"/a/b"}, []string{"/a", "/a/b/c"}},
		{"/a/*.so", []string{"/a/.so", "/a/b.so"}, []string{"/a/b.so.1", "/a/b/c.so"}},
		{"/a/**/c", []string{"/a/c", "/a/b/c", "/a/b/b/c"}, []string{"/a/bc", "/a", "/a/c/d"}},
		{"/**/c", []string{"/c", "/b/c"}, []string{"/bc", "/c/d"}},
		{"/a/**c", []string{"/a/c", "/a/b/c", "/a/bc"}, []string{"/ac"}},
		{"/*/b/**", []string{"/a/b", "/a/b/c"}, []string{"/b", "/a", "/a/bc"}},
		{"/**/b/**", []string{"/b", "/a/b", "/b/c", "/a/b/c"}, []string{"/a", "/bc"}},
		{"/?", []string{"/a", "/é", "/漢"}, []string{"/", "/ab", "/éé"}},
		{"/??", []string{"/ab", "/éé"}, []string{"/é", "/a"}},
		{"/a?c", []string{"/abc", "/aéc"}, []string{"/a/c", "/ac"}},
		{"/*?*", []string{"/a", "/é"}, []string{"/"}},
		{"/a*b*c", []string{"/abc", "/axbxc", "/abbcc"}, []string{"/ab/c", "/acb"}},
		{"/proc/*/fd/?", []string{"/proc/1/fd/0"}, []string{"/proc/1/fd/10", "/proc/1/x/fd/0"}},
	} {
		if err := checkPattern(row.pattern); err != nil {
			t.Errorf("%s: %v", row.pattern, err)
			continue
		}
		for _, path := range append(row.yes, row.no...) {
			want := path != "" && strings.Contains(" "+strings.Join(row.yes, " ")+" ", " "+path+" ")
			if got := tableMatch(row.pattern, path); got != want {
				t.Errorf("%s on %s: %v", row.pattern, path, got)
			}
			if path != "" && path[0] == '/' && matchSlowly(row.pattern, path, true) != want {
				t.Errorf("%s on %s: the reference says otherwise", row.pattern, path)
			}
		}
	}
}

func TestPatternRefused(t *testing.T) {
	for _, row := range []struct{ pattern, want string }{
		{"", "is empty"},
		{"a", "is not absolute"},
		{"*", "is not absolute"},
		{"/a/", "ends in a slash"},
		{"//", "ends in a slash"},
		{"/a//b", "is not clean"},
		{"/a/./b", "is not clean"},
		{"/a/..", "is not clean"},
		{"/../a", "is not clean"},
		{"/a/**/**", "** twice in a row"},
		{"/a***", "three * in a row"},
		{"/a\x00", "a zero byte"},
		{"/a\xff", "is not UTF-8"},
		{"/" + strings.Repeat("a", MaxText), "has 4097 bytes, limit 4096"},
	} {
		if err := checkPattern(row.pattern); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q: %v, want %q", row.pattern, err, row.want)
		}
	}
}

// genPattern draws a pattern that passes its check, from few letters so that much matches.
func genPattern(t *rapid.T, name string) string {
	part := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "é", "*", "?", "**", "ab"}), 1, 3)
	return rapid.Map(rapid.SliceOfN(part, 0, 4), func(parts [][]string) string {
		var out strings.Builder
		for _, p := range parts {
			out.WriteString("/" + strings.Join(p, ""))
		}
		return out.String()
	}).Filter(func(text string) bool { return checkPattern(text) == nil }).Draw(t, name)
}

// genPathOf draws a path, most often one that is made after the pattern.
func genPathOf(t *rapid.T, pattern string) string {
	if rapid.IntRange(0, 3).Draw(t, "free") == 0 {
		return genPath(t, "path")
	}
	runs := rapid.SampledFrom([]string{"", "a", "b", "ab", "é", "\xa9"})
	deep := rapid.SampledFrom([]string{"", "a", "a/b", "/", "/a", "b/", "a/b/a"})
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch {
		case strings.HasPrefix(pattern[i:], "**"):
			out.WriteString(deep.Draw(t, "all"))
			i++
		case pattern[i] == '*':
			out.WriteString(runs.Draw(t, "run"))
		case pattern[i] == '?':
			out.WriteString(runs.Draw(t, "one"))
		default:
			out.WriteByte(pattern[i])
		}
	}
	path := out.String()
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return "/" + strings.Trim(path, "/")
}

func genPath(t *rapid.T, name string) string {
	part := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "é", "ab", "\xa9", "\xff"}), 1, 4)
	parts := rapid.SliceOfN(part, 0, 4).Draw(t, name)
	if len(parts) == 0 {
		return "/"
	}
	var out strings.Builder
	for _, p := range parts {
		out.WriteString("/" + strings.Join(p, ""))
	}
	return out.String()
}

func TestPatternAsTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := genPattern(t, "pattern")
		path := genPathOf(t, pattern)
		want := matchSlowly(pattern, path, true)
		if got := tableMatch(pattern, path); got != want {
			t.Fatalf("%s on %q: %v, want %v", pattern, path, got, want)
		}
		// Abstract names are matched whole, and folders mean nothing in them.
		free := newPattern(pattern, false)
		if got := free.match(path); got != matchSlowly(pattern, path, false) {
			t.Fatalf("%s on %q as a name: %v", pattern, path, got)
		}
	})
}

// Patterns of more than one word of positions are matched by other code than short ones.
func TestLongPatternAsShort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := genPattern(t, "pattern")
		path := genPathOf(t, pattern)
		filler := strings.Repeat("x", rapid.IntRange(30, 200).Draw(t, "filler"))
		want := newPattern(pattern, false).match(path)
		if newPattern(filler+pattern, false).match(filler+path) != want {
			t.Fatalf("%s on %q: %v, and otherwise behind %d bytes", pattern, path, want, len(filler))
		}
		long := newPattern(pattern+"/"+filler, true).match(path + "/" + filler)
		if long != newPattern(pattern+"/x", true).match(path+"/x") {
			t.Fatalf("%s on %q: %v before %d bytes", pattern, path, long, len(filler))
		}
	})
}

// A pattern that covers another matches all that it matches; each covers itself.
func TestCoversIsSound(t *testing.T) {
	covered := 0
	rapid.Check(t, func(t *rapid.T) {
		wide, narrow := genPattern(t, "wide"), genPattern(t, "narrow")
		path := genPathOf(t, narrow)
		var table pathTable
		table.add(wide, effect{rule: 1, access: Read, deny: true})
		effort := maxEffort
		hides := func(text string) bool {
			return table.hiddenBy(text, effect{rule: 2, access: Read}, &effort) == 1
		}
		if !hides(wide) {
			t.Fatalf("%s does not cover itself", wide)
		}
		if !hides(narrow) {
			return
		}
		covered++
		if matchSlowly(narrow, path, true) && !matchSlowly(wide, path, true) {
			t.Fatalf("%s is said to cover %s, and %q is not in it", wide, narrow, path)
		}
	})
	if covered == 0 {
		t.Error("no pattern covered another: the test shows nothing")
	}
}

func TestCovers(t *testing.T) {
	for _, row := range []struct {
		wide, narrow string
		want         bool
	}{
		{"/a/**", "/a", true},
		{"/a/**", "/a/b", true},
		{"/a/**", "/a/*/c", true},
		{"/a/**", "/a/**/c", true},
		{"/a/**", "/a*", false},
		{"/a/*", "/a/b", true},
		{"/a/*", "/a/b?", true},
		{"/a/*", "/a/**", false},
		{"/a/*", "/a/b/c", false},
		{"/a/?", "/a/*", false},
		{"/**", "/", true},
		{"/*", "/", false},
		{"/**/c", "/a/b/c", true},
		{"/**/c", "/c", true},
		{"/**/c", "/a/**/c", true},
		{"/a*/**", "/ab/c", true},
		{"/*.so", "/lib*.so", true},
		{"/*.so", "/lib*.so.1", false},
	} {
		var table pathTable
		table.add(row.wide, effect{rule: 1, access: Read, deny: true})
		effort := maxEffort
		got := table.hiddenBy(row.narrow, effect{rule: 2, access: Read}, &effort) == 1
		if got != row.want {
			t.Errorf("%s covers %s: %v", row.wide, row.narrow, got)
		}
	}
}

// No pattern makes a path take more than a fixed number of steps for each byte: the worst case is
// a few milliseconds, where going back would take for ever.
func BenchmarkWorstPattern(b *testing.B) {
	path := "/" + strings.Repeat("a", 255) + strings.Repeat("/"+strings.Repeat("a", 254), 15)
	for _, pattern := range []string{
		"/**a**a**a**a**a**a**a**b*", "/" + strings.Repeat("?*", 100) + "**b?",
		"/**/" + strings.Repeat("*a", 1000) + "?b*",
	} {
		b.Run(fmt.Sprintf("%d_tokens", len(pattern)), func(b *testing.B) {
			p := newPattern(pattern[1:], true)
			for b.Loop() {
				if p.match(path[1:]) {
					b.Fatal("matched")
				}
			}
		})
	}
}
