package cli

import (
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"

	"surety/base/clock"
	"surety/sandbox"
)

// recordView is a record as show and follow give it under -o json.
type recordView struct {
	Seq     uint64   `json:"seq"`
	Host    bool     `json:"host,omitempty"`
	At      string   `json:"at"`
	Kind    string   `json:"kind"`
	Verdict string   `json:"verdict"`
	Rule    *int     `json:"rule,omitempty"` // -1: the policy's default
	Errno   uint16   `json:"errno,omitempty"`
	Done    bool     `json:"done,omitempty"`
	Session bool     `json:"session,omitempty"`
	Cut     bool     `json:"cut,omitempty"`
	Sysno   *uint16  `json:"sysno,omitempty"`
	PID     uint32   `json:"pid,omitempty"`
	TID     uint32   `json:"tid,omitempty"`
	PPID    uint32   `json:"ppid,omitempty"`
	UID     uint32   `json:"uid"`
	Trace   string   `json:"trace,omitempty"`
	Access  string   `json:"access,omitempty"`
	Flags   uint32   `json:"flags,omitempty"`
	Mode    uint32   `json:"mode,omitempty"`
	Result  int64    `json:"result,omitempty"`
	Words   []string `json:"words,omitempty"` // hexadecimal
	Addr    string   `json:"addr,omitempty"`
	Proto   string   `json:"proto,omitempty"`
	Digest  string   `json:"digest,omitempty"`
	Comm    string   `json:"comm,omitempty"`
	Path    string   `json:"path,omitempty"`
	Path2   string   `json:"path2,omitempty"`
	Args    []string `json:"args,omitempty"`
	Text    string   `json:"text,omitempty"`
}

// noSyscall is a record's system call where it is none's.
const noSyscall = 0xffff

func recordViewOf(r *sandbox.Record) recordView {
	v := recordView{Seq: r.Seq, Host: r.Outside, At: instantTime(r.At).Format(time.RFC3339Nano),
		Kind: r.Kind.String(), Verdict: r.Verdict.String(), Errno: r.Errno, Done: r.Done,
		Session: r.Session, Cut: r.Cut, PID: r.Process, TID: r.Thread, PPID: r.Parent, UID: r.User,
		Flags: r.Flags, Mode: r.Mode, Result: r.Result, Comm: r.Comm, Path: r.Path, Path2: r.Path2,
		Args: r.Args, Text: r.Text}
	if r.Verdict != sandbox.Unjudged {
		rule := int(r.Rule)
		if r.Rule == sandbox.NoRule {
			rule = -1
		}
		v.Rule = &rule
	}
	if r.Sysno != noSyscall {
		v.Sysno = &r.Sysno
	}
	if !r.Trace.IsZero() {
		v.Trace = r.Trace.String()
	}
	if r.Access != 0 {
		v.Access = r.Access.String()
	}
	if r.Kind == sandbox.KindSyscall {
		for _, word := range r.Words {
			v.Words = append(v.Words, strconv.FormatUint(word, 16))
		}
	}
	if r.Addr.IsValid() || r.Addr.Port() != 0 {
		v.Addr = r.Addr.String()
	}
	if r.Proto != sandbox.AnyProto {
		v.Proto = r.Proto.String()
	}
	if r.Digest != (sandbox.Digest{}) {
		v.Digest = "sha256:" + hex.EncodeToString(r.Digest[:])
	}
	return v
}

// instantTime is an instant as a time in UTC.
func instantTime(at clock.Instant) time.Time { return time.Unix(0, int64(at)).UTC() }

// auditWriter writes records as lines for people. The columns are of fixed width, as a trail may be
// longer than memory.
type auditWriter struct {
	w   io.Writer
	day string // of the last line
}

func newAuditWriter(w io.Writer) *auditWriter { return &auditWriter{w: w} }

const auditColumns = "  %8s  %-12s  %5s  %-15s  %-10s  %-12s  %s\n"

func (a *auditWriter) write(r *sandbox.Record) error {
	at := instantTime(r.At)
	if day := at.Format("Monday, 2 January 2006, UTC"); day != a.day {
		if a.day == "" {
			if _, err := fmt.Fprintf(a.w, auditColumns, "RECORD", "TIME", "PID", "COMMAND", "ACT",
				"VERDICT", "WHAT"); err != nil {
				return err
			}
		}
		a.day = day
		if _, err := fmt.Fprintf(a.w, "-- %s\n", day); err != nil {
			return err
		}
	}
	line := fmt.Sprintf(auditColumns, recordNumber(r), at.Format("15:04:05.000"), process(r),
		orDash(r.Comm), r.Kind, r.Verdict, what(r))
	_, err := io.WriteString(a.w, mark(r)+printable(strings.TrimRight(line[1:], " \n"))+"\n")
	return err
}

// mark is what makes a line stand out.
func mark(r *sandbox.Record) string {
	switch {
	case r.Verdict == sandbox.Refused:
		return "!"
	case r.Verdict == sandbox.WouldRefuse:
		return "?"
	case r.Session:
		return "*"
	}
	return " "
}

