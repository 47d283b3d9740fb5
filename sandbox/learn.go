package sandbox

import (
	"maps"
	"slices"
	"strings"
)

// learnedFiles and learnedNets bound the rules of a learnt policy on files and on the network:
// beyond, it names wider folders and blocks. Together with exec they stay below MaxRules.
const (
	learnedFiles = MaxRules / 2
	learnedNets  = MaxRules / 8 // each of addresses, names and unix sockets
)

// Learner writes the policy that a run needed. Show it every record of one or more trails.
//
// It takes every act that a policy judges, the ones that failed and the ones that were refused too:
// a program that looks for a file in five places needs to be told "not there" in four of them. A
// call that no policy can allow (KindModule) is not learnt.
type Learner struct {
	digests map[Digest]string // to the least path that had it
	execs   learntPath        // programs whose digest no record says
	files   learntPath
	moves   map[move]bool
	net     learntNet

	ptrace, setid, mount, execMemory bool

	capabilities uint64

	alive map[uint32]bool // processes seen and not seen to end
	peak  int             // most at once; over MaxProcesses: no limit can be learnt
}

// NewLearner makes an empty learner.
func NewLearner() *Learner {
	return &Learner{digests: make(map[Digest]string), moves: make(map[move]bool),
		alive: make(map[uint32]bool)}
}

// Add learns from one record. It keeps nothing of it.
func (l *Learner) Add(r *Record) {
	l.count(r)
	switch r.Kind {
	case KindExec:
		l.addExec(r)
	case KindPtrace:
		l.ptrace = true
	case KindSetID:
		l.setid = true
	case KindMount:
		l.mount = true
	case KindCapability:
		if CapabilityName(int(r.Flags)) != "" {
			l.capabilities |= 1 << r.Flags
		}
	case KindSocket:
		if r.Proto == RawIP {
			l.capabilities |= 1 << capNetRaw
		}
	case KindOpen, KindUnlink, KindRename, KindLink, KindMake, KindAttr, KindMapExec:
		l.addFile(r)
	case KindConnect, KindBind, KindSend, KindName:
		l.net.add(r)
	}
}

func (l *Learner) addExec(r *Record) {
	if r.Digest.IsZero() {
		l.execs.add(r.Path, Exec)
		return
	}
	if known, again := l.digests[r.Digest]; !again || r.Path < known {
		l.digests[r.Digest] = r.Path
	}
}

func (l *Learner) addFile(r *Record) {
	if r.Kind == KindMapExec && r.Path == "" {
		l.execMemory = true
		return
	}
	asked := needsOf(r)
	l.files.add(r.Path, asked.path)
	l.files.add(r.Path2, asked.path2)
	if asked.path != 0 && asked.path2 != 0 {
		l.moves[move{r.Path, r.Path2}] = true
		if r.Kind == KindRename && r.Flags&renameExchange != 0 {
			l.moves[move{r.Path2, r.Path}] = true
		}
	}
}

// move is a file that got another name.
type move struct{ from, to string }

// fileRules returns the rules of the files seen. The old name of a file that was moved is given
// what the new one has, as Move asks for it: in rounds, as a file may be moved on, until nothing is
// missing. Bits are only ever added, so that there is an end.
func (l *Learner) fileRules() (rules []FileRule) {
	var files learntPath
	files.merge(&l.files)
	for missing := true; missing; {
		rules, missing = nil, false
		files.each(learnedFiles, func(pattern string, access Access) {
			rule := FileRule{Allow: pattern}
			if access != allAccess {
				rule.Access = bitWords(uint16(access), accesses[:])
			}
			rules = append(rules, rule)
		})
		c, err := Compile(Policy{Default: "deny", Files: rules})
		if err != nil {
			return rules // the whole policy does not compile either, and its error says why
		}
		for m := range l.moves { // the bits missing do not depend on the order
			for _, bit := range movedBits {
				if c.fileAt(m.from, bit).refuses() && !c.fileAt(m.to, bit).refuses() {
					files.add(m.from, bit)
					missing = true
				}
			}
		}
	}
	return rules
}

// count follows how many processes run. A clone says how many there were, where the kernel inside
// wrote it; else those that were seen are counted.
func (l *Learner) count(r *Record) {
	if r.Process != 0 && r.Kind >= KindExec && !r.Outside {
		l.alive[r.Process] = true
	}
	switch {
	case r.Kind == KindClone && r.Flags&cloneThread == 0:
		if r.Result > 0 && r.Result < MaxProcesses {
			l.alive[uint32(r.Result)] = true
		}
		l.peak = max(l.peak, int(r.Mode)+1)
	case r.Kind == KindExit:
		delete(l.alive, r.Process)
	case r.Kind == KindBirth || r.Kind == KindRestore:
		clear(l.alive) // another run, with its own numbers
	}
	l.peak = max(l.peak, len(l.alive))
}

// Policy returns an enforcing, default-deny policy under which the runs shown would have met no
// refusal: exec by digest, paths as they are (of a folder with more than MaxLearned names in it,
// one pattern for them all), names and addresses with ports. Its rules are in a stable order: the
// same records give the same policy, in whatever order they came but for the count of processes. A
// run without an exec gives a policy that Compile refuses.
func (l *Learner) Policy(name string) Policy {
	p := Policy{
		Version: "v1", Name: name, Mode: "enforce", Default: "deny", Audit: "core",
		Ptrace: allowIf(l.ptrace), SetID: allowIf(l.setid), Mount: allowIf(l.mount),
		ExecMemory: allowIf(l.execMemory), Files: l.fileRules(), Network: l.net.rules(),
	}
	for _, digest := range slices.SortedFunc(maps.Keys(l.digests), compareDigests) {
		p.Exec = append(p.Exec, ExecRule{Allow: digest.Text(),
			Note: strings.ToValidUTF8(l.digests[digest], "?")})
	}
	l.execs.each(learnedFiles/4, func(pattern string, _ Access) {
		p.Exec = append(p.Exec, ExecRule{Allow: pattern})
	})
	for n, known := range capabilities {
		if l.capabilities&(1<<n) != 0 {
			p.Capabilities = append(p.Capabilities, known)
		}
	}
	if l.peak <= MaxProcesses {
		p.Processes = l.peak
	}
	return p
}

func allowIf(seen bool) string {
	if seen {
		return "allow"
	}
	return "deny"
}

func compareDigests(a, b Digest) int { return slices.Compare(a[:], b[:]) }
