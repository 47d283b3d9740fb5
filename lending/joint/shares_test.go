package joint

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/psi"
	"surety/enclave/shares"
	"surety/lending/score/evaluate"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// byShares makes a world's contract one that is computed by shares.
func (w *world) byShares() {
	c := w.contract
	c.Operation = enclave.Operation{Kind: enclave.OpTrain, Model: enclave.ModelLogistic, Seed: 42, Holdout: 200}
	c.Program, c.Machines = enclave.Digest{}, nil
	c.Outputs = []enclave.Output{{To: "bank", What: enclave.OutMetrics}, {To: "bank", What: enclave.OutModel},
		{To: "bank", What: enclave.OutScores}, {To: "shop", What: enclave.OutModel}}
	c.Rule = enclave.OutputRule{MinRows: 100, MinGroup: 1, Round: 1}
}

// matched returns both parties' data as if all rows of their files had been matched.
func (w *world) matched(t testing.TB, s enclave.SignedContract) (bank, shop *Data) {
	t.Helper()
	side := func(p person, file, id string) *Data {
		table, err := ReadTable(strings.NewReader(file), id, s.Contract, p.name)
		if err != nil {
			t.Fatal(err)
		}
		m := &Matches{Contract: s.Digest, Session: [32]byte{1}}
		for row, id := range table.IDs {
			m.Rows = append(m.Rows, psi.Match{Row: row, Token: sha256.Sum256([]byte(id))})
		}
		slices.SortFunc(m.Rows, func(a, b psi.Match) int { return bytes.Compare(a.Token[:], b.Token[:]) })
		d, err := Prepare(s, p.name, table, m)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	return side(w.bank, w.bankFile, w.bankID), side(w.shop, w.shopFile, w.shopID)
}

// wideTaiwan is the public file with 24 columns split between the parties; nil where it is not at
// hand.
func wideTaiwan(t testing.TB) *world {
	t.Helper()
	w := taiwan(t, 1)
	if w == nil {
		return nil
	}
	name := filepath.Join("..", "..", "..", "shared", "data", "taiwan_default.csv")
	if dir := os.Getenv("SURETY_DATA"); dir != "" {
		name = filepath.Join(dir, "taiwan_default.csv")
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	c := w.contract
	c.Columns = slices.Concat(c.Columns[:3], sameColumns("bank", "numeric", "", "R1", "AGE", "PAY_2", "PAY_3",
		"PAY_4", "PAY_5", "PAY_6"), c.Columns[3:])
	w.bankFile, w.shopFile = allRows(all, Columns(c, "bank")), allRows(all, Columns(c, "shop"))
	w.byShares()
	return w
}

func allRows(all [][]string, columns []string) string {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	for _, row := range all {
		kept := []string{row[0]}
		for _, name := range columns {
			kept = append(kept, row[slices.Index(all[0], name)])
		}
		_ = out.Write(kept)
	}
	out.Flush()
	return b.String()
}

// share runs both parties over sessions of their keys.
func (w *world) share(t testing.TB, s enclave.SignedContract, bank, shop *Data) (b, p *Shared, errB, errP error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	side := func(conn net.Conn, err error, who person, d *Data) (*Shared, error) {
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		session, err := Secure(t.Context(), conn, s, who.sign)
		if err != nil {
			return nil, err
		}
		return ByShares(t.Context(), session, s, d, shares.Options{})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := net.Dial("tcp", listener.Addr().String())
		p, errP = side(conn, err, w.shop, shop)
	}()
	conn, err := listener.Accept()
	b, errB = side(conn, err, w.bank, bank)
	<-done
	return b, p, errB, errP
}

// plain fits the same columns in floats, by Newton's method, for those who have both parties'.
type plain struct {
	rows   [][]float64
	learn  []int32
	judged []int32
	bad    []bool
}

func newPlain(t testing.TB, s enclave.SignedContract, all ...*Data) *plain {
	t.Helper()
	p := &plain{}
	for i, token := range all[0].Tokens {
		if heldOut(&s.Contract.Operation, token) {
			p.judged = append(p.judged, int32(i))
		} else {
			p.learn = append(p.learn, int32(i))
		}
	}
	p.rows = make([][]float64, len(all[0].Tokens))
	for _, d := range all {
		features, err := expand(d, s.Contract.ColumnsOf(d.About.Party), p.learn)
		if err != nil {
			t.Fatal(err)
		}
		w := whiten(features, len(d.Rows), p.learn)
		for i, row := range w.rows {
			p.rows[i] = append(p.rows[i], row...)
		}
	}
	for _, d := range all {
		if len(d.Columns) > len(s.Contract.ColumnsOf(d.About.Party)) {
			for _, row := range d.Rows {
				p.bad = append(p.bad, row[len(row)-1] == s.Contract.Target.Bad)
			}
		}
	}
	return p
}

// odds returns the log-odds of bad of the rows held out, from some of the columns.
func (p *plain) odds(begin, end int) (odds []float64) {
	var rows [][]float64
	var bad []bool
	for _, row := range p.learn {
		rows, bad = append(rows, p.rows[row][begin:end]), append(bad, p.bad[row])
	}
	weights := fitPlain(rows, bad, defaultRidge)
	for _, row := range p.judged {
		odds = append(odds, oddsOf(weights, p.rows[row][begin:end]))
	}
	return odds
}

func (p *plain) auc(odds []float64) evaluate.Micro {
	var bad []bool
	for _, row := range p.judged {
		bad = append(bad, p.bad[row])
	}
	return evaluate.Measure(sampleOf(odds, bad)).AUC
}

// TestSharesAreThePlaintextModel fits the public file by shares, between two sessions over TCP, and
// the same columns in floats.
func TestSharesAreThePlaintextModel(t *testing.T) {
	w := wideTaiwan(t)
	if w == nil {
		w = invented(t, 4000)
		w.byShares()
		w.bankFile, w.shopFile = wholeRows(w.bankFile, w.shopFile)
	}
	s, _ := w.signed(t)
	bank, shop := w.matched(t, s)
	begin := time.Now()
	b, p, errB, errP := w.share(t, s, bank, shop)
	if errB != nil || errP != nil {
		t.Fatal(errB, errP)
	}
	took := time.Since(begin)
	twin := newPlain(t, s, bank, shop)
	width := len(twin.rows[0])
	middle := len(b.Columns)
	odds := twin.odds(0, width)
	joint, alone, other := twin.auc(odds), twin.auc(twin.odds(0, middle)),
		twin.auc(twin.odds(middle, width))
	worst := 0.0
	for i, z := range odds {
		worst = max(worst, math.Abs(1/(1+math.Exp(-z))-1/(1+math.Exp(-b.Scores[i].LogOdds))))
	}
	t.Logf("%d rows learnt from, %d judged, %d and %d columns (%v and %v dropped), %s, %d MB: AUC by "+
		"shares %s, plain %s, bank alone %s, shop alone %s; a score is %.4f off at most; %d and %d clamped, "+
		"%d folded", b.Learnt, b.Judged, len(b.Columns), len(p.Columns), b.Dropped, p.Dropped,
		took.Round(time.Millisecond), (b.Traffic.Sent+b.Traffic.Received)>>20, b.Metrics.AUC, joint, alone, other,
		worst, b.Clamped, p.Clamped, b.Folded)
	if off := b.Metrics.AUC - joint; off > 5000 || off < -5000 {
		t.Errorf("by shares %s, plain %s", b.Metrics.AUC, joint)
	}
	if b.Guarantee != enclave.Math || p.Guarantee != enclave.Math {
		t.Error("a result does not say what it rests on")
	}
	checkReceipt(t, w, s, b, p)
	if p.Scores != nil || p.Metrics != nil || len(p.Weights) != len(p.Columns) || len(b.Weights) != len(b.Columns) {
		t.Error("a party was told what is not its own")
	}
}

// wholeRows keeps the rows of two files that both have, with an outcome, in one order of ids.
func wholeRows(bank, shop string) (string, string) {
	ids := func(line string, at int) string {
		cells := strings.Split(line, ",")
		return strings.ReplaceAll(cells[(at+len(cells))%len(cells)], "-", "")
	}
	byID := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(shop), "\n")[1:] {
		byID[ids(line, -1)] = line
	}
	head, rest, _ := strings.Cut(bank, "\n")
	shopHead, _, _ := strings.Cut(shop, "\n")
	left, right := []string{head}, []string{shopHead}
	for _, line := range strings.Split(strings.TrimSpace(rest), "\n") {
		cells := strings.Split(line, ",")
		other, found := byID[cells[0]]
		if !found || cells[4] == "" {
			continue
		}
		n := strconv.Itoa(len(left))
		left = append(left, n+line[len(cells[0]):])
		right = append(right, other[:strings.LastIndex(other, ",")+1]+n)
	}
	return strings.Join(left, "\n") + "\n", strings.Join(right, "\n") + "\n"
}

// TestSharesRefuse starts with every defect of a contract and mends one a row.
func TestSharesRefuse(t *testing.T) {
	w := invented(t, 400)
	c := w.contract
	c.Rule.Round = 100
	c.Operation.Params = []enclave.Param{{Name: "trees", Value: 1}}
	c.Outputs = []enclave.Output{{To: "bank", What: enclave.OutReasons}, {To: "bank", What: enclave.OutScores},
		{To: "shop", What: enclave.OutMetrics}, {To: "shop", What: enclave.OutModel}, {To: "shop", What: enclave.OutScores}}
	drop := func(o enclave.Output) {
		c.Outputs = slices.DeleteFunc(c.Outputs, func(is enclave.Output) bool { return is == o })
	}
	party := "nobody"
	for _, row := range []struct {
		kind errs.Kind
		want string
		mend func()
	}{
		{errs.Forbidden, `"nobody" is not one of the two parties`, func() { party = "bank" }},
		{errs.Refused, "the contract wants train of a gbdt, not train of a logistic",
			func() { c.Operation.Model = enclave.ModelLogistic }},
		{errs.Refused, "groups of at least 10 rows", func() { c.Rule.MinGroup = 1 }},
		{errs.Refused, `reasons are not computed by shares, and "bank"`,
			func() { drop(enclave.Output{To: "bank", What: enclave.OutReasons}) }},
		{errs.Refused, "scores are shown to one party", func() { drop(enclave.Output{To: "shop", What: enclave.OutScores}) }},
		{errs.Refused, `metrics are for "bank"`, func() { drop(enclave.Output{To: "shop", What: enclave.OutMetrics}) }},
		{errs.Refused, "its own part of the model, or none",
			func() { drop(enclave.Output{To: "shop", What: enclave.OutModel}) }},
		{errs.Refused, "points are multiples of 100, and by shares of 28", func() { c.Rule.Round = 28 }},
		{errs.Invalid, `parameter "trees" of 1`, func() { c.Operation.Params[0] = enclave.Param{Name: "steps", Value: 201} }},
		{errs.Invalid, `parameter "steps" of 201`, func() { c.Operation.Params[0].Value = 30 }},
	} {
		_, err := termsOf(c, party)
		if errs.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%v is not of kind %s with %q", err, row.kind, row.want)
		}
		row.mend()
	}
	terms, err := termsOf(c, party)
	if err != nil || terms.steps != 30 || terms.scoresTo != shares.Active || terms.role != shares.Active ||
		terms.weights || terms.metrics || terms.scoreBits != 0 {
		t.Errorf("%+v: %v", terms, err)
	}
}

