package api

import (
	"context"
	"strconv"
	"time"

	ledgerv1 "surety/api/ledger/v1"
	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/base/money"
	"surety/ledger"
)

// accountFlags are the flags of an account by name, in the order of their numbers.
var accountFlags = [...]string{"linked", "debits_must_not_exceed_credits",
	"credits_must_not_exceed_debits", "history", "imported", "closed"}

// transferFlags are the flags of a transfer by name, in the order of their numbers.
var transferFlags = [...]string{"linked", "pending", "post_pending_transfer",
	"void_pending_transfer", "balancing_debit", "balancing_credit", "closing_debit",
	"closing_credit", "imported"}

func parseFlags(names []string, known []string) (uint16, error) {
	var flags uint16
	for _, name := range names {
		found := false
		for i := range known {
			if known[i] == name {
				flags |= 1 << i
				found = true
			}
		}
		if !found {
			return 0, errs.New(errs.Invalid, "flags: %.40q is not a flag", name)
		}
	}
	return flags, nil
}

func formatFlags(flags uint16, known []string) (names []string) {
	for i := range known {
		if flags&(1<<i) != 0 {
			names = append(names, known[i])
		}
	}
	return names
}

func accountFrom(a *ledgerv1.Account) (account ledger.Account, err error) {
	if account.ID, err = ident.Parse(a.Id); err != nil {
		return account, errs.Wrap(err, "id")
	}
	if account.UserData128, err = optionalID(a.UserData_128); err != nil {
		return account, errs.Wrap(err, "user_data_128")
	}
	flags, err := parseFlags(a.Flags, accountFlags[:])
	if err != nil {
		return account, err
	}
	account.Flags = ledger.AccountFlags(flags)
	account.UserData64, account.UserData32 = a.UserData_64, a.UserData_32
	account.Ledger = a.Ledger
	account.Code, err = code(a.Code)
	return account, err
}

func (s *Service) transferFrom(ctx context.Context, t *ledgerv1.Transfer) (ledger.Transfer, error) {
	var transfer ledger.Transfer
	parts := []struct {
		name string
		into *ident.ID
		text string
		read func(string) (ident.ID, error)
	}{
		{"id", &transfer.ID, t.Id, ident.Parse},
		{"debit_account", &transfer.DebitAccountID, t.DebitAccount, s.optionalAccount(ctx)},
		{"credit_account", &transfer.CreditAccountID, t.CreditAccount, s.optionalAccount(ctx)},
		{"pending_id", &transfer.PendingID, t.PendingId, optionalID},
		{"user_data_128", &transfer.UserData128, t.UserData_128, optionalID},
	}
	var err error
	for _, part := range parts {
		if *part.into, err = part.read(part.text); err != nil {
			return transfer, errs.Wrap(err, "%s", part.name)
		}
	}
	if transfer.Amount, err = money.ParseMinor(t.Amount); err != nil {
		return transfer, errs.Wrap(err, "amount")
	}
	flags, err := parseFlags(t.Flags, transferFlags[:])
	if err != nil {
		return transfer, err
	}
	transfer.Flags = ledger.TransferFlags(flags)
	transfer.UserData64, transfer.UserData32 = t.UserData_64, t.UserData_32
	transfer.Timeout, transfer.Ledger = t.TimeoutSeconds, t.Ledger
	transfer.Code, err = code(t.Code)
	return transfer, err
}

// account returns the id that a text stands for: 32 digits are an id, anything else is a name
// first and an id if there is no such name.
func (s *Service) account(ctx context.Context, text string) (ident.ID, error) {
	if len(text) == ident.TextSize {
		return ident.Parse(text)
	}
	id, err := s.ledger.ResolveName(ctx, text)
	if errs.Is(err, errs.NotFound) {
		parsed, parseErr := ident.Parse(text)
		if parseErr != nil {
			return ident.ID{}, errs.New(errs.NotFound, "no account is named %.64q", text)
		}
		return parsed, nil
	}
	return id, err
}

