package joint

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/psi"
	"surety/lending/score"
	"surety/lending/score/evaluate"
	"surety/lending/score/portable"
)

const (
	now    = clock.Instant(20_000) * clock.Instant(clock.Day)
	expiry = now + clock.Instant(clock.Day)
)

// person has the keys of one party.
type person struct {
	name string
	sign ed25519.PrivateKey
	open *ecdh.PrivateKey
}

func newPerson(t testing.TB, name string) person {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	open, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	return person{name, ed25519.NewKeyFromSeed(seed[:]), open}
}

func (p person) party() enclave.Party {
	return enclave.Party{Name: p.name, Key: p.sign.Public().(ed25519.PublicKey), Seal: p.open.PublicKey().Bytes(),
		Broker: p.name + "-broker", BrokerKey: enclave.KeyIDOf(p.sign.Public().(ed25519.PublicKey))}
}

// world is two parties, what each has, and a contract.
type world struct {
	bank, shop person
	contract   *enclave.Contract
	bankFile   string // CSV
	shopFile   string
	bankID     string
	shopID     string
	synthetic  bool
}

func sameColumns(party, kind, trend, reason string, names ...string) []enclave.Column {
	var columns []enclave.Column
	for _, name := range names {
		columns = append(columns, enclave.Column{Party: party, Name: name, Kind: kind, Trend: trend, Reason: reason})
	}
	return columns
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{bank: newPerson(t, "bank"), shop: newPerson(t, "shop"), bankID: "ID", shopID: "ID"}
	w.contract = &enclave.Contract{Format: 1, Name: "joint", Parties: []enclave.Party{w.bank.party(), w.shop.party()},
		Join: enclave.Join{Name: "customer number", Rule: "digits"}, Program: enclave.DigestOf([]byte("program")),
		Machines:  []enclave.TEE{enclave.Sim},
		Operation: enclave.Operation{Kind: enclave.OpTrain, Model: enclave.ModelForest, Seed: 42, Holdout: 300},
		Outputs: []enclave.Output{{To: "bank", What: enclave.OutMetrics}, {To: "bank", What: enclave.OutReasons},
			{To: "bank", What: enclave.OutScores}, {To: "shop", What: enclave.OutModel}},
		Rule:    enclave.OutputRule{MinRows: 100, MinGroup: 10, Round: 5, Reasons: 2},
		Budget:  enclave.Budget{Runs: 1, Scores: 20_000},
		Reasons: []enclave.Reason{{Code: "R1", Sentence: "The bank's view."}, {Code: "R2", Sentence: "The shop's view."}},
		Expires: expiry}
	return w
}

// invented is a world whose customers are drawn from a seed: each party's columns say half.
func invented(t testing.TB, rows int) *world {
	w := newWorld(t)
	w.synthetic = true
	c := w.contract
	c.Operation.Params = []enclave.Param{{Name: "trees", Value: 40}}
	c.Target = enclave.Target{Party: "bank", Column: "outcome", Good: "0", Bad: "1"}
	c.Columns = slices.Concat(sameColumns("bank", "numeric", "", "R1", "debt", "age"),
		sameColumns("bank", "categorical", "", "R1", "branch"),
		sameColumns("shop", "numeric", "", "R2", "sales", "returns"))
	stream := portable.NewStream(7)
	var bank, shop strings.Builder
	bank.WriteString("ID,debt,age,branch,outcome,secret\n")
	shop.WriteString("sales,returns,ID\n")
	for i := range rows {
		debt, sales := int(stream.Below(1000)), int(stream.Below(1000))
		outcome := "0"
		if int64(debt-sales)+stream.Below(1200) > 900 {
			outcome = "1"
		}
		if i%10 == 9 {
			outcome = ""
		}
		if i%8 != 0 {
			fmt.Fprintf(&bank, "0%06d,%d,%d,\"B %d\",%s,planted-value\n", i, debt, stream.Below(60), stream.Below(3), outcome)
		}
		if i%7 != 0 {
			fmt.Fprintf(&shop, "%d,%d,0-%06d\n", sales, stream.Below(9), i)
		}
	}
	w.bankFile, w.shopFile = bank.String(), shop.String()
	return w
}