// TestSharesFailClosed changes what one party brings; neither may have a result.
func TestSharesFailClosed(t *testing.T) {
	for _, row := range []struct {
		want   string
		break_ func(w *world, bank, shop *Data)
	}{
		{"another contract, or rows matched in another session", func(_ *world, bank, _ *Data) { bank.About.Session = "00" }},
		{"another contract, or rows matched in another session", func(_ *world, _, shop *Data) { shop.Tokens[3][0] ^= 1 }},
		{"row 8, column \"outcome\": neither good nor bad", func(_ *world, bank, _ *Data) { bank.Rows[7][3] = "2" }},
		{"row 6, column \"sales\": not a number", func(_ *world, _, shop *Data) { shop.Rows[5][0] = "1e999" }},
		{"the budget is 5", func(w *world, _, _ *Data) { w.contract.Budget.Scores = 5 }},
		{"rows are shared, the contract wants 5000", func(w *world, _, _ *Data) { w.contract.Rule.MinRows = 5000 }},
	} {
		w := invented(t, 1200)
		w.byShares()
		w.bankFile, w.shopFile = wholeRows(w.bankFile, w.shopFile)
		s, _ := w.signed(t)
		bank, shop := w.matched(t, s)
		row.break_(w, bank, shop)
		s.Contract = w.contract
		b, p, errB, errP := w.share(t, s, bank, shop)
		if b != nil || p != nil || errB == nil || errP == nil {
			t.Errorf("%s: a result: %v; %v", row.want, errB, errP)
			continue
		}
		if !strings.Contains(errB.Error()+errP.Error(), row.want) {
			t.Errorf("%v; %v: want %q", errB, errP, row.want)
		}
	}
}