func (s *Service) optionalAccount(ctx context.Context) func(string) (ident.ID, error) {
	return func(text string) (ident.ID, error) {
		if text == "" {
			return ident.ID{}, nil
		}
		return s.account(ctx, text)
	}
}

func (s *Service) accountTexts(ctx context.Context, accounts []ledger.Account) ([]*ledgerv1.Account,
	error) {
	texts := make([]*ledgerv1.Account, len(accounts))
	for i := range accounts {
		a := &accounts[i]
		name, err := s.ledger.NameOf(ctx, a.ID)
		if err != nil && !errs.Is(err, errs.NotFound) {
			return nil, err
		}
		texts[i] = &ledgerv1.Account{
			Id: a.ID.String(), Name: name.Name, Metadata: name.Metadata,
			Ledger: a.Ledger, Code: uint32(a.Code),
			Flags:         formatFlags(uint16(a.Flags), accountFlags[:]),
			DebitsPending: a.DebitsPending.String(), DebitsPosted: a.DebitsPosted.String(),
			CreditsPending: a.CreditsPending.String(), CreditsPosted: a.CreditsPosted.String(),
			UserData_128: formatID(a.UserData128), UserData_64: a.UserData64,
			UserData_32: a.UserData32, Timestamp: formatInstant(a.Timestamp),
		}
	}
	return texts, nil
}

func transferTexts(transfers []ledger.Transfer) []*ledgerv1.Transfer {
	texts := make([]*ledgerv1.Transfer, len(transfers))
	for i := range transfers {
		t := &transfers[i]
		texts[i] = &ledgerv1.Transfer{
			Id: t.ID.String(), DebitAccount: formatID(t.DebitAccountID),
			CreditAccount: formatID(t.CreditAccountID), Amount: t.Amount.String(),
			PendingId: formatID(t.PendingID), UserData_128: formatID(t.UserData128),
			UserData_64: t.UserData64, UserData_32: t.UserData32, TimeoutSeconds: t.Timeout,
			Ledger: t.Ledger, Code: uint32(t.Code),
			Flags:     formatFlags(uint16(t.Flags), transferFlags[:]),
			Timestamp: formatInstant(t.Timestamp),
		}
	}
	return texts
}

// Totals returns a trial balance as texts.
func Totals(totals []ledger.ClassTotal) []*ledgerv1.ClassTotal {
	texts := make([]*ledgerv1.ClassTotal, len(totals))
	for i, t := range totals {
		texts[i] = &ledgerv1.ClassTotal{Ledger: t.Ledger, Code: uint32(t.Code),
			Accounts:      t.Accounts,
			DebitsPending: t.DebitsPending.String(), DebitsPosted: t.DebitsPosted.String(),
			CreditsPending: t.CreditsPending.String(), CreditsPosted: t.CreditsPosted.String()}
	}
	return texts
}

func parseIDs(texts []string) ([]ident.ID, error) {
	ids := make([]ident.ID, len(texts))
	for i, text := range texts {
		id, err := ident.Parse(text)
		if err != nil {
			return nil, errs.Wrap(err, "ids[%d]", i)
		}
		ids[i] = id
	}
	return ids, nil
}

func optionalID(text string) (ident.ID, error) {
	if text == "" {
		return ident.ID{}, nil
	}
	return ident.Parse(text)
}

func formatID(id ident.ID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}

func formatInstant(t clock.Instant) string {
	if t == 0 {
		return ""
	}
	return time.Unix(0, int64(t)).UTC().Format(time.RFC3339Nano)
}

func code(n uint32) (uint16, error) {
	if n > 1<<16-1 {
		return 0, errs.New(errs.Invalid, "code: %d is above the limit of %d", n, 1<<16-1)
	}
	return uint16(n), nil
}

// A cursor of the account list is the number of accounts before it.
func parseCursor(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, errs.New(errs.Invalid, "after: %.40q is not a cursor", text)
	}
	return int(n), nil
}

func formatCursor(n int) string { return strconv.Itoa(n) }
