package drill

import (
	"context"
	"math/rand/v2"
	"strconv"

	"surety/api/event"
	"surety/base/clock"
	"surety/base/ident"
	"surety/base/money"
	"surety/guard"
	"surety/ledger"
)

// fault is a way to plant one class of loss.
type fault struct {
	class guard.Class
	name  string
	// at is the kind of act at whose turn the fault is planted, and habit how its borrower lives, so
	// that such an act comes.
	at    string
	habit habit
	// alone keeps other acts waiting while the fault is planted and found: what it stops is shared.
	alone bool
	// plant does the wrong thing in the act's place. It returns what the ledger said.
	plant planting
	// mend undoes what would stand in the way of the rest of the drill.
	mend func(i *instance)
}

// planting commits a fault in the place of an act, and returns what the ledger said.
type planting func(ctx context.Context, i *instance, a *Act) (ledger.TransferResult, error)

// instance is one fault on its way: a loan of its own, of a product of its own, that lives soundly
// up to the fault.
type instance struct {
	fault  *fault
	world  *world
	rng    *rand.Rand
	number int
	start  clock.Date
	skip   int // acts of the kind to let pass
	lender *Lender
	seen   *Act // the act at which it was planted

	accounts  map[ident.ID]bool // touched by the fault
	transfers map[ident.ID]bool
	product   string
	subject   subject

	planted   bool
	global    bool          // the fault is of the whole ledger: alarms about sums are its own
	refusal   string        // what was refused besides a transfer
	at        clock.Instant // when the fault was committed
	result    ledger.TransferResult
	prevented bool
	caught    *guard.Breach
	heard     clock.Instant
	also      map[guard.Class]int // other alarms that it raised
	leaked    money.Amount
	open      money.Amount // what could have left
	flight    bool         // money was moved on, as far as it went
	stopped   clock.Duration
	hasStop   bool
	unstopped string // why the stop is not in force
}

func newInstance(f *fault, w *world, seed uint64, number int, start clock.Date) *instance {
	i := &instance{fault: f, world: w, number: number, start: start,
		rng:      rand.New(rand.NewPCG(seed, uint64(f.class)<<32|uint64(number))),
		product:  "drill-" + f.class.String() + "-" + strconv.Itoa(number),
		accounts: map[ident.ID]bool{}, transfers: map[ident.ID]bool{}, also: map[guard.Class]int{}}
	i.lender = NewLender(seed+uint64(number), i.product, start, 0)
	i.lender.single, i.lender.habit = true, f.habit
	i.skip = i.rng.IntN(3)
	switch f.at {
	case event.InterestAccrued, event.LoanRepaid:
	default:
		i.skip = 0 // such an act comes once
	}
	return i
}

// day performs the instance's acts of a business day up to the fault. Where the fault must be
// planted alone, it leaves the act for later and reports true.
func (i *instance) day(ctx context.Context, on clock.Date) (alone bool, err error) {
	if i.planted || i.seen != nil || on < i.start {
		return i.seen != nil && !i.planted, nil
	}
	applications := 0
	if on > i.start && len(i.lender.loans) == 0 { // the loan ended before its turn: another one
		i.start, i.skip = on, 0
		i.lender = NewLender(i.lender.seed+1<<32, i.product, on, 0)
		i.lender.single, i.lender.habit = true, i.fault.habit
		i.subject = subject{}
	}
	if on == i.start {
		applications = 1
	}
	acts := i.lender.Day(on, applications)
	for k := range acts {
		a := &acts[k]
		if i.subject.application.IsZero() {
			i.subject.application, i.subject.customer = a.Event.Application, a.Event.Customer
		}
		if !a.Event.Loan.IsZero() {
			i.subject.loan = a.Event.Loan
		}
		if a.Event.Kind == i.fault.at {
			if i.skip == 0 {
				i.seen = a
				if i.fault.alone {
					return true, nil
				}
				return false, i.plant(ctx)
			}
			i.skip--
		}
		if err := i.world.clean(ctx, a); err != nil {
			return false, err
		}
	}
	return false, nil
}

// plant commits the fault.
func (i *instance) plant(ctx context.Context) error {
	i.planted = true
	i.at = i.world.clock.Now()
	result, err := i.fault.plant(ctx, i, i.seen)
	i.result = result
	i.prevented = result != ledger.TransferOK || i.refusal != ""
	return err
}

// commit posts a chain of the fault and remembers what it touched.
func (i *instance) commit(ctx context.Context, accounts []ledger.Account, transfers []ledger.Transfer) (
	ledger.TransferResult, error) {
	for _, t := range transfers {
		i.transfers[t.ID] = true
		i.accounts[t.DebitAccountID], i.accounts[t.CreditAccountID] = true, true
	}
	delete(i.accounts, ident.ID{})
	link(transfers)
	i.at = i.world.clock.Now()
	return i.world.carry(ctx, accounts, transfers)
}

// emit writes an event of the fault.
func (i *instance) emit(e event.Event) {
	i.at = i.world.clock.Now()
	i.world.outbox.emit(e)
}

// claims reports whether an alarm is about this instance.
func (i *instance) claims(b *guard.Breach) bool {
	return b.Product == i.product || i.transfers[b.Transfer] && !b.Transfer.IsZero() ||
		!b.Loan.IsZero() && b.Loan == i.subject.loan ||
		!b.Application.IsZero() && b.Application == i.subject.application ||
		!b.Customer.IsZero() && b.Customer == i.subject.customer ||
		i.global && b.Rule == guard.TotalsDiffer || i.claimsAccount(b.Found.Get("account"))
}

func (i *instance) claimsAccount(text string) bool {
	id, err := ident.Parse(text)
	return err == nil && i.accounts[id]
}

// take notes an alarm of this instance.
func (i *instance) take(h heard) {
	if h.breach.Class != i.fault.class {
		i.also[h.breach.Class]++
		return
	}
	if i.caught == nil {
		i.caught, i.heard = h.breach, h.at
	}
}

// latency is how long after it could be known the fault was known: from the commit, or from the
// deadline where one had to pass.
func (i *instance) latency() clock.Duration {
	from := i.at
	if info, _ := i.caught.Class.Info(); info.Layer != guard.LayerRealTime {
		from = max(from, i.caught.DecidableAt)
	}
	return max(0, i.heard.Sub(from))
}

// flee moves wrongly received money on, a twentieth at a time, until the ledger refuses: what got
// away is the leak.
func (i *instance) flee(ctx context.Context, from ident.ID, amount uint64) error {
	away := ident.Derive("drill", "away", i.product)
	err := i.world.create(ctx, []ledger.Account{{ID: away, Ledger: 156, Code: 9001}})
	part := max(amount/20, 1)
	i.open = minor(amount)
	for n := 0; err == nil && n < 20; n++ {
		t := ledger.Transfer{ID: ident.Derive("drill", "flight", i.product, strconv.Itoa(n)),
			DebitAccountID: from, CreditAccountID: away, Amount: minor(part), Ledger: 156, Code: 9001}
		i.transfers[t.ID] = true
		var result ledger.TransferResult
		result, err = i.world.carry(ctx, nil, []ledger.Transfer{t})
		if err != nil || result != ledger.TransferOK {
			break
		}
		increase(&i.leaked, t.Amount)
		i.world.pause(ctx, 5*clock.Millisecond)
	}
	i.flight = true
	return err
}
