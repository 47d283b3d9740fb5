package enclave

import (
	"bytes"
	"crypto/ed25519"
	"strings"
	"testing"

	"surety/base/clock"
	"surety/base/errs"
)

const contractDay = clock.Instant(20_000) * clock.Instant(clock.Day)

// jointManifest is an enclave of two parties, as yet bound to nothing.
func jointManifest() *Manifest {
	secret := func(party string, n byte) Layer {
		return Layer{Name: "data-" + party, Kind: Secret, Target: DataTarget + party, Bytes: 8192,
			ID: [16]byte{n}, Root: Digest{n}, Key: party + "-broker/" + party + "/joint/key"}
	}
	public := func(name, target string, n byte) Layer {
		return Layer{Name: name, Kind: Public, Target: target, Bytes: 4096, Digest: [32]byte{n},
			Verity: [32]byte{n}, Salt: LayerSalt(name)}
	}
	return &Manifest{Format: 1, Name: "joint", Product: "joint", SVN: 1, Command: []string{"/surety-joint"},
		Cwd: "/", Network: NetworkNone, Layers: []Layer{public("root", "/", 1),
			public("contract", ContractTarget, 2), secret("bank", 3), secret("shop", 4)},
		Brokers: []Broker{{"bank-broker", KeyID{1}}, {"shop-broker", KeyID{2}}}}
}

func publicOf(name string) []byte { return testKey(name).Public().(ed25519.PublicKey) }

// jointContract is a contract for jointManifest.
func jointContract(t testing.TB) *Contract {
	t.Helper()
	program, err := ProgramDigest(jointManifest())
	if err != nil {
		t.Fatal(err)
	}
	return &Contract{Format: 1, Name: "joint-credit", Parties: []Party{
		{"bank", publicOf("bank"), publicOf("bank seal"), "bank-broker", KeyID{1}},
		{"shop", publicOf("shop"), publicOf("shop seal"), "shop-broker", KeyID{2}}},
		Join:   Join{"telephone", "digits"},
		Target: Target{"bank", "default", "0", "1"},
		Columns: []Column{
			{Party: "bank", Name: "limit", Kind: "numeric", Trend: "rises", Reason: "R1"},
			{Party: "bank", Name: "school", Kind: "categorical", Reason: "R1"},
			{Party: "shop", Name: "paid", Kind: "numeric", Decimals: 2, Special: []int64{-1, 5}, Reason: "R2"}},
		Reasons: []Reason{{"R1", "The limit is low."}, {"R2", "Little was paid."}},
		Operation: Operation{Kind: OpTrain, Model: ModelForest, Seed: 7,
			Params: []Param{{"depth", 3}, {"trees", 50}}, Holdout: 300},
		Program: program, Machines: []TEE{Sim, SNP},
		Outputs: []Output{{"bank", OutMetrics}, {"bank", OutReasons}, {"bank", OutScores}, {"shop", OutMetrics}},
		Rule:    OutputRule{MinRows: 100, MinGroup: 5, Round: 5, Reasons: 2},
		Budget:  Budget{Runs: 3, Daily: 2, Scores: 1000}, Expires: contractDay}
}

