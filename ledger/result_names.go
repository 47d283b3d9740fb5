package ledger

import "strconv"

// accountNames lists the results of creating an account with their names, in order of precedence.
// It is the same list as in docs/reference/results.md, which a test compares.
var accountNames = [...]struct {
	result AccountResult
	name   string
}{
	{AccountOK, "ok"},
	{AccountLinkedEventFailed, "linked_event_failed"},
	{AccountLinkedEventChainOpen, "linked_event_chain_open"},
	{AccountImportedEventExpected, "imported_event_expected"},
	{AccountImportedEventNotExpected, "imported_event_not_expected"},
	{AccountTimestampMustBeZero, "timestamp_must_be_zero"},
	{AccountImportedEventTimestampOutOfRange, "imported_event_timestamp_out_of_range"},
	{AccountImportedEventTimestampMustNotAdvance, "imported_event_timestamp_must_not_advance"},
	{AccountReservedField, "reserved_field"},
	{AccountReservedFlag, "reserved_flag"},
	{AccountIDMustNotBeZero, "id_must_not_be_zero"},
	{AccountIDMustNotBeIntMax, "id_must_not_be_int_max"},
	{AccountExistsWithDifferentFlags, "exists_with_different_flags"},
	{AccountExistsWithDifferentUserData128, "exists_with_different_user_data_128"},
	{AccountExistsWithDifferentUserData64, "exists_with_different_user_data_64"},
	{AccountExistsWithDifferentUserData32, "exists_with_different_user_data_32"},
	{AccountExistsWithDifferentLedger, "exists_with_different_ledger"},
	{AccountExistsWithDifferentCode, "exists_with_different_code"},
	{AccountExists, "exists"},
	{AccountFlagsAreMutuallyExclusive, "flags_are_mutually_exclusive"},
	{AccountDebitsPendingMustBeZero, "debits_pending_must_be_zero"},
	{AccountDebitsPostedMustBeZero, "debits_posted_must_be_zero"},
	{AccountCreditsPendingMustBeZero, "credits_pending_must_be_zero"},
	{AccountCreditsPostedMustBeZero, "credits_posted_must_be_zero"},
	{AccountLedgerMustNotBeZero, "ledger_must_not_be_zero"},
	{AccountCodeMustNotBeZero, "code_must_not_be_zero"},
	{AccountImportedEventTimestampMustNotRegress, "imported_event_timestamp_must_not_regress"},
}

