package ledger

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
)

// TestScripts runs the scripts in testdata: one command a paragraph, its records below it, what the
// ledger answers below the line. Run the test with -rewrite to take the answers down anew.
//
//	accounts [at=SECONDS]    lines "ID key=value..."  -> a result for each
//	transfers [at=SECONDS]   the same; "+" before a line links it to the next
//	freezes [at=SECONDS]     the same
//	pulse at=SECONDS         -> how many expired
//	balances                 -> all accounts
//	pending ID...            -> what became of pending transfers
//	history ID [reversed]    -> the balances kept of an account
//	query [account=ID] [group=ID] [reversed] [limit=N]  -> pages of transfers
//	totals, frozen           -> the trial balance; the open freezes
//	events [from=N]          -> the feed
//	restart                  -> goes on from a snapshot
//
// A command without a time comes one second after the one before it.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := &script{ledger: NewState(Limits{})}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			return s.run(t, d)
		})
	})
}

type script struct{ ledger *State }

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	lines := strings.Fields(strings.ReplaceAll(d.Input, " ", "\x00"))
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], "\x00", " ")
	}
	switch d.Cmd {
	case "accounts":
		return s.accounts(t, d, lines)
	case "transfers":
		return s.transfers(t, d, lines)
	case "freezes":
		return s.freezes(t, d, lines)
	case "pulse":
		return fmt.Sprintf("%d expired, next due %s\n", s.ledger.Pulse(s.time(t, d, 0)),
			seconds(s.ledger.PulseDue()))
	case "balances":
		return s.balances()
	case "pending":
		return s.pending(t, d)
	case "history":
		return s.history(t, d)
	case "query":
		return s.query(t, d)
	case "totals":
		return s.totals()
	case "frozen":
		return s.frozen()
	case "events":
		return s.events(t, d)
	case "restart":
		return s.restart(t)
	}
	d.Fatalf(t, "unknown command")
	return ""
}

// time is the timestamp of the command's batch: what it says in seconds, or a second later than now.
func (s *script) time(t *testing.T, d *datadriven.TestData, n int) clock.Instant {
	at := s.ledger.Now() - s.ledger.Now()%second + second
	if d.HasArg("at") {
		var text string
		d.ScanArgs(t, "at", &text)
		at = instant(t, text)
	}
	if least := s.ledger.NextTimestamp(0, n); at < least {
		return least
	}
	return at
}

func instant(t *testing.T, text string) clock.Instant {
	whole, nanos, _ := strings.Cut(text, "+")
	at := clock.Instant(number(t, whole)) * second
	if nanos != "" {
		at += clock.Instant(number(t, nanos))
	}
	return at
}

// seconds writes an instant as seconds, with the nanoseconds beyond or before a whole one.
func seconds(at clock.Instant) string {
	if rest := at % second; rest != 0 && rest > second/2 {
		return fmt.Sprintf("%d-%d", at/second+1, second-rest)
	} else if rest != 0 {
		return fmt.Sprintf("%d+%d", at/second, rest)
	}
	return strconv.Itoa(int(at / second))
}

