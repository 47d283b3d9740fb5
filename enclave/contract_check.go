package enclave

import (
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"surety/base/errs"
)

// Check returns the first term that makes no sense, by its CBOR name: kind Invalid or TooLarge.
func (c *Contract) Check() error {
	t := &terms{contract: c}
	t.ok(c.Format == FormatNow, "format", "%d, want %d", c.Format, FormatNow)
	t.ok(ValidName(c.Name), "name", "%.80q is no name", c.Name)
	t.parties()
	t.text("join.name", c.Join.Name)
	t.one("join.rule", c.Join.Rule, "exact", "text", "digits")
	t.reasons()
	t.columns()
	t.operation()
	t.machines()
	t.outputs()
	t.rule()
	t.ok(c.Expires > 0, "expires", "it is missing: a contract ends")
	return t.err
}

// terms remembers the first term that is wrong.
type terms struct {
	contract *Contract
	err      error
}

func (t *terms) ok(good bool, name, format string, args ...any) {
	if !good && t.err == nil {
		t.err = errs.New(errs.Invalid, "enclave.contract: %s: %s", name, fmt.Sprintf(format, args...))
	}
}

func (t *terms) most(name string, n, limit int) bool {
	if n > limit && t.err == nil {
		t.err = errs.New(errs.TooLarge, "enclave.contract: %s: %d, the limit is %d", name, n, limit)
	}
	return n <= limit
}

// text checks a short text for people and files: printable enough to stand in one line.
func (t *terms) text(name, text string) {
	t.most(name, len(text), MaxTerm)
	t.ok(text != "" && utf8.ValidString(text), name, "%.80q is empty or no UTF-8", text)
	t.ok(!slices.ContainsFunc([]byte(text), func(b byte) bool { return b < ' ' || b == 0x7f }), name,
		"%.80q has control characters", text)
}

func (t *terms) one(name, text string, of ...string) {
	t.ok(slices.Contains(of, text), name, "%.40q, want one of %q", text, of)
}

// within checks a count against its bounds.
func (t *terms) within(name string, n, low, high uint64) {
	t.ok(n >= low && n <= high, name, "%d, want %d to %d", n, low, high)
}

func (t *terms) party(name, party string) {
	t.ok(t.contract.Party(party) != nil, name, "%.80q is none of the parties", party)
}

func (t *terms) parties() {
	all := t.contract.Parties
	t.ok(len(all) >= 2, "parties", "%d, want at least 2", len(all))
	t.most("parties", len(all), MaxParties)
	for i := range all {
		p, at := &all[i], field("parties", i)
		t.ok(ValidName(p.Name), at+".name", "%.80q is no name", p.Name)
		t.ok(len(p.Key) == contractKeyBytes, at+".key", "%d bytes, want %d", len(p.Key), contractKeyBytes)
		t.ok(len(p.Seal) == contractKeyBytes, at+".seal", "%d bytes, want %d", len(p.Seal),
			contractKeyBytes)
		t.ok(ValidName(p.Broker), at+".broker", "%.80q is no name", p.Broker)
		t.ok(!p.BrokerKey.IsZero(), at+".broker_key", "it is missing")
		for _, before := range all[:i] {
			t.ok(before.Name < p.Name, at+".name", "%q does not stand after %q", p.Name, before.Name)
			t.ok(string(before.Key) != string(p.Key), at+".key", "it is also that of %q", before.Name)
			t.ok(before.Broker != p.Broker, at+".broker", "%q is also that of %q: each party has its own",
				p.Broker, before.Name)
		}
	}
}

func (t *terms) reasons() {
	all := t.contract.Reasons
	t.most("reasons", len(all), MaxStrings)
	for i, r := range all {
		at := field("reasons", i)
		t.text(at+".code", r.Code)
		t.text(at+".sentence", r.Sentence)
		t.ok(i == 0 || all[max(i, 1)-1].Code < r.Code, at+".code", "%.80q does not stand after the one before",
			r.Code)
	}
}

func (t *terms) columns() {
	target, all := t.contract.Target, t.contract.Columns
	t.party("target.party", target.Party)
	t.text("target.column", target.Column)
	t.text("target.good", target.Good)
	t.text("target.bad", target.Bad)
	t.ok(target.Good != target.Bad, "target", "%.80q is both good and bad", target.Good)
	t.ok(len(all) > 0, "columns", "there are none")
	t.most("columns", len(all), MaxStrings)
	seen := map[string]bool{target.Column: true, TokenColumn: true}
	for i := range all {
		column, at := &all[i], field("columns", i)
		t.ok(!seen[column.Name], at+".name", "%.80q is there twice, the target, or %q", column.Name,
			TokenColumn)
		seen[column.Name] = true
		t.column(at, column)
	}
	for _, p := range t.contract.Parties {
		t.ok(p.Name == target.Party || len(t.contract.ColumnsOf(p.Name)) > 0, "columns",
			"the party %q brings none", p.Name)
	}
}