// taiwan is a world of the public file, whose columns are split between the parties; nil where the
// file is not at hand.
func taiwan(t testing.TB, rows int) *world {
	t.Helper()
	name := filepath.Join("..", "..", "..", "shared", "data", "taiwan_default.csv")
	if dir := os.Getenv("SURETY_DATA"); dir != "" {
		name = filepath.Join(dir, "taiwan_default.csv")
	}
	content, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Log("taiwan_default.csv is not at hand (set SURETY_DATA): synthetic customers instead")
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	all, err := csv.NewReader(bytes.NewReader(content)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	c := w.contract
	c.Operation.Params = []enclave.Param{{Name: "trees", Value: 150}}
	c.Target = enclave.Target{Party: "bank", Column: "default.payment.next.month", Good: "0", Bad: "1"}
	c.Columns = slices.Concat(sameColumns("bank", "numeric", "rises", "R1", "LIMIT_BAL"),
		sameColumns("bank", "categorical", "", "R1", "EDUCATION"),
		[]enclave.Column{{Party: "bank", Name: "PAY_0", Kind: "numeric", Special: []int64{-2, -1}, Reason: "R1"}},
		sameColumns("shop", "numeric", "", "R2", "BILL_AMT1", "BILL_AMT2", "BILL_AMT3", "BILL_AMT4",
			"BILL_AMT5", "BILL_AMT6"),
		sameColumns("shop", "numeric", "rises", "R2", "PAY_AMT1", "PAY_AMT2", "PAY_AMT3", "PAY_AMT4", "PAY_AMT5", "PAY_AMT6"))
	w.bankFile = splitFile(all[:min(rows+1, len(all))], Columns(c, "bank"), 0)
	w.shopFile = splitFile(all[:min(rows+1, len(all))], Columns(c, "shop"), 1)
	return w
}

// splitFile keeps some columns, and nine of ten rows.
func splitFile(all [][]string, columns []string, off int) string {
	var b bytes.Buffer
	out := csv.NewWriter(&b)
	for i, row := range all {
		if i > 0 && (i+off)%10 == 0 {
			continue
		}
		kept := []string{row[0]}
		for _, name := range columns {
			kept = append(kept, row[slices.Index(all[0], name)])
		}
		_ = out.Write(kept)
	}
	out.Flush()
	return b.String()
}

// signed returns the contract signed by both, and its file.
func (w *world) signed(t testing.TB) (enclave.SignedContract, []byte) {
	t.Helper()
	file, err := w.contract.Propose()
	for _, p := range []person{w.bank, w.shop} {
		if err == nil {
			file, err = enclave.SignContract(file, p.sign)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := enclave.OpenContract(file, now)
	if err != nil {
		t.Fatal(err)
	}
	return s, file
}

// match runs the parties against each other over a socket of this machine.
func (w *world) match(t testing.TB, s enclave.SignedContract) (bank, shop *Data) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var shopErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			shopErr = err
			return
		}
		defer conn.Close()
		shop, shopErr = w.side(t, conn, s, w.shop, w.shopFile, w.shopID)
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	bank, err = w.side(t, conn, s, w.bank, w.bankFile, w.bankID)
	<-done
	if err != nil || shopErr != nil {
		t.Fatal(err, shopErr)
	}
	return bank, shop
}

func (w *world) side(t testing.TB, conn net.Conn, s enclave.SignedContract, p person, file, id string) (*Data, error) {
	table, err := ReadTable(strings.NewReader(file), id, s.Contract, p.name)
	if err != nil {
		return nil, err
	}
	secure, err := Secure(t.Context(), conn, s, p.sign)
	if err != nil {
		return nil, err
	}
	m, err := Match(t.Context(), secure, s, p.name, table.IDs)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := m.Write(&b); err != nil {
		return nil, err
	}
	if m, err = ReadMatches(&b); err != nil {
		return nil, err
	}
	return Prepare(s, p.name, table, m)
}

// files lays data out as an enclave sees it.
func files(t testing.TB, all ...*Data) fstest.MapFS {
	t.Helper()
	tree := fstest.MapFS{}
	for _, d := range all {
		content, err := d.Files()
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range content {
			tree[d.About.Party+"/"+name] = &fstest.MapFile{Data: data}
		}
	}
	return tree
}

func contractFS(file []byte) fstest.MapFS {
	return fstest.MapFS{ContractFile: &fstest.MapFile{Data: file}}
}

// open opens one output of an answer.
func (p person) opens(t testing.TB, a *Answer, what string) []byte {
	t.Helper()
	session, _ := hex.DecodeString(a.Session)
	for _, o := range a.Outputs {
		if o.To == p.name && o.What == what {
			content, err := Open(p.open, a.Contract, [32]byte(session), enclave.Output{To: o.To, What: o.What}, o.Content)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
	t.Fatalf("nobody tells %s the %s", p.name, what)
	return nil
}

func TestJointIsThePlaintextModel(t *testing.T) {
	w := taiwan(t, 12_000)
	if w == nil {
		w = invented(t, 8000)
	}
	s, file := w.signed(t)
	bank, shop := w.match(t, s)
	inside, err := Compute(contractFS(file), files(t, bank, shop), now)
	if err != nil {
		t.Fatal(err)
	}
	var figures Figures
	if err := json.Unmarshal(w.bank.opens(t, inside, enclave.OutMetrics), &figures); err != nil {
		t.Fatal(err)
	}
	plain, err := Join(s.Contract, []*Data{bank, shop})
	if err != nil {
		t.Fatal(err)
	}
	auc := func(parties ...string) evaluate.Micro {
		m, err := plain.Fit(parties...)
		if err != nil {
			t.Fatal(err)
		}
		metrics, err := plain.Measure(m)
		if err != nil {
			t.Fatal(err)
		}
		return metrics.AUC
	}
	joint, bankAlone, shopAlone := auc(), auc("bank"), auc("shop")
	t.Logf("rows %d: bank alone %s, shop alone %s, joint %s, joint in the enclave's program %s",
		inside.Rows, bankAlone, shopAlone, joint, figures.Measured.AUC)
	if off := figures.Measured.AUC - joint; off > 500 || off < -500 {
		t.Errorf("inside %s, outside %s", figures.Measured.AUC, joint)
	}
	if joint < bankAlone+10_000 || joint < shopAlone+10_000 {
		t.Errorf("joint %s is not well above %s and %s", joint, bankAlone, shopAlone)
	}
	model, err := score.Load(w.shop.opens(t, inside, enclave.OutModel))
	if err != nil || model.DigestText() != inside.Model || figures.Model != inside.Model {
		t.Error(model, err)
	}
	checkScores(t, w, inside, plain)
}

// checkScores holds what the bank is told against the contract.
func checkScores(t *testing.T, w *world, a *Answer, plain *Joined) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(string(w.bank.opens(t, a, enclave.OutScores))), "\n")
	reasons := strings.Split(strings.TrimSpace(string(w.bank.opens(t, a, enclave.OutReasons))), "\n")
	if want := len(plain.Held) + len(plain.Blank) + 1; len(lines) != want || len(reasons) != want {
		t.Fatalf("%d lines of scores, %d of reasons, want %d", len(lines), len(reasons), want)
	}
	points, families := map[string]int{}, map[string]int{}
	for i := range lines[1:] {
		_, p, _ := strings.Cut(lines[i+1], ",")
		_, r, _ := strings.Cut(reasons[i+1], ",")
		n, err := strconv.Atoi(p)
		if err != nil || n%5 != 0 || strings.Count(r, "|") > 1 || strings.Trim(r, "R12|") != "" {
			t.Fatalf("%q, %q", lines[i+1], reasons[i+1])
		}
		points[p]++
		families[r]++
	}
	for p, n := range points {
		if n < 10 {
			t.Errorf("%d rows alone have %s points", n, p)
		}
	}
	for r, n := range families {
		if r != "" && n < 10 {
			t.Errorf("%d rows alone have the reasons %q", n, r)
		}
	}
}

// TestSameBytes sees that the same data gives the same model and the same files.
func TestSameBytes(t *testing.T) {
	w := invented(t, 3000)
	s, file := w.signed(t)
	bank, shop := w.match(t, s)
	data := files(t, bank, shop)
	first, err := Compute(contractFS(file), data, now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Compute(contractFS(file), data, now)
	if err != nil || first.Model != second.Model || first.Rows != second.Rows {
		t.Fatal(err, first.Model, second.Model)
	}
	for _, what := range []string{enclave.OutScores, enclave.OutReasons, enclave.OutMetrics} {
		if !bytes.Equal(w.bank.opens(t, first, what), w.bank.opens(t, second, what)) {
			t.Errorf("%s differ", what)
		}
	}
	for _, f := range data {
		if bytes.Contains(f.Data, []byte("planted-value")) {
			t.Error("a column that the contract does not name is in the data")
		}
	}
}

// TestScoreWithAModelThatIsThere trains under one contract and scores under another.
func TestScoreWithAModelThatIsThere(t *testing.T) {
	w := invented(t, 3000)
	s, file := w.signed(t)
	bank, shop := w.match(t, s)
	trained, err := Compute(contractFS(file), files(t, bank, shop), now)
	if err != nil {
		t.Fatal(err)
	}
	model := w.shop.opens(t, trained, enclave.OutModel)
	digest, _ := hex.DecodeString(trained.Model)
	w.contract.Operation = enclave.Operation{Kind: enclave.OpScore, Model: enclave.ModelForest, ModelParty: "shop",
		ModelDigest: [32]byte(digest)}
	s, file = w.signed(t)
	bank, shop = w.match(t, s)
	shop.Model = model
	scored, err := Compute(contractFS(file), files(t, bank, shop), now)
	if err != nil || scored.Model != trained.Model || scored.Outputs[2].Rows != scored.Rows {
		t.Fatal(scored, err)
	}
	shop.Model = bytes.Replace(model, []byte("joint"), []byte("jaint"), 1)
	if _, err := Compute(contractFS(file), files(t, bank, shop), now); err == nil {
		t.Error("another model is taken")
	}
}

func TestComputeFailsClosed(t *testing.T) {
	for _, c := range []struct {
		name  string
		terms func(*enclave.Contract)
		data  func(bank, shop *Data)
		file  func([]byte) []byte
		now   clock.Instant
		kind  errs.Kind
		text  string
	}{
		{name: "no contract", file: func([]byte) []byte { return nil }, kind: errs.Corrupt},
		{name: "changed contract", file: func(f []byte) []byte {
			return bytes.Replace(f, []byte("customer number"), []byte("customer Number"), 1)
		}, kind: errs.Corrupt, text: "does not hold"},
		{name: "expired", now: expiry, kind: errs.Refused, text: "expired"},
		{name: "budget", terms: func(c *enclave.Contract) { c.Budget.Scores = 10 }, kind: errs.Refused,
			text: "the budget is 10"},
		{name: "rows", terms: func(c *enclave.Contract) { c.Rule.MinRows = 5000 }, kind: errs.Refused,
			text: "the contract wants 5000"},
		{name: "group", terms: func(c *enclave.Contract) { c.Rule.MinGroup = 5000 }, kind: errs.Refused,
			text: "the least group is 5000"},
		{name: "parameter", terms: func(c *enclave.Contract) { c.Operation.Params[0].Name = "width" },
			kind: errs.Invalid, text: `no parameter "width"`},
		{name: "shares", terms: func(c *enclave.Contract) {
			c.Operation.Model, c.Program, c.Machines = enclave.ModelLogistic, enclave.Digest{}, nil
		}, kind: errs.Invalid, text: "computed by shares"},
		{name: "other contract's data", data: func(bank, _ *Data) { bank.About.Contract[0] ^= 1 },
			kind: errs.Refused, text: `want "bank" under`},
		{name: "other party's data", data: func(bank, _ *Data) { bank.About.Party, bank.Columns[0] = "bank", "sales" },
			kind: errs.Corrupt, text: "other columns"},
		{name: "other session", data: func(_, shop *Data) { shop.About.Session = strings.Repeat("ab", 32) },
			kind: errs.Refused, text: "session"},
		{name: "a row more", data: func(bank, _ *Data) { bank.About.Rows++ }, kind: errs.Corrupt, text: "and says"},
		{name: "a row twice", data: func(bank, _ *Data) { bank.Tokens[1] = bank.Tokens[0] }, kind: errs.Corrupt,
			text: "row 2: its token"},
		{name: "no number", data: func(bank, _ *Data) {
			bank.Rows[3] = slices.Clone(bank.Rows[3])
			bank.Rows[3][0] = "4711-x"
		},
			kind: errs.Invalid, text: `column "debt"`},
	} {
		w := invented(t, 1500)
		if c.terms != nil {
			c.terms(w.contract)
		}
		s, file := w.signed(t)
		bank, shop := w.match(t, s)
		if c.data != nil {
			c.data(bank, shop)
		}
		if c.file != nil {
			file = c.file(file)
		}
		a, err := Compute(contractFS(file), files(t, bank, shop), max(c.now, now))
		if a != nil || !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) ||
			strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: %v (kind %v)", c.name, err, errs.KindOf(err))
		}
	}
}

