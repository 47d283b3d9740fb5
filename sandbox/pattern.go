package sandbox

import (
	"strings"
	"unicode/utf8"

	"surety/base/errs"
)

// The wildcards of a pattern. A literal byte stands for itself.
const (
	tokenLiteral = 0
	tokenOne     = 1 // ?: one character that is no slash
	tokenRun     = 2 // *: any run without a slash
	tokenAll     = 3 // **: any run at all
	tokenFolders = 4 // before the ** of "/**/", which with the slash after it may be missing
)

type token struct {
	sort byte
	char byte // of a literal
}

// pattern is a path pattern made ready to match in time proportional to the path. All positions
// of the pattern are followed at once, a bit each, so that no input makes it try again.
//
// A character is a byte that is no UTF-8 continuation byte, with the continuation bytes after it.
type pattern struct {
	text    string
	tokens  []token
	subtree bool // ends in "/**", which is the folder itself as well
	wild    bool

	// What decides most paths without the bits.
	head, tail string // literal beginning and end
	single     byte   // sort of the only wildcard, where it is * or **; else tokenLiteral

	words   int        // 64-bit words of a set of positions
	classes [256]uint8 // of a byte: index into moves; 0 for bytes the pattern does not name
	moves   []uint64   // class*words: positions that step on a literal of the class
	one     []uint64   // positions of ?
	run     []uint64   // positions of *
	all     []uint64   // positions of **
	folders []uint64   // positions of folders
	after   []uint64   // positions behind a ?, which keep on continuation bytes
	accept  []uint64
}

// maxWords bounds the words of a set of positions: a pattern has at most MaxText bytes, each "**/"
// of three bytes is three tokens, and there is the end.
const maxWords = MaxText/64 + 1

// checkPattern returns what is wrong with an absolute path pattern.
func checkPattern(text string) error {
	switch {
	case text == "":
		return errs.New(errs.Invalid, "the pattern is empty")
	case text[0] != '/':
		return errs.New(errs.Invalid, "%q is not absolute", text)
	case text == "/":
		return nil
	case text[len(text)-1] == '/':
		return errs.New(errs.Invalid, "%q ends in a slash; %q is all below it", text, text+"**")
	}
	before := ""
	for part := range strings.SplitSeq(text[1:], "/") {
		switch {
		case part == "" || part == "." || part == "..":
			return errs.New(errs.Invalid, "%q is not clean: component %q", text, part)
		case part == "**" && before == "**":
			return errs.New(errs.Invalid, "%q has ** twice in a row", text)
		}
		before = part
	}
	return checkWildcards(text)
}

// checkWildcards returns what is wrong with a pattern that need not be a path.
func checkWildcards(text string) error {
	switch {
	case len(text) > MaxText:
		return errs.New(errs.Invalid, "the pattern has %d bytes, limit %d", len(text), MaxText)
	case !utf8.ValidString(text):
		return errs.New(errs.Invalid, "%q is not UTF-8", text)
	case strings.IndexByte(text, 0) >= 0:
		return errs.New(errs.Invalid, "%q has a zero byte", text)
	case strings.Contains(text, "***"):
		return errs.New(errs.Invalid, "%q has three * in a row", text)
	}
	return nil
}

// isWild reports whether text has a wildcard.
func isWild(text string) bool { return strings.ContainsAny(text, "*?") }

// newPattern compiles a pattern that passed its check. text may be a part of one, from behind a
// slash on (rooted); abstract names are no paths, and folders mean nothing in them.
func newPattern(text string, rooted bool) *pattern {
	p := &pattern{text: text, tokens: tokenize(text, rooted), wild: isWild(text)}
	p.subtree = rooted && (text == "**" || strings.HasSuffix(text, "/**"))
	p.shortcuts()
	n := len(p.tokens)
	p.words = n/64 + 1
	p.one, p.run = make([]uint64, p.words), make([]uint64, p.words)
	p.all, p.folders = make([]uint64, p.words), make([]uint64, p.words)
	p.after, p.accept = make([]uint64, p.words), make([]uint64, p.words)
	p.moves = make([]uint64, p.words)
	for i, t := range p.tokens {
		p.place(i, t)
	}
	set(p.accept, n)
	if p.subtree && n >= 2 {
		set(p.accept, n-2)
	}
	return p
}