// TestSharesWithoutOutcomes scores rows that have no outcome, and no weights are told.
func TestSharesWithoutOutcomes(t *testing.T) {
	w := invented(t, 1200)
	w.byShares()
	w.contract.Operation.Holdout = 0
	w.contract.Outputs = []enclave.Output{{To: "shop", What: enclave.OutScores}}
	s, _ := w.signed(t)
	bank, shop := w.match(t, s)
	b, p, errB, errP := w.share(t, s, bank, shop)
	if errB != nil || errP != nil {
		t.Fatal(errB, errP)
	}
	if b.Weights != nil || p.Weights != nil || b.Scores != nil || b.Metrics != nil || len(p.Scores) != b.Judged ||
		b.Judged == 0 || b.Learnt+b.Judged != b.Rows {
		t.Errorf("%+v; %+v", b, p)
	}
	for _, v := range p.Scores {
		if at := slices.Index(bank.Tokens, v.Token); bank.Rows[at][3] != "" {
			t.Fatalf("row %d was scored and has an outcome", at)
		}
	}
}

// TestWhiten sees that columns are independent over the rows learnt from, that weights unfold to the
// same sums, and what is dropped.
func TestWhiten(t *testing.T) {
	const rows = 500
	var learn []int32
	base, same, flat, heavy := make([]float64, rows), make([]float64, rows), make([]float64, rows), make([]float64, rows)
	for i := range rows {
		base[i] = math.Sin(float64(i * i))
		same[i] = 3*base[i] - 2
		heavy[i] = base[i] + math.Cos(float64(i*i*i))
		if i%5 > 0 {
			learn = append(learn, int32(i))
		}
	}
	features := []feature{{"base", base}, {"same", same}, {"flat", flat}, {"heavy", heavy}}
	w := whiten(features, rows, learn)
	if !slices.Equal(w.names, []string{"base", "heavy"}) || !slices.Equal(w.dropped, []string{"same", "flat"}) {
		t.Fatalf("kept %v, dropped %v", w.names, w.dropped)
	}
	var sums [3]float64
	for _, row := range learn {
		x, y := w.rows[row][0], w.rows[row][1]
		sums[0], sums[1], sums[2] = sums[0]+x*x, sums[1]+y*y, sums[2]+x*y
	}
	n := float64(len(learn))
	if math.Abs(sums[0]/n-1) > 1e-9 || math.Abs(sums[1]/n-1) > 1e-9 || math.Abs(sums[2]/n) > 1e-9 {
		t.Errorf("variances %f and %f, covariance %f", sums[0]/n, sums[1]/n, sums[2]/n)
	}
	unfolded := w.unfold([]float64{0.7, -0.4})
	for row := range rows {
		white := 0.7*w.rows[row][0] - 0.4*w.rows[row][1]
		raw := unfolded[0]*base[row] + unfolded[1]*heavy[row]
		if math.Abs(white-raw) > 1e-9 {
			t.Fatalf("row %d: %f and %f", row, white, raw)
		}
	}
}

