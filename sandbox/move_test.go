package sandbox

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestMove(t *testing.T) {
	c := mustCompile(t, Policy{Mode: "enforce", Default: "deny", Exec: []ExecRule{{Allow: "/init"}},
		Files: []FileRule{
			{Allow: "/a/**"}, {Allow: "/b/**"}, {Deny: "/a/keys/*.pem"}, {Deny: "/**/secret"},
			{Allow: "/in/**", Access: []string{"write", "create", "rename", "unlink", "link"}},
		}})
	const access = Rename | Unlink
	for _, row := range []struct {
		name, from, to string
		want           Decision
	}{
		{"plain", "/a/x", "/b/x", allowed(2)},
		{"the old name is not allowed", "/c", "/b/x", refused(NoRule, EACCES)},
		{"the new name is not allowed", "/a/x", "/c", refused(NoRule, EACCES)},
		{"a denied file", "/a/keys/x.pem", "/b/x", refused(3, EACCES)},
		{"a file that cannot be read, to where it can", "/in/x", "/a/x", refused(NoRule, EACCES)},
		{"to where it cannot be read", "/a/x", "/in/x", allowed(5)},
		{"a folder with denied files", "/a/keys", "/a/locks", refused(3, EACCES)},
		{"a folder above it", "/a", "/b/x", refused(3, EACCES)},
		{"a folder beside it", "/a/key", "/b/x", allowed(2)},
		{"denied wherever it is", "/a/x/y", "/b", allowed(2)},
		{"a pipe", "pipe:[1]", "pipe:[2]", Decision{Unjudged, NoRule, 0}},
	} {
		expect(t, row.name, c.Move(row.from, row.to, access), row.want)
	}
}

// No move takes a file out from under a rule that denies it, be it moved with a folder above it.
func TestMoveFreesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := genPattern(t, "pattern")
		inside := genPathOf(t, text)
		to := genPath(t, "to")
		from, rest := inside, ""
		for range rapid.IntRange(0, 3).Draw(t, "up") {
			if at := strings.LastIndexByte(from, '/'); at > 0 {
				from, rest = inside[:at], inside[at:]
			}
		}
		if to == "/" || from == "/" {
			return
		}
		c := mustCompile(t, Policy{Mode: "enforce", Files: []FileRule{{Deny: text}}})
		before, after := c.File(from+rest, Read), c.File(to+rest, Read)
		if before.Verdict == Refused && after.Verdict != Refused &&
			c.Move(from, to, Rename).Verdict != Refused {
			t.Fatalf("deny %s: %q to %q frees %q", text, from, to, rest)
		}
	})
}