// transferNames lists the results of creating a transfer with their names, in order of precedence.
var transferNames = [...]struct {
	result TransferResult
	name   string
}{
	{TransferOK, "ok"},
	{TransferLinkedEventFailed, "linked_event_failed"},
	{TransferLinkedEventChainOpen, "linked_event_chain_open"},
	{TransferImportedEventExpected, "imported_event_expected"},
	{TransferImportedEventNotExpected, "imported_event_not_expected"},
	{TransferTimestampMustBeZero, "timestamp_must_be_zero"},
	{TransferImportedEventTimestampOutOfRange, "imported_event_timestamp_out_of_range"},
	{TransferImportedEventTimestampMustNotAdvance, "imported_event_timestamp_must_not_advance"},
	{TransferReservedFlag, "reserved_flag"},
	{TransferIDMustNotBeZero, "id_must_not_be_zero"},
	{TransferIDMustNotBeIntMax, "id_must_not_be_int_max"},
	{TransferExistsWithDifferentFlags, "exists_with_different_flags"},
	{TransferExistsWithDifferentPendingID, "exists_with_different_pending_id"},
	{TransferExistsWithDifferentTimeout, "exists_with_different_timeout"},
	{TransferExistsWithDifferentDebitAccountID, "exists_with_different_debit_account_id"},
	{TransferExistsWithDifferentCreditAccountID, "exists_with_different_credit_account_id"},
	{TransferExistsWithDifferentAmount, "exists_with_different_amount"},
	{TransferExistsWithDifferentUserData128, "exists_with_different_user_data_128"},
	{TransferExistsWithDifferentUserData64, "exists_with_different_user_data_64"},
	{TransferExistsWithDifferentUserData32, "exists_with_different_user_data_32"},
	{TransferExistsWithDifferentLedger, "exists_with_different_ledger"},
	{TransferExistsWithDifferentCode, "exists_with_different_code"},
	{TransferExists, "exists"},
	{TransferIDAlreadyFailed, "id_already_failed"},
	{TransferFlagsAreMutuallyExclusive, "flags_are_mutually_exclusive"},
	{TransferDebitAccountIDMustNotBeZero, "debit_account_id_must_not_be_zero"},
	{TransferDebitAccountIDMustNotBeIntMax, "debit_account_id_must_not_be_int_max"},
	{TransferCreditAccountIDMustNotBeZero, "credit_account_id_must_not_be_zero"},
	{TransferCreditAccountIDMustNotBeIntMax, "credit_account_id_must_not_be_int_max"},
	{TransferAccountsMustBeDifferent, "accounts_must_be_different"},
	{TransferPendingIDMustBeZero, "pending_id_must_be_zero"},
	{TransferPendingIDMustNotBeZero, "pending_id_must_not_be_zero"},
	{TransferPendingIDMustNotBeIntMax, "pending_id_must_not_be_int_max"},
	{TransferPendingIDMustBeDifferent, "pending_id_must_be_different"},
	{TransferTimeoutReservedForPendingTransfer, "timeout_reserved_for_pending_transfer"},
	{TransferClosingTransferMustBePending, "closing_transfer_must_be_pending"},
	{TransferLedgerMustNotBeZero, "ledger_must_not_be_zero"},
	{TransferCodeMustNotBeZero, "code_must_not_be_zero"},
	{TransferDebitAccountNotFound, "debit_account_not_found"},
	{TransferCreditAccountNotFound, "credit_account_not_found"},
	{TransferAccountsMustHaveTheSameLedger, "accounts_must_have_the_same_ledger"},
	{TransferMustHaveTheSameLedgerAsAccounts, "transfer_must_have_the_same_ledger_as_accounts"},
	{TransferPendingTransferNotFound, "pending_transfer_not_found"},
	{TransferPendingTransferNotPending, "pending_transfer_not_pending"},
	{TransferPendingTransferHasDifferentDebitAccountID, "pending_transfer_has_different_debit_account_id"},
	{TransferPendingTransferHasDifferentCreditAccountID, "pending_transfer_has_different_credit_account_id"},
	{TransferPendingTransferHasDifferentLedger, "pending_transfer_has_different_ledger"},
	{TransferPendingTransferHasDifferentCode, "pending_transfer_has_different_code"},
	{TransferExceedsPendingTransferAmount, "exceeds_pending_transfer_amount"},
	{TransferPendingTransferHasDifferentAmount, "pending_transfer_has_different_amount"},
	{TransferPendingTransferAlreadyPosted, "pending_transfer_already_posted"},
	{TransferPendingTransferAlreadyVoided, "pending_transfer_already_voided"},
	{TransferPendingTransferExpired, "pending_transfer_expired"},
	{TransferImportedEventTimestampMustNotRegress, "imported_event_timestamp_must_not_regress"},
	{TransferImportedEventTimestampMustPostdateDebitAccount, "imported_event_timestamp_must_postdate_debit_account"},
	{TransferImportedEventTimestampMustPostdateCreditAccount, "imported_event_timestamp_must_postdate_credit_account"},
	{TransferImportedEventTimeoutMustBeZero, "imported_event_timeout_must_be_zero"},
	{TransferDebitAccountAlreadyClosed, "debit_account_already_closed"},
	{TransferCreditAccountAlreadyClosed, "credit_account_already_closed"},
	{TransferDebitAccountFrozen, "debit_account_frozen"},
	{TransferCreditAccountFrozen, "credit_account_frozen"},
	{TransferCodeFrozen, "code_frozen"},
	{TransferLedgerFrozen, "ledger_frozen"},
	{TransferOverflowsDebitsPending, "overflows_debits_pending"},
	{TransferOverflowsCreditsPending, "overflows_credits_pending"},
	{TransferOverflowsDebitsPosted, "overflows_debits_posted"},
	{TransferOverflowsCreditsPosted, "overflows_credits_posted"},
	{TransferOverflowsDebits, "overflows_debits"},
	{TransferOverflowsCredits, "overflows_credits"},
	{TransferOverflowsTimeout, "overflows_timeout"},
	{TransferExceedsCredits, "exceeds_credits"},
	{TransferExceedsDebits, "exceeds_debits"},
}