// TestSharesBench measures a small run.
func TestSharesBench(t *testing.T) {
	f, err := SharesBench{Rows: 1000, Judged: 300, Columns: 3, Seed: 1}.Run(t.Context(), wallclock.System())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", f)
	if f.Worst > 5e-3 || f.AUC < f.Plain-2000 || f.Bytes == 0 || f.Transfers == 0 || f.Guarantee != enclave.Math {
		t.Errorf("%+v", f)
	}
	if _, err := (SharesBench{Rows: 1000}).Run(t.Context(), wallclock.System()); !errs.Is(err, errs.Invalid) {
		t.Errorf("no columns: %v", err)
	}
}

// TestTally counts runs, ever and in a day, across a day's end and a damaged file.
func TestTally(t *testing.T) {
	w := invented(t, 1)
	w.byShares()
	w.contract.Budget = enclave.Budget{Runs: 3, Daily: 2, Scores: 1}
	s, _ := w.signed(t)
	fs := vfs.NewMemory()
	if err := fs.MakeDir("runs"); err != nil {
		t.Fatal(err)
	}
	tally := Tally{FS: fs, Dir: "runs"}
	tomorrow := now + clock.Instant(clock.Day)
	for _, row := range []struct {
		at   clock.Instant
		want string
	}{{now, ""}, {now, ""}, {now, "2 runs of 2 were made today"}, {tomorrow, ""}, {tomorrow, "3 runs of 3"}} {
		err := tally.Take(s, row.at)
		if (err == nil) != (row.want == "") || err != nil &&
			(!errs.Is(err, errs.Refused) || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("at %d: %v, want %q", row.at, err, row.want)
		}
	}
	other := s
	other.Digest[0] ^= 1
	if err := tally.Take(other, now); err != nil {
		t.Errorf("another contract: %v", err)
	}
	name := "runs/" + hex.EncodeToString(s.Digest[:]) + ".runs"
	if err := vfs.WriteWhole(fs, name, []byte("yesterday\n")); err != nil {
		t.Fatal(err)
	}
	if err := tally.Take(s, now); !errs.Is(err, errs.Corrupt) {
		t.Errorf("a damaged file: %v", err)
	}
}