func set(words []uint64, i int) { words[i/64] |= 1 << (i % 64) }

func tokenize(text string, rooted bool) (tokens []token) {
	for i := 0; i < len(text); i++ {
		folder := rooted && (i == 0 || text[i-1] == '/')
		switch {
		case text[i] == '?':
			tokens = append(tokens, token{sort: tokenOne})
		case text[i] != '*':
			tokens = append(tokens, token{char: text[i]})
		case !strings.HasPrefix(text[i:], "**"):
			tokens = append(tokens, token{sort: tokenRun})
		case folder && strings.HasPrefix(text[i:], "**/"):
			tokens = append(tokens, token{sort: tokenFolders}, token{sort: tokenAll})
			i++
		default:
			tokens = append(tokens, token{sort: tokenAll})
			i++
		}
	}
	return tokens
}

func (p *pattern) place(i int, t token) {
	switch t.sort {
	case tokenLiteral:
		if p.classes[t.char] == 0 {
			// At most 255 distinct bytes are in a pattern, which has no zero byte.
			p.classes[t.char] = uint8(len(p.moves) / p.words)
			p.moves = append(p.moves, make([]uint64, p.words)...)
		}
		set(p.moves[int(p.classes[t.char])*p.words:], i)
	case tokenOne:
		set(p.one, i)
		set(p.after, i+1)
	case tokenRun:
		set(p.run, i)
	case tokenAll:
		set(p.all, i)
	case tokenFolders:
		set(p.folders, i)
	}
}

// shortcuts notes the literal ends, and the only wildcard if it is a plain one.
func (p *pattern) shortcuts() {
	first := strings.IndexAny(p.text, "*?")
	last := strings.LastIndexAny(p.text, "*?")
	if first < 0 {
		p.head = p.text
		return
	}
	p.head, p.tail = p.text[:first], p.text[last+1:]
	middle := p.text[first : last+1]
	folders := false
	for _, t := range p.tokens {
		folders = folders || t.sort == tokenFolders
	}
	if folders || p.subtree {
		// The slash before or after ** may be missing: it is in neither end.
		p.head, p.tail = strings.TrimSuffix(p.head, "/"), strings.TrimPrefix(p.tail, "/")
		return
	}
	switch middle {
	case "*":
		p.single = tokenRun
	case "**":
		p.single = tokenAll
	}
}

// match reports whether the pattern matches all of path.
func (p *pattern) match(path string) bool {
	if !p.wild {
		return path == p.text
	}
	if len(path) < len(p.head)+len(p.tail) || !strings.HasPrefix(path, p.head) ||
		!strings.HasSuffix(path, p.tail) {
		return false
	}
	switch p.single {
	case tokenAll:
		return true
	case tokenRun:
		return strings.IndexByte(path[len(p.head):len(path)-len(p.tail)], '/') < 0
	}
	if p.words == 1 {
		return p.matchShort(path)
	}
	return p.matchLong(path)
}

// matchShort follows a pattern of at most 63 tokens: its positions are the bits of one word.
func (p *pattern) matchShort(path string) bool {
	one, run, all := p.one[0], p.run[0], p.all[0]
	folders, after := p.folders[0], p.after[0]
	at := uint64(1)
	at |= at&folders<<1 | at&folders<<3
	at |= at & (run | all) << 1
	for i := 0; i < len(path); i++ {
		char := path[i]
		step, stay := p.moves[p.classes[char]], all
		switch {
		case char == '/':
		case char&0xc0 == 0x80:
			stay |= run | after
		default:
			step |= one
			stay |= run
		}
		at = at&step<<1 | at&stay
		at |= at&folders<<1 | at&folders<<3
		at |= at & (run | all) << 1
		if at == 0 {
			return false
		}
	}
	return at&p.accept[0] != 0
}