// freezeNames lists the results of a freeze or a release with their names, in order of precedence.
var freezeNames = [...]struct {
	result FreezeResult
	name   string
}{
	{FreezeOK, "ok"},
	{FreezeTimestampMustBeZero, "timestamp_must_be_zero"},
	{FreezeReservedField, "reserved_field"},
	{FreezeReservedFlag, "reserved_flag"},
	{FreezeIDMustNotBeZero, "id_must_not_be_zero"},
	{FreezeIDMustNotBeIntMax, "id_must_not_be_int_max"},
	{FreezeExistsWithDifferentFlags, "exists_with_different_flags"},
	{FreezeExistsWithDifferentFreezeID, "exists_with_different_freeze_id"},
	{FreezeExistsWithDifferentAccountID, "exists_with_different_account_id"},
	{FreezeExistsWithDifferentActor, "exists_with_different_actor"},
	{FreezeExistsWithDifferentSecondActor, "exists_with_different_second_actor"},
	{FreezeExistsWithDifferentUserData128, "exists_with_different_user_data_128"},
	{FreezeExistsWithDifferentExpiresAt, "exists_with_different_expires_at"},
	{FreezeExistsWithDifferentLedger, "exists_with_different_ledger"},
	{FreezeExistsWithDifferentReason, "exists_with_different_reason"},
	{FreezeExistsWithDifferentCode, "exists_with_different_code"},
	{FreezeExistsWithDifferentScope, "exists_with_different_scope"},
	{FreezeExistsWithDifferentSides, "exists_with_different_sides"},
	{FreezeExists, "exists"},
	{FreezeActorMustNotBeZero, "actor_must_not_be_zero"},
	{FreezeReasonMustNotBeZero, "reason_must_not_be_zero"},
	{FreezeFreezeIDMustBeZero, "freeze_id_must_be_zero"},
	{FreezeFreezeIDMustNotBeZero, "freeze_id_must_not_be_zero"},
	{FreezeFreezeIDMustNotBeIntMax, "freeze_id_must_not_be_int_max"},
	{FreezeFreezeIDMustBeDifferent, "freeze_id_must_be_different"},
	{FreezeSecondActorMustBeZero, "second_actor_must_be_zero"},
	{FreezeSecondActorMustNotBeZero, "second_actor_must_not_be_zero"},
	{FreezeActorsMustBeDifferent, "actors_must_be_different"},
	{FreezeScopeMustBeZero, "scope_must_be_zero"},
	{FreezeScopeNotKnown, "scope_not_known"},
	{FreezeAccountIDMustBeZero, "account_id_must_be_zero"},
	{FreezeAccountIDMustNotBeZero, "account_id_must_not_be_zero"},
	{FreezeAccountIDMustNotBeIntMax, "account_id_must_not_be_int_max"},
	{FreezeExpiresAtMustBeZero, "expires_at_must_be_zero"},
	{FreezeExpiresAtMustBeInTheFuture, "expires_at_must_be_in_the_future"},
	{FreezeExpiresAtOutOfRange, "expires_at_out_of_range"},
	{FreezeLedgerMustBeZero, "ledger_must_be_zero"},
	{FreezeLedgerMustNotBeZero, "ledger_must_not_be_zero"},
	{FreezeCodeMustBeZero, "code_must_be_zero"},
	{FreezeCodeMustNotBeZero, "code_must_not_be_zero"},
	{FreezeSidesMustBeZero, "sides_must_be_zero"},
	{FreezeSidesMustNotBeZero, "sides_must_not_be_zero"},
	{FreezeSidesNotKnown, "sides_not_known"},
	{FreezeAccountNotFound, "account_not_found"},
	{FreezeTooManyOpenFreezes, "too_many_open_freezes"},
	{FreezeFreezeNotFound, "freeze_not_found"},
	{FreezeFreezeIsARelease, "freeze_is_a_release"},
	{FreezeFreezeAlreadyReleased, "freeze_already_released"},
	{FreezeFreezeAlreadyExpired, "freeze_already_expired"},
}

// AccountResults returns every result in order of precedence.
func AccountResults() []AccountResult {
	all := make([]AccountResult, 0, len(accountNames))
	for _, row := range accountNames {
		all = append(all, row.result)
	}
	return all
}

// String returns the result's name in snake case, as it is sent and documented.
func (r AccountResult) String() string {
	for _, row := range accountNames {
		if row.result == r {
			return row.name
		}
	}
	return "result(" + strconv.Itoa(int(r)) + ")"
}

// TransferResults returns every result in order of precedence.
func TransferResults() []TransferResult {
	all := make([]TransferResult, 0, len(transferNames))
	for _, row := range transferNames {
		all = append(all, row.result)
	}
	return all
}

// String returns the result's name in snake case, as it is sent and documented.
func (r TransferResult) String() string {
	for _, row := range transferNames {
		if row.result == r {
			return row.name
		}
	}
	return "result(" + strconv.Itoa(int(r)) + ")"
}

// FreezeResults returns every result in order of precedence.
func FreezeResults() []FreezeResult {
	all := make([]FreezeResult, 0, len(freezeNames))
	for _, row := range freezeNames {
		all = append(all, row.result)
	}
	return all
}

// String returns the result's name in snake case, as it is sent and documented.
func (r FreezeResult) String() string {
	for _, row := range freezeNames {
		if row.result == r {
			return row.name
		}
	}
	return "result(" + strconv.Itoa(int(r)) + ")"
}

// Transient reports whether the same transfer, sent again, could be judged otherwise because the
// ledger has changed. Such a refusal spends the id: a repeat gets TransferIDAlreadyFailed, so that
// whoever does not know what became of a transfer can ask again without making it happen late.
func (r TransferResult) Transient() bool {
	switch r {
	case TransferDebitAccountNotFound, TransferCreditAccountNotFound,
		TransferPendingTransferNotFound,
		TransferDebitAccountAlreadyClosed, TransferCreditAccountAlreadyClosed,
		TransferDebitAccountFrozen, TransferCreditAccountFrozen,
		TransferCodeFrozen, TransferLedgerFrozen,
		TransferExceedsCredits, TransferExceedsDebits:
		return true
	}
	return false
}
