package replica

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"math/rand/v2"

	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// The crash test runs this test binary again as a child that keeps a ledger on the real disk under
// load, kills it at a random point with SIGKILL, opens the ledger itself, and compares it with the
// journal that the child's clients kept in the parent: each sent line says what a client was told.
//
//	SURETY_CRASH_ROUNDS   how many times, 10 where it is not set
//	SURETY_CRASH_SEED     to repeat a run; printed where it is not set
const (
	crashDir   = "SURETY_CRASH_CHILD" // set for the child: the ledger's directory
	crashStart = "SURETY_CRASH_START" // batches each worker has had acknowledged, by comma

	crashWorkers = 4
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := crashChild(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// crashChild keeps a ledger under load until it is killed. A line on standard output is one write:
// it is there as a whole or not at all.
func crashChild(dir string) error {
	fmt.Println("opening")
	config := tiny()
	config.Dir = dir
	r, err := Open(context.Background(), config, Deps{Clock: wallclock.System()})
	if err != nil {
		return err
	}
	fmt.Println("open")
	starts := strings.Split(os.Getenv(crashStart), ",")
	var all sync.WaitGroup
	failures := make(chan error, crashWorkers)
	for w := range uint64(crashWorkers) {
		done, err := strconv.Atoi(starts[w])
		if err != nil {
			return err
		}
		all.Go(func() { failures <- crashWorker(r, w, done) })
	}
	all.Wait()
	return <-failures
}

// crashWorker sends the worker's batches from where its acknowledged ones end, and reports each.
func crashWorker(r *Replica, worker uint64, done int) error {
	load := newLoad(crashLoadSeed, worker)
	for range done {
		load.next()
	}
	ctx := context.Background()
	for n := done; n < 100_000; n++ {
		batch := load.next()
		var answer strings.Builder
		switch {
		case batch.accounts != nil:
			results, err := r.CreateAccounts(ctx, batch.accounts)
			if err != nil {
				return err
			}
			fmt.Fprint(&answer, results)
		case batch.freezes != nil:
			results, err := r.ApplyFreezes(ctx, batch.freezes)
			if err != nil {
				return err
			}
			fmt.Fprint(&answer, results)
		default:
			results, err := r.CreateTransfers(ctx, batch.transfers)
			if err != nil {
				return err
			}
			for _, result := range results {
				fmt.Fprint(&answer, " ", uint16(result))
			}
		}
		if _, err := fmt.Printf("ack %d %d%s\n", worker, n, answer.String()); err != nil {
			return err
		}
	}
	return nil
}

const crashLoadSeed = 77

// crashClient is what one worker's client was told, over all rounds.
type crashClient struct {
	load    *load
	batches []loadBatch
	results [][]ledger.TransferResult
	checked int
}

func TestKill(t *testing.T) {
	rounds := setting(t, "SURETY_CRASH_ROUNDS", 10)
	seed := uint64(setting(t, "SURETY_CRASH_SEED", int(rand.Uint32())))
	t.Logf("%d rounds, seed %d", rounds, seed)
	random := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(t.TempDir(), "ledger")
	clients := make([]crashClient, crashWorkers)
	for w := range clients {
		clients[w].load = newLoad(crashLoadSeed, uint64(w))
	}
	acks := 0
	for round := range rounds {
		killAfter := random.IntN(1200)
		if random.IntN(6) == 0 {
			killAfter = -random.IntN(2) // while it opens, or right after
		}
		acks += crashRound(t, dir, clients, killAfter)
		checkCrash(t, dir, clients, fmt.Sprintf("seed %d, round %d", seed, round))
	}
	t.Logf("%d batches were acknowledged, none is lost", acks)
	if acks == 0 && rounds > 3 {
		t.Error("nothing was acknowledged")
	}
}

func setting(t *testing.T, name string, standard int) int {
	text := os.Getenv(name)
	if text == "" {
		return standard
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%q: %v", name, text, err)
	}
	return n
}

// crashRound starts a child, reads what its clients are told, and kills it after so many answers;
// zero is when it has opened the ledger, below zero is while it opens it.
func crashRound(t *testing.T, dir string, clients []crashClient, killAfter int) int {
	t.Helper()
	var starts []string
	for i := range clients {
		starts = append(starts, strconv.Itoa(len(clients[i].results)))
	}
	child := exec.Command(os.Args[0], "-test.run=^$")
	child.Env = append(os.Environ(), crashDir+"="+dir, crashStart+"="+strings.Join(starts, ","))
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	acks, killed := 0, false
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // killed; what was written before has been read
		}
		if strings.HasPrefix(line, "error") {
			t.Fatal(line)
		}
		opening := line == "opening\n" && killAfter < 0 || line == "open\n" && killAfter <= 0
		if strings.HasPrefix(line, "ack ") {
			acks++
			noteAck(t, clients, line)
		}
		if !killed && (opening || killAfter > 0 && acks >= killAfter) {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			killed = true
		}
	}
	_ = child.Wait() // it says "killed"
	return acks
}

