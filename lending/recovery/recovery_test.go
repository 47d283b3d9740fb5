package recovery_test

import (
	"testing"

	"surety/base/clock"
	"surety/base/errs"
	"surety/lending"
	"surety/lending/lendingtest"
	"surety/lending/origination"
)

// applications is every way an application can go.
func applications() []act {
	return []act{
		apply(small(1, "")),
		apply(lendingtest.Hopeless(2)),
		apply(small(1, "-again")),
		freeze("reserve", func(r *run) func() { return r.w.FreezeCode(lending.LegReserve) }),
		apply(small(3, "")), // declined: no limit
		thaw("reserve"),
		freeze("disburse", func(r *run) func() { return r.w.FreezeCode(lending.LegDisburse) }),
		apply(small(4, "")), // cancelled
		thaw("disburse"),
		apply(small(4, "-again")),
	}
}

func date(year, month, day int) clock.Date { return clock.MustDate(year, month, day) }

// early is a loan that is paid before its dates, in parts, refused while it is frozen, and overpaid;
// its close is refused for two days.
func early() []act {
	return []act{
		apply(small(1, "")),
		live(date(2026, 1, 20)),
		repay("merchant-1", 500_00, "early"), // with interest to the day
		live(date(2026, 2, 15)),
		repay("merchant-1", 400_00, "rest"),
		live(date(2026, 2, 20)),
		frozen("merchant-1", lending.ClassPrincipal),
		repay("merchant-1", 5_000_00, "frozen"), // refused, but interest to the day stands
		thaw("merchant-1"),
		repay("merchant-1", 5_000_00, "free"),
		frozen("merchant-1", lending.ClassLimit),
		repay("merchant-1", 6_000_00, "all"),
		live(date(2026, 2, 22)),
		thaw("merchant-1"),
		live(date(2026, 2, 23)),
		repay("merchant-1", 1_00, "after"), // refused: closed
	}
}

// late is a loan that is paid in arrears, and given up in the end: by hand on one day, but time has
// asked for it already.
func late() []act {
	return []act{
		apply(small(2, "")),
		live(date(2026, 2, 15)),
		repay("merchant-2", 100_00, "part"),
		live(date(2026, 2, 20)), // a penalty
		repay("merchant-2", 300_00, "late"),
		live(date(2026, 2, 24)),
		repay("merchant-2", 600_00, "rest"),
		live(date(2026, 3, 15)),
		live(date(2026, 3, 24)),
		day(date(2026, 3, 25)), // no day-end: the act itself finds that the loan is to be written off
		writeOff("merchant-2"),
	}
}

// lost is a loan that is never paid, until it has been written off.
func lost() []act {
	return []act{
		apply(small(3, "")),
		live(date(2026, 2, 24)),
		day(date(2026, 2, 25)),
		repay("merchant-3", 1_000_00, "recovered"), // on the day on which it must be written off
		live(date(2026, 2, 26)),
		repay("merchant-3", 1_000_000_00, "too much"), // refused
	}
}

func frozen(key string, class lending.Class) act {
	return freeze(key, func(r *run) func() {
		loan := loanOf(r, key)
		owner := loan.ID
		if class == lending.ClassLimit {
			owner = loan.Customer
		}
		return r.w.Freeze(lending.AccountID(class, owner, "CNY"))
	})
}

// TestCrash ends the process before every step of every script, and again at every step of each
// recovery: what was answered stands, the records and the ledger hold together, and the script ends
// as it does without a crash.
func TestCrash(t *testing.T) {
	programmes := hasty(t)
	for name, script := range map[string][]act{"applications": applications(), "early": early(),
		"late": late(), "lost": lost()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyStep(t, programmes, script, func(r *run, step int) {
				r.w.Gate.Arm(lendingtest.Fault{Step: step, Crash: true, Kind: errs.Unavailable})
				_ = r.play(script) // ends where the process does
				r.recover(t)
			})
		})
	}
}

// TestErrors fails every step of every script once, before or after it happened, without a crash:
// whoever asks again gets his answer, and nothing happens twice. What follows an answer has nobody
// who asks again, and is left to recovery.
func TestErrors(t *testing.T) {
	programmes := hasty(t)
	for name, script := range map[string][]act{"applications": applications(), "early": early(),
		"late": late(), "lost": lost()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyStep(t, programmes, script, func(r *run, step int) {
				r.w.Gate.Arm(lendingtest.Fault{Step: step, After: step%2 == 0, Kind: errs.Busy})
				_ = r.play(script)
				if err := r.play(script); err != nil {
					t.Fatal(err)
				}
				r.w.Gate.Clear()
				r.finish(t)
			})
		})
	}
}

// TestAbandoned fails every step once, and nobody asks again: recovery finishes what was begun.
func TestAbandoned(t *testing.T) {
	programmes := hasty(t)
	for name, script := range map[string][]act{"applications": applications(), "early": early(),
		"late": late(), "lost": lost()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyStep(t, programmes, script, func(r *run, step int) {
				r.w.Gate.Arm(lendingtest.Fault{Step: step, After: step%2 == 1, Kind: errs.Busy})
				_ = r.play(script)
				r.w.Gate.Clear()
				r.finish(t)
			})
		})
	}
}

// everyStep plays a script once without a fault, and then once for each of its steps with what
// disturb does at that step; afterwards all must be as it is without.
func everyStep(t *testing.T, programmes origination.Catalogue, script []act,
	disturb func(r *run, step int)) {
	t.Helper()
	whole := newRun(t, programmes)
	whole.w.Gate.Arm(lendingtest.Fault{Step: -1})
	if err := whole.play(script); err != nil {
		t.Fatal(err)
	}
	steps, want := whole.w.Gate.Steps(), whole.summary()
	whole.w.Audit()
	whole.w.Close()
	t.Logf("%d steps\n%s", steps, want)
	for step := range steps {
		r := newRun(t, programmes)
		disturb(r, step)
		r.w.Audit()
		r.stands(t, script)
		if err := r.play(script); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		r.w.Audit()
		if got := r.summary(); got != want {
			t.Errorf("ended as\n%s\nwant\n%s", got, want)
		}
		r.w.Close()
		if t.Failed() {
			t.Fatalf("at step %d", step)
		}
	}
}

// finish runs the recovery, which must leave nothing.
func (r *run) finish(t *testing.T) {
	t.Helper()
	if done, err := r.w.Recovery.Finish(t.Context()); err != nil || done.Left > 0 {
		t.Fatalf("%+v, %v", done, err)
	}
}

// recover opens what a crash left, crashing at the first step of that, then at the second, until
// none is left.
func (r *run) recover(t *testing.T) {
	t.Helper()
	for step := 0; ; step++ {
		r.w.Crash()
		r.w.Gate.Arm(lendingtest.Fault{Step: step, After: step%2 == 1, Crash: true, Kind: errs.Unavailable})
		err := r.w.Open()
		if err == nil {
			r.w.Settled()
		}
		if !r.w.Gate.Clear() {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// stands asks again for everything that was answered, and wants the same answer. What was refused may
// be asked for anew.
func (r *run) stands(t *testing.T, script []act) {
	t.Helper()
	for i, told := range r.told {
		if told == "refused" {
			continue
		}
		if again, err := script[i](r); err != nil || again != told {
			t.Errorf("act %d was answered %q, and now %q, %v", i, told, again, err)
		}
	}
}