// TestNothingLeavesUnsealed looks for tokens, values and planted texts in the answer.
func TestNothingLeavesUnsealed(t *testing.T) {
	w := invented(t, 1500)
	s, file := w.signed(t)
	bank, shop := w.match(t, s)
	a, err := Compute(contractFS(file), files(t, bank, shop), now)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := a.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, token := range bank.Tokens {
		if bytes.Contains(b.Bytes(), []byte(hex.EncodeToString(token[:]))) {
			t.Fatal("a token is in the answer")
		}
	}
	for _, o := range a.Outputs {
		if bytes.Contains(o.Content, []byte("points")) || bytes.Contains(o.Content, []byte("auc")) {
			t.Errorf("%s for %s can be read", o.What, o.To)
		}
	}
	session, _ := hex.DecodeString(a.Session)
	if _, err := Open(w.shop.open, a.Contract, [32]byte(session), enclave.Output{To: "bank", What: enclave.OutMetrics},
		a.Outputs[0].Content); !errs.Is(err, errs.Corrupt) {
		t.Error("the shop opens what is the bank's:", err)
	}
	again, err := ReadAnswer(b.Bytes(), s)
	if err != nil || again.Rows != a.Rows {
		t.Fatal(err)
	}
	var r enclave.Receipt
	if err := again.Account(&r); err != nil || r.Rows != a.Rows || r.Outputs[0].SHA256 != a.Outputs[0].Digest() {
		t.Error(r, err)
	}
	other := s
	other.Digest[3] ^= 1
	for _, c := range []struct {
		data []byte
		s    enclave.SignedContract
		kind errs.Kind
	}{
		{b.Bytes(), other, errs.Refused}, {b.Bytes()[:b.Len()-9], s, errs.Corrupt}, {nil, s, errs.Corrupt},
		{append(bytes.Clone(b.Bytes()), "{}"...), s, errs.Corrupt},
		{bytes.Replace(b.Bytes(), []byte(`"model"`), []byte(`"madel"`), 1), s, errs.Corrupt},
	} {
		if _, err := ReadAnswer(c.data, c.s); !errs.Is(err, c.kind) {
			t.Error(err)
		}
	}
}

