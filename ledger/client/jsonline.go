package client

import (
	"encoding/json"
	"strconv"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// line is one line of an export: a JSON object whose kind says which of the other fields it has.
// Numbers of 64 bits and more are strings, since many readers of JSON have no more than 53 bits.
// docs/reference/ledger-export.md describes every kind.
type line struct {
	Kind string `json:"kind"`

	ID             ident.ID     `json:"id,omitzero"`
	DebitAccount   ident.ID     `json:"debit_account,omitzero"`
	CreditAccount  ident.ID     `json:"credit_account,omitzero"`
	Amount         money.Amount `json:"amount,omitzero"`
	PendingID      ident.ID     `json:"pending_id,omitzero"`
	UserData128    ident.ID     `json:"user_data_128,omitzero"`
	UserData64     uint64       `json:"user_data_64,string,omitempty"`
	UserData32     uint32       `json:"user_data_32,omitempty"`
	TimeoutSeconds uint32       `json:"timeout_seconds,omitempty"`
	Ledger         uint32       `json:"ledger,omitempty"`
	Code           uint16       `json:"code,omitempty"`
	Flags          []string     `json:"flags,omitempty"`
	Timestamp      uint64       `json:"timestamp,string,omitempty"` // nanoseconds since 1970

	// Of freezes and releases.
	FreezeID    ident.ID `json:"freeze_id,omitzero"`
	Account     ident.ID `json:"account,omitzero"`
	Actor       ident.ID `json:"actor,omitzero"`
	SecondActor ident.ID `json:"second_actor,omitzero"`
	ExpiresAt   uint64   `json:"expires_at,string,omitempty"`
	Reason      uint32   `json:"reason,omitempty"`
	Scope       string   `json:"scope,omitempty"`
	Sides       string   `json:"sides,omitempty"`

	// Of names.
	Name     string            `json:"name,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`

	// Of the header and the end.
	Version int    `json:"version,omitempty"`
	Lines   uint64 `json:"lines,string,omitempty"`
}

// The kinds of line.
const (
	kindHeader          = "header" // the first line
	kindAccount         = "account"
	kindTransfer        = "transfer"
	kindTransferExpired = "transfer_expired" // id is the pending transfer's
	kindFreeze          = "freeze"
	kindRelease         = "release"
	kindFreezeExpired   = "freeze_expired" // id is the freeze's
	kindName            = "name"
	kindEnd             = "end" // the last line: without it, an export was cut
)

// exportVersion is the version of the format.
const exportVersion = 1

// accountFlagNames and transferFlagNames are the flags by name, in the order of their bits.
func accountFlagNames() []string {
	return []string{"linked", "debits_must_not_exceed_credits", "credits_must_not_exceed_debits",
		"history", "imported", "closed"}
}

func transferFlagNames() []string {
	return []string{"linked", "pending", "post_pending_transfer", "void_pending_transfer",
		"balancing_debit", "balancing_credit", "closing_debit", "closing_credit", "imported"}
}

func scopeNames() []string { return []string{"", "account", "code", "ledger"} }
func sideNames() []string  { return []string{"", "debits", "credits", "both"} }

func flagsOf(bits uint16, names []string) (flags []string) {
	for i, name := range names {
		if bits&(1<<i) != 0 {
			flags = append(flags, name)
		}
	}
	return flags
}

func bitsOf(flags, names []string) (bits uint16, err error) {
	for _, flag := range flags {
		i, err := indexOf(flag, names)
		if err != nil {
			return 0, errs.Wrap(err, "flags")
		}
		bits |= 1 << i
	}
	return bits, nil
}

func indexOf(text string, names []string) (int, error) {
	for i, name := range names {
		if name == text {
			return i, nil
		}
	}
	return 0, errs.New(errs.Invalid, "%.40q is none of %s", text,
		strings.TrimPrefix(strings.Join(names, ", "), ", "))
}

func accountLine(a *ledger.Account) line {
	return line{Kind: kindAccount, ID: a.ID, UserData128: a.UserData128, UserData64: a.UserData64,
		UserData32: a.UserData32, Ledger: a.Ledger, Code: a.Code,
		Flags: flagsOf(uint16(a.Flags), accountFlagNames()), Timestamp: uint64(a.Timestamp)}
}

func (l *line) account() (ledger.Account, error) {
	bits, err := bitsOf(l.Flags, accountFlagNames())
	return ledger.Account{ID: l.ID, UserData128: l.UserData128, UserData64: l.UserData64,
		UserData32: l.UserData32, Ledger: l.Ledger, Code: l.Code, Flags: ledger.AccountFlags(bits),
		Timestamp: clock.Instant(l.Timestamp)}, err
}

func transferLine(t *ledger.Transfer) line {
	return line{Kind: kindTransfer, ID: t.ID, DebitAccount: t.DebitAccountID,
		CreditAccount: t.CreditAccountID, Amount: t.Amount, PendingID: t.PendingID,
		UserData128: t.UserData128, UserData64: t.UserData64, UserData32: t.UserData32,
		TimeoutSeconds: t.Timeout, Ledger: t.Ledger, Code: t.Code,
		Flags: flagsOf(uint16(t.Flags), transferFlagNames()), Timestamp: uint64(t.Timestamp)}
}

func (l *line) transfer() (ledger.Transfer, error) {
	bits, err := bitsOf(l.Flags, transferFlagNames())
	return ledger.Transfer{ID: l.ID, DebitAccountID: l.DebitAccount, CreditAccountID: l.CreditAccount,
		Amount: l.Amount, PendingID: l.PendingID, UserData128: l.UserData128,
		UserData64: l.UserData64, UserData32: l.UserData32, Timeout: l.TimeoutSeconds,
		Ledger: l.Ledger, Code: l.Code, Flags: ledger.TransferFlags(bits),
		Timestamp: clock.Instant(l.Timestamp)}, err
}

func freezeLine(kind string, z *ledger.Freeze) line {
	return line{Kind: kind, ID: z.ID, FreezeID: z.FreezeID, Account: z.AccountID, Actor: z.Actor,
		SecondActor: z.SecondActor, UserData128: z.UserData128, ExpiresAt: uint64(z.ExpiresAt),
		Ledger: z.Ledger, Reason: z.Reason, Code: z.Code, Scope: nameAt(scopeNames(), uint8(z.Scope)),
		Sides: nameAt(sideNames(), uint8(z.Sides)), Timestamp: uint64(z.Timestamp)}
}

func nameAt(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return strconv.Itoa(int(i)) // the core admits no other
}

func (l *line) freeze() (ledger.Freeze, error) {
	scope, err := indexOf(l.Scope, scopeNames())
	if err != nil {
		return ledger.Freeze{}, errs.Wrap(err, "scope")
	}
	sides, err := indexOf(l.Sides, sideNames())
	return ledger.Freeze{ID: l.ID, AccountID: l.Account, Actor: l.Actor, UserData128: l.UserData128,
		ExpiresAt: clock.Instant(l.ExpiresAt), Ledger: l.Ledger, Reason: l.Reason, Code: l.Code,
		Scope: ledger.FreezeScope(scope), Sides: ledger.FreezeSides(sides)}, errs.Wrap(err, "sides")
}

// parseLine reads a line strictly: an unknown or repeated-by-case field is an error that names it.
func parseLine(text []byte) (line, error) {
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	var l line
	if err := decoder.Decode(&l); err != nil {
		if errs.KindOf(err) == errs.Internal {
			err = errs.As(errs.Invalid, err, "not a line of an export")
		}
		return line{}, err
	}
	if decoder.More() {
		return line{}, errs.New(errs.Invalid, "more than one object on the line")
	}
	return l, nil
}