func recordNumber(r *sandbox.Record) string {
	if r.Outside {
		return "h" + strconv.FormatUint(r.Seq, 10)
	}
	return strconv.FormatUint(r.Seq, 10)
}

func process(r *sandbox.Record) string {
	if r.Process == 0 {
		return "-"
	}
	return strconv.FormatUint(uint64(r.Process), 10)
}

// what says in one line what an act was.
func what(r *sandbox.Record) string {
	words := append(subject(r), upshot(r)...)
	if r.Cut {
		words = append(words, "(cut)")
	}
	if !r.Trace.IsZero() {
		words = append(words, "for request "+r.Trace.String())
	}
	return strings.Join(words, " ")
}

// subject is what the act was on.
func subject(r *sandbox.Record) []string {
	switch r.Kind {
	case sandbox.KindBirth, sandbox.KindRestore:
		return birthWords(r)
	case sandbox.KindFinal:
		return []string{finalWords(r.Text, r.Result)}
	case sandbox.KindExec, sandbox.KindSession, sandbox.KindContainer:
		return execWords(r)
	case sandbox.KindClone:
		return []string{fmt.Sprintf("as %d", r.Result)}
	case sandbox.KindExit:
		return []string{waitStatus(syscall.WaitStatus(r.Result))}
	case sandbox.KindSignal:
		return []string{fmt.Sprintf("%v to %d", syscall.Signal(r.Flags), r.Result)}
	case sandbox.KindCapability:
		return []string{sandbox.CapabilityName(int(r.Flags))}
	case sandbox.KindSocket:
		return []string{fmt.Sprintf("domain %d, type %d", r.Flags>>16, r.Flags&0xffff)}
	case sandbox.KindSyscall:
		return syscallWords(r)
	}
	var words []string
	if r.Access != 0 {
		words = append(words, r.Access.String())
	}
	if r.Addr.IsValid() || r.Addr.Port() != 0 {
		words = append(words, strings.TrimSpace(protoName(r)+" "+r.Addr.String()))
	}
	for _, text := range [...]string{r.Path, r.Path2} {
		if text != "" {
			words = append(words, text)
		}
	}
	words = append(words, r.Args...)
	if r.Text != "" {
		words = append(words, "("+r.Text+")")
	}
	if len(words) == 0 && r.Sysno != noSyscall {
		words = append(words, fmt.Sprintf("system call %d", r.Sysno))
	}
	return words
}

// finalWords say how a sandbox ended. Without a reason, its program ended by itself.
func finalWords(reason string, status int64) string {
	if reason == "" {
		reason = "the program ended"
	}
	return fmt.Sprintf("%s, exit status %d", reason, status)
}

func protoName(r *sandbox.Record) string {
	if r.Proto == sandbox.AnyProto {
		return ""
	}
	return r.Proto.String()
}

func birthWords(r *sandbox.Record) []string {
	b, err := sandbox.DecodeBirth(r.Text)
	if err != nil {
		return []string{r.Text}
	}
	return []string{fmt.Sprintf("sandbox %s, class %s, policy %s (%s), audit %s, image %s", b.Sandbox,
		orDash(b.Class), orDash(b.Mode), orDash(shortDigest(b.Policy)), orDash(b.Audit),
		orDash(shortDigest(b.Image)))}
}

func execWords(r *sandbox.Record) []string {
	words := []string{r.Path}
	if len(r.Args) > 1 {
		words = append(words, quoteArgs(r.Args[1:])...)
	}
	if r.Digest != (sandbox.Digest{}) {
		words = append(words, "sha256:"+hex.EncodeToString(r.Digest[:6]))
	}
	return words
}

// quoteArgs quotes the arguments that are not one plain word.
func quoteArgs(args []string) []string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = arg
		if arg == "" || strings.ContainsAny(arg, " \t\n\"'\\") {
			quoted[i] = strconv.Quote(arg)
		}
	}
	return quoted
}

func syscallWords(r *sandbox.Record) []string {
	words := []string{fmt.Sprintf("system call %d", r.Sysno)}
	for _, word := range r.Words {
		words = append(words, strconv.FormatUint(word, 16))
	}
	if r.Done && r.Errno == 0 {
		words = append(words, fmt.Sprintf("= %d", r.Result))
	}
	return words
}

func waitStatus(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// upshot is what came of the act: the rule that refused it, the error it returned.
func upshot(r *sandbox.Record) []string {
	var words []string
	if r.Verdict == sandbox.Refused || r.Verdict == sandbox.WouldRefuse {
		if r.Rule == sandbox.NoRule {
			words = append(words, "by default")
		} else {
			words = append(words, fmt.Sprintf("by rule %d", r.Rule))
		}
	}
	if r.Errno != 0 && r.Kind != sandbox.KindFinal {
		words = append(words, "-> "+syscall.Errno(r.Errno).Error())
	}
	return words
}