// TokenColumn is the column by which parties' rows are joined; no other may have its name.
const TokenColumn = "token"

func (t *terms) column(at string, c *Column) {
	t.party(at+".party", c.Party)
	t.text(at+".name", c.Name)
	t.one(at+".kind", c.Kind, "numeric", "categorical")
	t.within(at+".decimals", c.Decimals, 0, maxDecimals)
	t.most(at+".special", len(c.Special), MaxSpecial)
	for i := 1; i < len(c.Special); i++ {
		t.ok(c.Special[i-1] < c.Special[i], at+".special", "%d does not stand after %d", c.Special[i],
			c.Special[i-1])
	}
	t.one(at+".trend", c.Trend, "", "rises", "falls")
	t.ok(c.Kind == "numeric" || c.Decimals == 0 && len(c.Special) == 0 && c.Trend == "", at,
		"a categorical column has no decimals, special values or trend")
	known := slices.ContainsFunc(t.contract.Reasons, func(r Reason) bool { return r.Code == c.Reason })
	t.ok(known, at+".reason", "%.80q is none of the reasons", c.Reason)
}

func (t *terms) operation() {
	o := &t.contract.Operation
	t.one("operation.kind", o.Kind, OpTrain, OpScore)
	t.one("operation.model", o.Model, ModelCard, ModelForest, ModelLogistic)
	t.within("operation.seed", o.Seed, 0, math.MaxInt64)
	t.within("operation.holdout", o.Holdout, 0, 900)
	t.most("operation.params", len(o.Params), MaxParams)
	for i, p := range o.Params {
		at := field("operation.params", i)
		t.text(at+".name", p.Name)
		t.ok(i == 0 || o.Params[max(i, 1)-1].Name < p.Name, at+".name",
			"%.80q does not stand after the one before", p.Name)
	}
	if o.Kind == OpScore {
		t.party("operation.model_party", o.ModelParty)
		t.ok(o.ModelDigest != [32]byte{}, "operation.model_digest", "it is missing")
		t.ok(len(o.Params) == 0 && o.Holdout == 0, "operation", "a model that is there is not trained")
		return
	}
	t.ok(o.ModelParty == "" && o.ModelDigest == [32]byte{}, "operation.model_digest",
		"a model that is trained has none yet")
}

// The operations and their models.
const (
	OpTrain       = "train"
	OpScore       = "score"
	ModelCard     = "scorecard"
	ModelForest   = "gbdt"
	ModelLogistic = "logistic"
)

// machines sees that an enclave is named together with the machines it may run on.
func (t *terms) machines() {
	all := t.contract.Machines
	byShares := t.contract.Operation.Model == ModelLogistic
	t.ok(byShares == t.contract.Program.IsZero(), "program", "%s is computed by shares, without a "+
		"program; the others by a program that is named", ModelLogistic)
	t.ok(byShares == (len(all) == 0), "machines", "%d: a program needs a kind of machine, shares none",
		len(all))
	for i, tee := range all {
		t.ok(tee.Known(), field("machines", i), "%.40q is no kind of machine", tee)
		t.ok(i == 0 || all[max(i, 1)-1] < tee, field("machines", i), "%q does not stand after the one before",
			tee)
	}
}

func (t *terms) outputs() {
	all := t.contract.Outputs
	t.ok(len(all) > 0, "outputs", "nobody is told anything")
	t.most("outputs", len(all), MaxStrings)
	for i, o := range all {
		at := field("outputs", i)
		t.party(at+".to", o.To)
		t.one(at+".what", o.What, OutScores, OutReasons, OutMetrics, OutModel)
		t.ok(o.What != OutReasons || t.contract.Tells(o.To, OutScores), at+".what",
			"reasons go with scores, which %q is not told", o.To)
		t.ok(i == 0 || before(all[max(i, 1)-1], o), at, "it does not stand after the one before")
	}
}

func before(a, b Output) bool { return a.To < b.To || a.To == b.To && a.What < b.What }

func (t *terms) rule() {
	r, b := t.contract.Rule, t.contract.Budget
	t.within("rule.min_rows", r.MinRows, 1, math.MaxInt32)
	t.within("rule.min_group", r.MinGroup, 1, math.MaxInt32)
	t.within("rule.round", r.Round, 1, 1000)
	t.within("rule.reasons", r.Reasons, 0, maxReasons)
	t.within("budget.runs", b.Runs, 1, math.MaxInt32)
	t.within("budget.daily", b.Daily, 0, b.Runs)
	t.within("budget.scores", b.Scores, 1, math.MaxInt32)
}