func number(t *testing.T, text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func identOf(t *testing.T, text string) ident.ID {
	if text == "max" {
		return ident.Max
	}
	return id(number(t, text))
}

func amountFrom(t *testing.T, text string) money.Amount {
	if text == "max" {
		return money.Max
	}
	a, err := money.ParseMinor(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fields reads "+ ID key=value..." and hands each pair to set.
func fields(t *testing.T, line string, set func(key, value string)) (linked bool) {
	words := strings.Fields(line)
	if words[0] == "+" {
		linked, words = true, words[1:]
	}
	set("id", words[0])
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			t.Fatalf("%q is not key=value", word)
		}
		set(key, value)
	}
	return linked
}

func flagsFrom[F ~uint16](t *testing.T, text string, names []string) F {
	var flags F
	for _, name := range strings.Split(text, "|") {
		known := false
		for i, n := range names {
			if n == name {
				flags |= 1 << i
				known = true
			}
		}
		if !known {
			t.Fatalf("flag %q", name)
		}
	}
	return flags
}

func flagsText[F ~uint16](flags F, names []string) string {
	var set []string
	for i, name := range names {
		if flags&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return strings.Join(set, "|")
}

var (
	accountFlagNames = []string{"linked", "debits_limited", "credits_limited", "history", "imported",
		"closed"}
	transferFlagNames = []string{"linked", "pending", "post", "void", "balancing_debit",
		"balancing_credit", "closing_debit", "closing_credit", "imported"}
)

func (s *script) accounts(t *testing.T, d *datadriven.TestData, lines []string) string {
	batch := make([]Account, len(lines))
	for i, line := range lines {
		a := &batch[i]
		a.Ledger, a.Code = 1, 1
		linked := fields(t, line, func(key, value string) {
			switch key {
			case "id":
				a.ID = identOf(t, value)
			case "ledger":
				a.Ledger = uint32(number(t, value))
			case "code":
				a.Code = uint16(number(t, value))
			case "flags":
				a.Flags |= flagsFrom[AccountFlags](t, value, accountFlagNames)
			case "time":
				a.Timestamp = instant(t, value)
			default:
				t.Fatalf("field %q", key)
			}
		})
		if linked {
			a.Flags |= AccountLinked
		}
	}
	return lineEach(s.ledger.CreateAccounts(batch, s.time(t, d, len(batch)), nil))
}

func lineEach[R fmt.Stringer](results []R) string {
	var out strings.Builder
	for _, r := range results {
		fmt.Fprintln(&out, r)
	}
	return out.String()
}

func (s *script) transfers(t *testing.T, d *datadriven.TestData, lines []string) string {
	batch := make([]Transfer, len(lines))
	for i, line := range lines {
		batch[i] = scriptTransfer(t, line)
	}
	return lineEach(s.ledger.CreateTransfers(batch, s.time(t, d, len(batch)), nil))
}

func scriptTransfer(t *testing.T, line string) Transfer {
	x := Transfer{Ledger: 1, Code: 1}
	linked := fields(t, line, func(key, value string) {
		switch key {
		case "id":
			x.ID = identOf(t, value)
		case "debit":
			x.DebitAccountID = identOf(t, value)
		case "credit":
			x.CreditAccountID = identOf(t, value)
		case "amount":
			x.Amount = amountFrom(t, value)
		case "post", "void":
			x.PendingID, x.Ledger, x.Code = identOf(t, value), 0, 0
			x.Flags |= TransferVoidPending
			if key == "post" {
				x.Flags ^= TransferVoidPending | TransferPostPending
				x.Amount = money.Max
			}
		case "group":
			x.UserData128 = identOf(t, value)
		case "timeout":
			x.Timeout = uint32(number(t, value))
			x.Flags |= TransferPending
		case "ledger":
			x.Ledger = uint32(number(t, value))
		case "code":
			x.Code = uint16(number(t, value))
		case "flags":
			x.Flags |= flagsFrom[TransferFlags](t, value, transferFlagNames)
		case "time":
			x.Timestamp = instant(t, value)
		default:
			t.Fatalf("field %q", key)
		}
	})
	if linked {
		x.Flags |= TransferLinked
	}
	return x
}

func (s *script) freezes(t *testing.T, d *datadriven.TestData, lines []string) string {
	batch := make([]Freeze, len(lines))
	for i, line := range lines {
		z := &batch[i]
		z.Actor, z.Reason = id(1), 1
		fields(t, line, func(key, value string) {
			switch key {
			case "id":
				z.ID = identOf(t, value)
			case "account":
				z.Scope, z.AccountID = FreezeAccount, identOf(t, value)
			case "code":
				z.Scope, z.Code = FreezeCode, uint16(number(t, value))
			case "ledger":
				z.Ledger = uint32(number(t, value))
				if z.Scope == 0 {
					z.Scope = FreezeLedger
				}
			case "sides":
				z.Sides = map[string]FreezeSides{"debits": FreezeDebits, "credits": FreezeCredits,
					"both": FreezeBoth}[value]
			case "release":
				z.Flags, z.FreezeID = FreezeRelease, identOf(t, value)
			case "actor":
				z.Actor = identOf(t, value)
			case "second":
				z.SecondActor = identOf(t, value)
			case "until":
				z.ExpiresAt = instant(t, value)
			default:
				t.Fatalf("field %q", key)
			}
		})
	}
	return lineEach(s.ledger.ApplyFreezes(batch, s.time(t, d, len(batch)), nil))
}

func (s *script) balances() string {
	var out strings.Builder
	for _, a := range s.ledger.Accounts(nil, 0, 0) {
		fmt.Fprintf(&out, "%d: debits %s, credits %s", a.ID.Lo, a.DebitsPosted, a.CreditsPosted)
		if !a.DebitsPending.IsZero() || !a.CreditsPending.IsZero() {
			fmt.Fprintf(&out, "; pending debits %s, credits %s", a.DebitsPending, a.CreditsPending)
		}
		fmt.Fprintln(&out, closedText(&a))
	}
	return out.String()
}

func closedText(a *Account) string {
	if a.Flags&AccountClosed != 0 {
		return "; closed"
	}
	return ""
}

func (s *script) pending(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	for _, arg := range d.CmdArgs {
		status := s.ledger.PendingStatus(identOf(t, arg.Key))
		name := [...]string{"none", "open", "posted", "voided", "expired"}[status]
		fmt.Fprintf(&out, "%s: %s\n", arg.Key, name)
	}
	return out.String()
}

func (s *script) history(t *testing.T, d *datadriven.TestData) string {
	page, err := s.ledger.AccountBalances(identOf(t, d.CmdArgs[0].Key),
		AccountFilter{Reversed: d.HasArg("reversed")})
	if err != nil {
		return err.Error()
	}
	var out strings.Builder
	for _, b := range page.Balances {
		fmt.Fprintf(&out, "at %s: debits %s, credits %s; pending debits %s, credits %s\n",
			seconds(b.Timestamp), b.DebitsPosted, b.CreditsPosted, b.DebitsPending, b.CreditsPending)
	}
	return out.String()
}

func (s *script) query(t *testing.T, d *datadriven.TestData) string {
	var account, group string
	limit := 0
	d.MaybeScanArgs(t, "account", &account)
	d.MaybeScanArgs(t, "group", &group)
	d.MaybeScanArgs(t, "limit", &limit)
	var out strings.Builder
	for cursor, first := uint64(0), true; first || cursor != 0; first = false {
		var page TransferPage
		var err error
		if account != "" {
			page, err = s.ledger.AccountTransfers(identOf(t, account), AccountFilter{Limit: limit,
				Reversed: d.HasArg("reversed"), Debits: d.HasArg("debits"), Credits: d.HasArg("credits"),
				Cursor: cursor})
		} else {
			f := TransferFilter{Limit: limit, Reversed: d.HasArg("reversed"), Cursor: cursor}
			if group != "" {
				f.UserData128 = identOf(t, group)
			}
			page, err = s.ledger.QueryTransfers(f)
		}
		if err != nil {
			return err.Error()
		}
		if !first {
			fmt.Fprintln(&out, "-- next page")
		}
		for i := range page.Transfers {
			fmt.Fprintln(&out, transferText(&page.Transfers[i]))
		}
		cursor = page.Cursor
	}
	return out.String()
}

func transferText(x *Transfer) string {
	text := fmt.Sprintf("%d: %s from %d to %d at %s", x.ID.Lo, x.Amount, x.DebitAccountID.Lo,
		x.CreditAccountID.Lo, seconds(x.Timestamp))
	if x.Flags != 0 {
		text += " " + flagsText(x.Flags, transferFlagNames)
	}
	if !x.PendingID.IsZero() {
		text += fmt.Sprintf(" of %d", x.PendingID.Lo)
	}
	return text
}

func (s *script) totals() string {
	var out strings.Builder
	for _, c := range s.ledger.ClassTotals() {
		fmt.Fprintf(&out, "ledger %d code %d: %d accounts, debits %s, credits %s; pending %s, %s\n", c.Ledger,
			c.Code, c.Accounts, c.DebitsPosted, c.CreditsPosted, c.DebitsPending, c.CreditsPending)
	}
	return out.String()
}

func (s *script) frozen() string {
	var out strings.Builder
	for _, z := range s.ledger.OpenFreezes(nil) {
		fmt.Fprintf(&out, "%d: scope %d account %d ledger %d code %d sides %d\n", z.ID.Lo, z.Scope,
			z.AccountID.Lo, z.Ledger, z.Code, z.Sides)
	}
	return out.String()
}

func (s *script) events(t *testing.T, d *datadriven.TestData) string {
	var from uint64
	d.MaybeScanArgs(t, "from", &from)
	var out strings.Builder
	for seq := from; seq < s.ledger.EventsLen(); seq++ {
		e := s.ledger.Event(seq)
		subject := e.Account.ID.Lo | e.Transfer.ID.Lo | e.Freeze.ID.Lo
		fmt.Fprintf(&out, "%d at %s: %s %d\n", e.Seq, seconds(e.Timestamp), e.Kind, subject)
	}
	return out.String()
}

func (s *script) restart(t *testing.T) string {
	var snapshot bytes.Buffer
	if err := s.ledger.WriteSnapshot(&snapshot); err != nil {
		t.Fatal(err)
	}
	restored, err := ReadSnapshot(&snapshot, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	same := restored.Digest() == s.ledger.Digest()
	s.ledger = restored
	return fmt.Sprintf("same digest: %t\n", same)
}