// matchLong is matchShort over sets of several words.
func (p *pattern) matchLong(path string) bool {
	var sets [2][maxWords]uint64
	at, next := sets[0][:p.words], sets[1][:p.words]
	at[0] = 1
	p.close(at)
	for i := 0; i < len(path); i++ {
		if !p.step(path[i], at, next) {
			return false
		}
		p.close(next)
		at, next = next, at
	}
	for w := range at {
		if at[w]&p.accept[w] != 0 {
			return true
		}
	}
	return false
}

// step fills next with the positions reached from at over char and reports whether there are any.
func (p *pattern) step(char byte, at, next []uint64) bool {
	moves := p.moves[int(p.classes[char])*p.words:][:p.words]
	alive, carry := uint64(0), uint64(0)
	for w := range at {
		step, stay := moves[w], p.all[w]
		switch {
		case char == '/':
		case char&0xc0 == 0x80:
			stay |= p.run[w] | p.after[w]
		default:
			step |= p.one[w]
			stay |= p.run[w]
		}
		stepped := at[w] & step
		next[w] = stepped<<1 | carry | at[w]&stay
		carry = stepped >> 63
		alive |= next[w]
	}
	return alive != 0
}

// close adds the positions reached without a character: past a run that is empty, and into or past
// folders. No two runs stand side by side, so that one pass of each is enough.
func (p *pattern) close(at []uint64) {
	carry := uint64(0)
	for w := range at {
		skipped := at[w] & p.folders[w]
		at[w] |= skipped<<1 | skipped<<3 | carry
		carry = skipped>>63 | skipped>>61
	}
	carry = 0
	for w := range at {
		passed := at[w] & (p.run[w] | p.all[w])
		at[w] |= passed<<1 | carry
		carry = passed >> 63
	}
}

// covers reports whether every path that other matches is matched by p too. It may say no where it
// is so, and never yes where it is not: p is run over other's tokens, and a wildcard of p takes
// what it could take of any path. It takes its work from effort, and says no when that is used up.
func (p *pattern) covers(other *pattern, effort *int) bool {
	if *effort--; *effort < 0 || !strings.HasPrefix(other.text, p.head) ||
		!strings.HasSuffix(other.text, p.tail) {
		return false
	}
	if *effort -= len(other.tokens) * p.words; *effort < 0 {
		return false
	}
	variants := [][]token{other.tokens}
	for i, t := range other.tokens {
		if t.sort != tokenFolders {
			continue
		}
		if len(variants) > 1 {
			return p.text == other.text // two of them: four variants and more, left out
		}
		without := append(append([]token{}, other.tokens[:i]...), other.tokens[i+3:]...)
		variants = append(variants, without)
	}
	for _, tokens := range variants {
		if !p.coversTokens(tokens) {
			return false
		}
		if n := len(tokens); other.subtree && n >= 2 && !p.coversTokens(tokens[:n-2]) {
			return false
		}
	}
	return true
}

func (p *pattern) coversTokens(tokens []token) bool {
	at, next := make([]uint64, p.words), make([]uint64, p.words)
	at[0] = 1
	p.close(at)
	for _, t := range tokens {
		if t.sort == tokenFolders {
			continue // it takes no character; that what follows may be missing is a variant
		}
		carry := uint64(0)
		moves := p.moves[int(p.classes[t.char])*p.words:][:p.words]
		for w := range at {
			step, stay := uint64(0), p.all[w]
			switch {
			case t.sort == tokenLiteral:
				step = moves[w]
				if t.char&0xc0 == 0x80 {
					stay |= p.run[w] | p.after[w]
				} else if t.char != '/' {
					step |= p.one[w]
					stay |= p.run[w]
				}
			case t.sort == tokenOne:
				step = p.one[w]
				stay |= p.run[w]
			case t.sort == tokenRun:
				stay |= p.run[w]
			}
			stepped := at[w] & step
			next[w] = stepped<<1 | carry | at[w]&stay
			carry = stepped >> 63
		}
		p.close(next)
		at, next = next, at
	}
	for w := range at {
		if at[w]&p.accept[w] != 0 {
			return true
		}
	}
	return false
}