func TestSecureTakesTheContractsKeysAlone(t *testing.T) {
	w := invented(t, 100)
	s, _ := w.signed(t)
	for _, c := range []struct {
		name  string
		other person
	}{{"stranger", newPerson(t, "stranger")}} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				return
			}
			defer conn.Close()
			// A stranger who knows the protocol, and not the key.
			forged := s
			contract := *s.Contract
			contract.Parties = slices.Clone(contract.Parties)
			contract.Parties[1] = c.other.party()
			forged.Contract = &contract
			_, _ = Secure(t.Context(), conn, forged, c.other.sign)
		}()
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Secure(t.Context(), conn, s, w.bank.sign); err == nil {
			t.Errorf("%s is taken for the shop", c.name)
		}
		conn.Close()
		<-done
		listener.Close()
	}
	if _, err := Secure(t.Context(), nil, s, newPerson(t, "x").sign); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
}

func TestReadTableRefuses(t *testing.T) {
	w := invented(t, 100)
	for _, c := range []struct{ file, text string }{
		{"", "the file is empty"},
		{"ID,debt\n", `no column "age"`},
		{"debt,age,branch,outcome\n", `no column "ID"`},
		{"ID,debt,age,branch,outcome\n1,2\n", "row 1"},
		{"ID,debt,age,branch,outcome\n1,2,3,\"a\"\"b\",0\n", "quotation mark"},
		{"ID,debt,age,branch,outcome\n1,2,3," + strings.Repeat("x", MaxCell+1) + ",0\n", "a value of 513 bytes"},
	} {
		_, err := ReadTable(strings.NewReader(c.file), "ID", w.contract, "bank")
		if !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%.40q: %v", c.file, err)
		}
	}
}