func signedFile(t testing.TB, c *Contract, names ...string) []byte {
	t.Helper()
	file, err := c.Propose()
	for _, name := range names {
		if err == nil {
			file, err = SignContract(file, testKey(name))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestContractIsSignedByAll(t *testing.T) {
	c := jointContract(t)
	both := signedFile(t, c, "bank", "shop")
	if other := signedFile(t, c, "shop", "bank", "shop"); !bytes.Equal(both, other) {
		t.Error("the order of signing shows")
	}
	s, err := OpenContract(both, contractDay-1)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := c.Digest()
	if s.Digest != want || s.Contract.Party("shop").ID() != KeyIDOf(publicOf("shop")) ||
		len(s.Contract.ColumnsOf("bank")) != 2 || s.Contract.Party("x") != nil ||
		!s.Contract.Tells("bank", OutScores) || s.Contract.Tells("shop", OutScores) {
		t.Errorf("%+v", s)
	}
	for _, c := range []struct {
		name string
		file []byte
		now  clock.Instant
		kind errs.Kind
		text string
	}{
		{"nobody", signedFile(t, c), 0, errs.Unauthorized, "not signed by bank and shop"},
		{"one", signedFile(t, c, "bank"), 0, errs.Unauthorized, "not signed by shop"},
		{"late", both, contractDay, errs.Refused, "expired at 2024-10-04T00:00:00Z"},
		{"cut", both[:len(both)-1], 0, errs.Corrupt, ""},
		{"longer", append(bytes.Clone(both), 0), 0, errs.Corrupt, ""},
		{"large", make([]byte, MaxSignedContract+1), 0, errs.Corrupt, "the limit is"},
	} {
		if _, err := OpenContract(c.file, c.now); !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := SignContract(both, testKey("stranger")); !errs.Is(err, errs.Forbidden) {
		t.Error(err)
	}
	if _, err := SignContract(both, nil); !errs.Is(err, errs.Invalid) {
		t.Error(err)
	}
	if _, missing, err := ReadContract(signedFile(t, c, "shop")); err != nil || len(missing) != 1 {
		t.Error(missing, err)
	}
}

// TestEveryFlippedBitOfAContractIsRefused flips each bit of a signed contract's file.
func TestEveryFlippedBitOfAContractIsRefused(t *testing.T) {
	file := signedFile(t, jointContract(t), "bank", "shop")
	for i := range file {
		for bit := range 8 {
			file[i] ^= 1 << bit
			if _, err := OpenContract(file, 0); err == nil {
				t.Fatalf("bit %d of byte %d is not missed", bit, i)
			}
			file[i] ^= 1 << bit
		}
	}
}

// TestSignatureIsOfOneContract takes the signatures of one contract to a changed one.
func TestSignatureIsOfOneContract(t *testing.T) {
	file := signedFile(t, jointContract(t), "bank", "shop")
	var s signedContract
	if err := decode(file, &s); err != nil {
		t.Fatal(err)
	}
	c := jointContract(t)
	c.Budget.Runs++
	s.Contract, _ = c.Encode()
	changed, _ := encode(s)
	if _, err := OpenContract(changed, 0); !errs.Is(err, errs.Corrupt) ||
		!strings.Contains(err.Error(), `the signature of "bank" does not hold`) {
		t.Error(err)
	}
	s.Signatures = s.Signatures[1:]
	s.Signatures[0].Party = "nobody"
	changed, _ = encode(s)
	if _, err := OpenContract(changed, 0); !errs.Is(err, errs.Corrupt) {
		t.Error(err)
	}
}

func TestContractCheckRefuses(t *testing.T) {
	for _, c := range []struct {
		text string
		edit func(*Contract)
	}{
		{"format: 2", func(c *Contract) { c.Format = 2 }},
		{"name: \"A\"", func(c *Contract) { c.Name = "A" }},
		{"parties: 1, want", func(c *Contract) { c.Parties = c.Parties[:1] }},
		{"parties: 3, the limit is 2", func(c *Contract) { c.Parties = append(c.Parties, c.Parties[0]) }},
		{"parties[0].name", func(c *Contract) { c.Parties[0].Name = "" }},
		{"parties[0].key: 3 bytes", func(c *Contract) { c.Parties[0].Key = make([]byte, 3) }},
		{"parties[1].seal: 0 bytes", func(c *Contract) { c.Parties[1].Seal = nil }},
		{"parties[0].broker:", func(c *Contract) { c.Parties[0].Broker = "x y" }},
		{"parties[1].broker_key", func(c *Contract) { c.Parties[1].BrokerKey = KeyID{} }},
		{"parties[1].name: \"bank\" does not stand after", func(c *Contract) { c.Parties[1].Name = "bank" }},
		{"parties[1].key: it is also", func(c *Contract) { c.Parties[1].Key = c.Parties[0].Key }},
		{"each party has its own", func(c *Contract) { c.Parties[1].Broker = c.Parties[0].Broker }},
		{"join.name", func(c *Contract) { c.Join.Name = "" }},
		{"join.rule", func(c *Contract) { c.Join.Rule = "soundex" }},
		{"reasons[1].code", func(c *Contract) { c.Reasons[1].Code = "R1" }},
		{"reasons[0].sentence", func(c *Contract) { c.Reasons[0].Sentence = "\n" }},
		{"target.party", func(c *Contract) { c.Target.Party = "x" }},
		{"target.column", func(c *Contract) { c.Target.Column = "\xff" }},
		{"target: \"0\" is both", func(c *Contract) { c.Target.Bad = "0" }},
		{"columns: there are none", func(c *Contract) { c.Columns = nil }},
		{"columns[1].name: \"limit\" is there twice", func(c *Contract) { c.Columns[1].Name = "limit" }},
		{"columns[0].name: \"default\"", func(c *Contract) { c.Columns[0].Name = "default" }},
		{"columns[0].name: \"token\"", func(c *Contract) { c.Columns[0].Name = TokenColumn }},
		{"columns[2].party", func(c *Contract) { c.Columns[2].Party = "x" }},
		{"the party \"shop\" brings none", func(c *Contract) { c.Columns = c.Columns[:2] }},
		{"columns[0].kind", func(c *Contract) { c.Columns[0].Kind = "date" }},
		{"columns[2].decimals: 10", func(c *Contract) { c.Columns[2].Decimals = 10 }},
		{"columns[2].special: -1 does not", func(c *Contract) { c.Columns[2].Special = []int64{5, -1} }},
		{"columns[2].trend", func(c *Contract) { c.Columns[2].Trend = "up" }},
		{"columns[1]: a categorical", func(c *Contract) { c.Columns[1].Trend = "falls" }},
		{"columns[1].reason", func(c *Contract) { c.Columns[1].Reason = "R9" }},
		{"operation.kind", func(c *Contract) { c.Operation.Kind = "peek" }},
		{"operation.model", func(c *Contract) { c.Operation.Model = "net" }},
		{"operation.holdout: 901", func(c *Contract) { c.Operation.Holdout = 901 }},
		{"operation.params[1].name", func(c *Contract) { c.Operation.Params[1].Name = "depth" }},
		{"operation.model_digest: a model that is trained", func(c *Contract) { c.Operation.ModelParty = "bank" }},
		{"operation.model_party", func(c *Contract) { c.Operation.Kind = OpScore }},
		{"operation: a model that is there", func(c *Contract) {
			c.Operation.Kind, c.Operation.ModelParty, c.Operation.ModelDigest = OpScore, "bank", [32]byte{1}
		}},
		{"program: logistic", func(c *Contract) { c.Operation.Model = ModelLogistic }},
		{"program: logistic", func(c *Contract) { c.Program = Digest{} }},
		{"machines: 0", func(c *Contract) { c.Machines = nil }},
		{"machines[0]", func(c *Contract) { c.Machines[0] = "sgx" }},
		{"machines[1]", func(c *Contract) { c.Machines[1] = Sim }},
		{"outputs: nobody", func(c *Contract) { c.Outputs = nil }},
		{"outputs[0].to", func(c *Contract) { c.Outputs[0].To = "x" }},
		{"outputs[0].what", func(c *Contract) { c.Outputs[0].What = "rows" }},
		{"outputs[1].what: reasons go with scores", func(c *Contract) { c.Outputs[2].What = OutModel }},
		{"outputs[3]: it does not stand after", func(c *Contract) { c.Outputs[3] = c.Outputs[0] }},
		{"rule.min_rows: 0", func(c *Contract) { c.Rule.MinRows = 0 }},
		{"rule.min_group: 0", func(c *Contract) { c.Rule.MinGroup = 0 }},
		{"rule.round: 0", func(c *Contract) { c.Rule.Round = 0 }},
		{"rule.reasons: 5", func(c *Contract) { c.Rule.Reasons = 5 }},
		{"budget.runs: 0", func(c *Contract) { c.Budget.Runs = 0 }},
		{"budget.daily: 4", func(c *Contract) { c.Budget.Daily = 4 }},
		{"budget.scores: 0", func(c *Contract) { c.Budget.Scores = 0 }},
		{"expires", func(c *Contract) { c.Expires = 0 }},
	} {
		contract := jointContract(t)
		c.edit(contract)
		if _, err := contract.Encode(); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("want %q, got %v", c.text, err)
		}
	}
}

// bound returns the manifest bound to a signed contract.
func bound(t testing.TB) (SignedContract, *Manifest) {
	t.Helper()
	s, err := OpenContract(signedFile(t, jointContract(t), "bank", "shop"), 0)
	if err != nil {
		t.Fatal(err)
	}
	m := jointManifest()
	m.Contract = s.Digest
	m.Layers[1].Digest, m.Layers[1].Verity, m.Layers[1].Bytes = [32]byte{9}, [32]byte{9}, 8192
	m.Layers[2].Root, m.Layers[2].ID, m.Layers[2].Bytes = Digest{8}, [16]byte{8}, 1<<20
	return s, m
}

func TestBinds(t *testing.T) {
	s, m := bound(t)
	if err := s.Binds(m); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		edit func(*Contract, *Manifest)
	}{
		{"the manifest is bound to", func(_ *Contract, m *Manifest) { m.Contract = Digest{1} }},
		{"the program is", func(_ *Contract, m *Manifest) { m.Layers[0].Digest[5] ^= 1 }},
		{"the program is", func(_ *Contract, m *Manifest) { m.Command[0] = "/other" }},
		{"the program is", func(_ *Contract, m *Manifest) { m.Brokers[0].Key = KeyID{9} }},
		{"debug build", func(c *Contract, m *Manifest) { m.Debug = true; mean(t, c, m) }},
		{"network", func(c *Contract, m *Manifest) { m.Network = NetworkStack; mean(t, c, m) }},
		{"whoever starts", func(c *Contract, m *Manifest) { m.Args = true; mean(t, c, m) }},
		{"1 secret layers", func(c *Contract, m *Manifest) { m.Layers = m.Layers[:3]; mean(t, c, m) }},
		{"does not pin the broker", func(c *Contract, m *Manifest) { m.Brokers[1].Key = KeyID{9}; mean(t, c, m) }},
		{"no secret layer at /data/shop", func(c *Contract, m *Manifest) {
			m.Layers[3].Key = m.Layers[2].Key
			mean(t, c, m)
		}},
	} {
		s, m := bound(t)
		c.edit(s.Contract, m)
		if err := s.Binds(m); !errs.Is(err, errs.Refused) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("want %q, got %v", c.text, err)
		}
	}
}

// mean makes a contract name a changed program, to see what is refused all the same.
func mean(t *testing.T, c *Contract, m *Manifest) {
	t.Helper()
	var err error
	if c.Program, err = ProgramDigest(m); err != nil {
		t.Fatal(err)
	}
}

func jointReceipt(s SignedContract, m *Manifest) *Receipt {
	r := &Receipt{Format: 1, Run: "run-1", At: 1, Contract: s.Digest, Program: s.Contract.Program,
		Measure: Digest{1}, Signer: KeyID{1}, Product: m.Product, SVN: m.SVN, TEE: Sim, Guarantee: Simulated,
		Session: [32]byte{1}, Rows: 500, Inputs: []ReceiptInput{{"bank", Digest{1}, 600, "t", "r"},
			{"shop", Digest{2}, 500, "t", "r"}}, Model: [32]byte{1}}
	for _, o := range s.Contract.Outputs {
		r.Outputs = append(r.Outputs, ReceiptOutput{To: o.To, What: o.What, SHA256: [32]byte{1}, Rows: 150})
	}
	return r
}

func TestReceipt(t *testing.T) {
	s, m := bound(t)
	file, err := SignReceipt(jointReceipt(s, m), testKey("run"), []byte("evidence"))
	if err != nil {
		t.Fatal(err)
	}
	r, key, evidence, err := OpenReceipt(file)
	if err != nil || !bytes.Equal(key, publicOf("run")) || string(evidence) != "evidence" {
		t.Fatal(r, key, evidence, err)
	}
	if err := s.Fits(r); err != nil {
		t.Error(err)
	}
	for i := range file[:len(file)-len("evidence")-30] { // what is behind is evidence, verified elsewhere
		file[i] ^= 0x10
		if _, again, _, err := OpenReceipt(file); err == nil && bytes.Equal(again, key) {
			t.Fatalf("byte %d is not missed", i)
		}
		file[i] ^= 0x10
	}
}

func TestReceiptRefusals(t *testing.T) {
	for _, c := range []struct {
		text string
		edit func(*Receipt)
	}{
		{"format: 0", func(r *Receipt) { r.Format = 0 }},
		{"run: ", func(r *Receipt) { r.Run = "" }},
		{"contract: it is missing", func(r *Receipt) { r.Contract = Digest{} }},
		{"inputs: 1", func(r *Receipt) { r.Inputs = r.Inputs[:1] }},
		{"does not give \"hardware\"", func(r *Receipt) { r.Guarantee = Hardware }},
		{"math needs no machine", func(r *Receipt) { r.Guarantee = Math }},
		{"measure: it is missing", func(r *Receipt) { r.Measure = Digest{} }},
	} {
		s, m := bound(t)
		r := jointReceipt(s, m)
		c.edit(r)
		if _, err := SignReceipt(r, testKey("run"), []byte("e")); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("want %q, got %v", c.text, err)
		}
	}
	for _, c := range []struct {
		text string
		edit func(*Receipt)
	}{
		{"of contract", func(r *Receipt) { r.Contract = Digest{5} }},
		{"2 inputs and 3 outputs", func(r *Receipt) { r.Outputs = r.Outputs[:3] }},
		{"input 1", func(r *Receipt) { r.Inputs[1].Rows = 4 }},
		{"input 0", func(r *Receipt) { r.Inputs[0].Root = Digest{} }},
		{"output 2", func(r *Receipt) { r.Outputs[2].To = "shop" }},
		{"1001 scores, the budget is 1000", func(r *Receipt) { r.Outputs[2].Rows = 1001 }},
		{"99 rows", func(r *Receipt) { r.Rows = 99 }},
		{"500 rows at 2024-10-04T00:00:00Z", func(r *Receipt) { r.At = contractDay }},
	} {
		s, m := bound(t)
		r := jointReceipt(s, m)
		c.edit(r)
		if err := s.Fits(r); !errs.Is(err, errs.Refused) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("want %q, got %v", c.text, err)
		}
	}
}

func FuzzOpenContract(f *testing.F) {
	f.Add(signedFile(f, jointContract(f), "bank", "shop"))
	f.Add(signedFile(f, jointContract(f)))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, missing, err := ReadContract(file)
		if err != nil {
			return
		}
		again, err := s.Contract.Encode()
		if err != nil || !bytes.Equal(again, s.Bytes) || len(missing) > 2 {
			t.Fatalf("read %x, encodes %x, %v", s.Bytes, again, err)
		}
	})
}

func FuzzOpenReceipt(f *testing.F) {
	s, m := bound(f)
	file, _ := SignReceipt(jointReceipt(s, m), testKey("run"), []byte("evidence"))
	f.Add(file)
	f.Fuzz(func(t *testing.T, file []byte) {
		if r, _, _, err := OpenReceipt(file); err == nil && r.Check() != nil {
			t.Fatal("an open receipt contradicts itself")
		}
	})
}
