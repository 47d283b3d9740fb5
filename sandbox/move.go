package sandbox

// movedBits are what a file's new name may not give where its old one refuses it: else whoever may
// not read a file would read it under another name.
var movedBits = [...]Access{Read, Write, Unlink, Attr, Exec}

func (d Decision) refuses() bool { return d.Verdict == Refused || d.Verdict == WouldRefuse }

// Move decides on giving the file or folder at from the name to, as a rename or a hard link does.
// Both names need all of access. Beyond that, to may not allow what from refuses, and where from is
// a folder, no file below it that a rule denies may come out from under that rule. What the default
// refuses below a folder is not looked at: whoever may rename a folder may rename what is in it.
// Refused with EACCES.
func (c *Compiled) Move(from, to string, access Access) Decision {
	d := c.fileAt(from, access)
	if d.refuses() {
		return d
	}
	if d = c.fileAt(to, access); d.refuses() || c.files.rules == 0 {
		return d
	}
	for _, bit := range movedBits {
		if before := c.fileAt(from, bit); before.refuses() && !c.fileAt(to, bit).refuses() {
			return before
		}
	}
	for i := range c.deniedFiles {
		if g := &c.deniedFiles[i]; g.pattern.frees(from, to) {
			return c.refuse(g.effect.rule, EACCES)
		}
	}
	return d
}

// fileAt is File, but that what has no place in the file tree (a pipe, a socket) is not judged: no
// rule can name it, and the program holds it already.
func (c *Compiled) fileAt(path string, access Access) Decision {
	if path == "" || path[0] != '/' {
		return Decision{Verdict: Unjudged, Rule: NoRule}
	}
	return c.File(path, access)
}

// frees reports whether some path below from matches the pattern, and would not below to. It may
// say yes where it is not so, as it compares how far the pattern has been followed, not what is
// left of it.
func (p *pattern) frees(from, to string) bool {
	if from == "" || to == "" || from[0] != '/' || to[0] != '/' {
		return false
	}
	before, after := p.below(from[1:]), p.below(to[1:])
	for w := range before {
		if before[w]&^after[w] != 0 {
			return true
		}
	}
	return false
}

// below returns the positions of the pattern behind a folder's slash, but for its end.
func (p *pattern) below(folder string) []uint64 {
	at, next := make([]uint64, p.words), make([]uint64, p.words)
	at[0] = 1
	p.close(at)
	if folder != "" {
		folder += "/"
	}
	for i := range len(folder) {
		p.step(folder[i], at, next)
		p.close(next)
		at, next = next, at
	}
	end := len(p.tokens)
	at[end/64] &^= 1 << (end % 64)
	return at
}