func TestGroups(t *testing.T) {
	v := make([]Verdict, 0)
	add := func(points int32, n int) {
		for range n {
			v = append(v, Verdict{Points: points, Reasons: []string{"A", strconv.Itoa(int(points))}})
		}
	}
	add(-3, 1)
	add(4, 2)
	add(7, 3)
	add(12, 4)
	add(19, 1)
	if err := coarsen(enclave.OutputRule{MinGroup: 3, Round: 5, Reasons: 2}, v); err != nil {
		t.Fatal(err)
	}
	got := map[int32]int{}
	for _, one := range v {
		got[one.Points]++
	}
	if fmt.Sprint(got) != "map[-5:3 5:3 10:5]" { // 19 is alone, and joins 12
		t.Error(got)
	}
	if len(v[0].Reasons) != 1 || len(v[4].Reasons) != 2 {
		t.Error(v[0], v[4])
	}
	if err := coarsen(enclave.OutputRule{MinGroup: 12, Round: 5}, v); !errs.Is(err, errs.Refused) {
		t.Error(err)
	}
}

func FuzzReadMatches(f *testing.F) {
	var b bytes.Buffer
	m := Matches{Contract: enclave.DigestOf(nil), Rows: []psi.Match{{Row: 3, Token: psi.Token{1}},
		{Row: 1, Token: psi.Token{2}}}}
	if err := m.Write(&b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadMatches(strings.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := m.Write(&out); err != nil {
			t.Fatal(err)
		}
		if again, err := ReadMatches(&out); err != nil || len(again.Rows) != len(m.Rows) {
			t.Fatal(err)
		}
	})
}

func TestIsProgram(t *testing.T) {
	if !IsProgram([]string{"/bin/surety-joint"}) || IsProgram([]string{"surety"}) || IsProgram(nil) {
		t.Error("another program")
	}
	var b bytes.Buffer
	if err := serve(&b, now); err == nil || b.Len() > 0 { // nothing is mounted here
		t.Error(err, b.String())
	}
}