// checkReceipt sees that both parties have one receipt, that it fits the contract, and that what it
// commits to opens.
func checkReceipt(t *testing.T, w *world, s enclave.SignedContract, b, p *Shared) {
	t.Helper()
	files := [2][]byte{}
	for i, side := range []*Shared{b, p} {
		side.Receipt.At = now
		if err := s.Fits(side.Receipt); err != nil {
			t.Fatal(err)
		}
		file, err := enclave.SignReceipt(side.Receipt, w.bank.sign, nil)
		if err != nil {
			t.Fatal(err)
		}
		files[i] = file
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Errorf("two receipts: %+v and %+v", b.Receipt, p.Receipt)
	}
	told := slices.Concat(b.Outputs, p.Outputs)
	for _, out := range b.Receipt.Outputs {
		at := slices.IndexFunc(told, func(o Sealed) bool { return o.To == out.To && o.What == out.What })
		if at < 0 || told[at].Digest() != out.SHA256 || told[at].Rows != out.Rows {
			t.Fatalf("the receipt speaks of %+v", out)
		}
		who := w.bank
		if out.To == w.shop.name {
			who = w.shop
		}
		content, err := Open(who.open, s.Digest, b.Receipt.Session, enclave.Output{To: out.To, What: out.What},
			told[at].Content)
		if err != nil || len(content) < 10 {
			t.Errorf("%s for %s: %q, %v", out.What, out.To, content, err)
		}
	}
}