// noteAck enters what a client was told.
func noteAck(t *testing.T, clients []crashClient, line string) {
	t.Helper()
	fields := strings.Fields(strings.NewReplacer("[", " ", "]", " ").Replace(line))
	worker, err := strconv.Atoi(fields[1])
	if err != nil {
		t.Fatal(line)
	}
	c := &clients[worker]
	if fields[2] != strconv.Itoa(len(c.results)) {
		t.Fatalf("worker %d: batch %s was answered, want %d", worker, fields[2], len(c.results))
	}
	batch := c.load.next()
	var results []ledger.TransferResult
	if batch.transfers != nil {
		for _, text := range fields[3:] {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil {
				t.Fatal(line)
			}
			results = append(results, ledger.TransferResult(n))
		}
		if len(results) != len(batch.transfers) {
			t.Fatalf("%d results for %d transfers: %s", len(results), len(batch.transfers), line)
		}
	}
	c.batches, c.results = append(c.batches, batch), append(c.results, results)
}

// checkCrash opens the killed ledger and compares: nothing acknowledged is lost, nothing refused
// has happened, and the accounts hold exactly what the transfers that are there add up to.
//
// The batch under way when the child was killed may be there or not. The clients go on by sending it
// again in the next round; what was refused then as a repeat is what it was the first time.
func checkCrash(t *testing.T, dir string, clients []crashClient, where string) {
	t.Helper()
	config := tiny()
	config.Dir = dir
	r, err := Open(context.Background(), config, Deps{FS: vfs.OS{}})
	if err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for i := range clients {
		c := &clients[i]
		for ; c.checked < len(c.results); c.checked++ {
			for n, result := range c.results[c.checked] {
				id := c.batches[c.checked].transfers[n].ID
				_, found := r.state.Transfer(id)
				want := result == ledger.TransferOK || result == ledger.TransferExists
				again := result == ledger.TransferLinkedEventFailed // of a chain that exists already
				if found != want && !again {
					t.Fatalf("%s: transfer %s was answered %s, and found is %v", where, id, result, found)
				}
			}
		}
	}
	if err := r.state.CheckInvariants(); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if err := addsUp(r.state); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	if err := r.Close(); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
}

// addsUp adds up the posted transfers of the feed, apart from the core's own sums, and compares with
// every account; a transfer that came twice would show here.
func addsUp(s *ledger.State) error {
	debits, credits := map[ident.ID]money.Amount{}, map[ident.ID]money.Amount{}
	seen := map[ident.ID]bool{}
	for seq := range s.EventsLen() {
		e := s.Event(seq)
		if e.Kind != ledger.EventTransferCreated {
			continue
		}
		t := e.Transfer
		if seen[t.ID] {
			return fmt.Errorf("transfer %s happened twice", t.ID)
		}
		seen[t.ID] = true
		if t.Flags&(ledger.TransferPending|ledger.TransferVoidPending) != 0 {
			continue
		}
		debits[t.DebitAccountID], _ = debits[t.DebitAccountID].Add(t.Amount)
		credits[t.CreditAccountID], _ = credits[t.CreditAccountID].Add(t.Amount)
	}
	for skip := 0; skip < s.AccountsLen(); skip += ledger.PageMax {
		for _, a := range s.Accounts(nil, skip, 0) {
			if a.DebitsPosted != debits[a.ID] || a.CreditsPosted != credits[a.ID] {
				return fmt.Errorf("account %s holds %s and %s, its transfers add up to %s and %s", a.ID,
					a.DebitsPosted, a.CreditsPosted, debits[a.ID], credits[a.ID])
			}
		}
	}
	return nil
}
