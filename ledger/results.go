package ledger

// AccountResult is what became of one record of CreateAccounts. Zero is success; any other number
// is a refusal, and the account was not created. The numbers are stored and sent: never renumber.
type AccountResult uint16

// The results of creating an account, in order of precedence: where several apply, the first is
// given.
const (
	AccountOK                                   AccountResult = 0
	AccountLinkedEventFailed                    AccountResult = 1
	AccountLinkedEventChainOpen                 AccountResult = 2
	AccountImportedEventExpected                AccountResult = 22
	AccountImportedEventNotExpected             AccountResult = 23
	AccountTimestampMustBeZero                  AccountResult = 3
	AccountImportedEventTimestampOutOfRange     AccountResult = 24
	AccountImportedEventTimestampMustNotAdvance AccountResult = 25
	AccountReservedField                        AccountResult = 4
	AccountReservedFlag                         AccountResult = 5
	AccountIDMustNotBeZero                      AccountResult = 6
	AccountIDMustNotBeIntMax                    AccountResult = 7
	AccountExistsWithDifferentFlags             AccountResult = 15
	AccountExistsWithDifferentUserData128       AccountResult = 16
	AccountExistsWithDifferentUserData64        AccountResult = 17
	AccountExistsWithDifferentUserData32        AccountResult = 18
	AccountExistsWithDifferentLedger            AccountResult = 19
	AccountExistsWithDifferentCode              AccountResult = 20
	AccountExists                               AccountResult = 21
	AccountFlagsAreMutuallyExclusive            AccountResult = 8
	AccountDebitsPendingMustBeZero              AccountResult = 9
	AccountDebitsPostedMustBeZero               AccountResult = 10
	AccountCreditsPendingMustBeZero             AccountResult = 11
	AccountCreditsPostedMustBeZero              AccountResult = 12
	AccountLedgerMustNotBeZero                  AccountResult = 13
	AccountCodeMustNotBeZero                    AccountResult = 14
	AccountImportedEventTimestampMustNotRegress AccountResult = 26
)

// TransferResult is what became of one record of CreateTransfers. Zero is success; any other number
// is a refusal, and nothing moved. The numbers are stored and sent: never renumber.
type TransferResult uint16

// The results of creating a transfer, in order of precedence: where several apply, the first is
// given.
const (
	TransferOK                                              TransferResult = 0
	TransferLinkedEventFailed                               TransferResult = 1
	TransferLinkedEventChainOpen                            TransferResult = 2
	TransferImportedEventExpected                           TransferResult = 56
	TransferImportedEventNotExpected                        TransferResult = 57
	TransferTimestampMustBeZero                             TransferResult = 3
	TransferImportedEventTimestampOutOfRange                TransferResult = 58
	TransferImportedEventTimestampMustNotAdvance            TransferResult = 59
	TransferReservedFlag                                    TransferResult = 4
	TransferIDMustNotBeZero                                 TransferResult = 5
	TransferIDMustNotBeIntMax                               TransferResult = 6
	TransferExistsWithDifferentFlags                        TransferResult = 36
	TransferExistsWithDifferentPendingID                    TransferResult = 40
	TransferExistsWithDifferentTimeout                      TransferResult = 44
	TransferExistsWithDifferentDebitAccountID               TransferResult = 37
	TransferExistsWithDifferentCreditAccountID              TransferResult = 38
	TransferExistsWithDifferentAmount                       TransferResult = 39
	TransferExistsWithDifferentUserData128                  TransferResult = 41
	TransferExistsWithDifferentUserData64                   TransferResult = 42
	TransferExistsWithDifferentUserData32                   TransferResult = 43
	TransferExistsWithDifferentLedger                       TransferResult = 67
	TransferExistsWithDifferentCode                         TransferResult = 45
	TransferExists                                          TransferResult = 46
	TransferIDAlreadyFailed                                 TransferResult = 68
	TransferFlagsAreMutuallyExclusive                       TransferResult = 7
	TransferDebitAccountIDMustNotBeZero                     TransferResult = 8
	TransferDebitAccountIDMustNotBeIntMax                   TransferResult = 9
	TransferCreditAccountIDMustNotBeZero                    TransferResult = 10
	TransferCreditAccountIDMustNotBeIntMax                  TransferResult = 11
	TransferAccountsMustBeDifferent                         TransferResult = 12
	TransferPendingIDMustBeZero                             TransferResult = 13
	TransferPendingIDMustNotBeZero                          TransferResult = 14
	TransferPendingIDMustNotBeIntMax                        TransferResult = 15
	TransferPendingIDMustBeDifferent                        TransferResult = 16
	TransferTimeoutReservedForPendingTransfer               TransferResult = 17
	TransferClosingTransferMustBePending                    TransferResult = 64
	TransferLedgerMustNotBeZero                             TransferResult = 19
	TransferCodeMustNotBeZero                               TransferResult = 20
	TransferDebitAccountNotFound                            TransferResult = 21
	TransferCreditAccountNotFound                           TransferResult = 22
	TransferAccountsMustHaveTheSameLedger                   TransferResult = 23
	TransferMustHaveTheSameLedgerAsAccounts                 TransferResult = 24
	TransferPendingTransferNotFound                         TransferResult = 25
	TransferPendingTransferNotPending                       TransferResult = 26
	TransferPendingTransferHasDifferentDebitAccountID       TransferResult = 27
	TransferPendingTransferHasDifferentCreditAccountID      TransferResult = 28
	TransferPendingTransferHasDifferentLedger               TransferResult = 29
	TransferPendingTransferHasDifferentCode                 TransferResult = 30
	TransferExceedsPendingTransferAmount                    TransferResult = 31
	TransferPendingTransferHasDifferentAmount               TransferResult = 32
	TransferPendingTransferAlreadyPosted                    TransferResult = 33
	TransferPendingTransferAlreadyVoided                    TransferResult = 34
	TransferPendingTransferExpired                          TransferResult = 35
	TransferImportedEventTimestampMustNotRegress            TransferResult = 60
	TransferImportedEventTimestampMustPostdateDebitAccount  TransferResult = 61
	TransferImportedEventTimestampMustPostdateCreditAccount TransferResult = 62
	TransferImportedEventTimeoutMustBeZero                  TransferResult = 63
	TransferDebitAccountAlreadyClosed                       TransferResult = 65
	TransferCreditAccountAlreadyClosed                      TransferResult = 66
	TransferDebitAccountFrozen                              TransferResult = 100
	TransferCreditAccountFrozen                             TransferResult = 101
	TransferCodeFrozen                                      TransferResult = 102
	TransferLedgerFrozen                                    TransferResult = 103
	TransferOverflowsDebitsPending                          TransferResult = 47
	TransferOverflowsCreditsPending                         TransferResult = 48
	TransferOverflowsDebitsPosted                           TransferResult = 49
	TransferOverflowsCreditsPosted                          TransferResult = 50
	TransferOverflowsDebits                                 TransferResult = 51
	TransferOverflowsCredits                                TransferResult = 52
	TransferOverflowsTimeout                                TransferResult = 53
	TransferExceedsCredits                                  TransferResult = 54
	TransferExceedsDebits                                   TransferResult = 55
)

// FreezeResult is what became of one record of ApplyFreezes. Zero is success; any other number is a
// refusal, and nothing was frozen or released. The numbers are stored and sent: never renumber.
type FreezeResult uint16

// The results of a freeze or a release, in order of precedence: where several apply, the first is
// given.
const (
	FreezeOK                             FreezeResult = 0
	FreezeTimestampMustBeZero            FreezeResult = 1
	FreezeReservedField                  FreezeResult = 2
	FreezeReservedFlag                   FreezeResult = 3
	FreezeIDMustNotBeZero                FreezeResult = 4
	FreezeIDMustNotBeIntMax              FreezeResult = 5
	FreezeExistsWithDifferentFlags       FreezeResult = 6
	FreezeExistsWithDifferentFreezeID    FreezeResult = 7
	FreezeExistsWithDifferentAccountID   FreezeResult = 8
	FreezeExistsWithDifferentActor       FreezeResult = 9
	FreezeExistsWithDifferentSecondActor FreezeResult = 10
	FreezeExistsWithDifferentUserData128 FreezeResult = 11
	FreezeExistsWithDifferentExpiresAt   FreezeResult = 12
	FreezeExistsWithDifferentLedger      FreezeResult = 13
	FreezeExistsWithDifferentReason      FreezeResult = 14
	FreezeExistsWithDifferentCode        FreezeResult = 15
	FreezeExistsWithDifferentScope       FreezeResult = 16
	FreezeExistsWithDifferentSides       FreezeResult = 17
	FreezeExists                         FreezeResult = 18
	FreezeActorMustNotBeZero             FreezeResult = 19
	FreezeReasonMustNotBeZero            FreezeResult = 20
	FreezeFreezeIDMustBeZero             FreezeResult = 21
	FreezeFreezeIDMustNotBeZero          FreezeResult = 22
	FreezeFreezeIDMustNotBeIntMax        FreezeResult = 23
	FreezeFreezeIDMustBeDifferent        FreezeResult = 24
	FreezeSecondActorMustBeZero          FreezeResult = 25
	FreezeSecondActorMustNotBeZero       FreezeResult = 26
	FreezeActorsMustBeDifferent          FreezeResult = 27
	FreezeScopeMustBeZero                FreezeResult = 28
	FreezeScopeNotKnown                  FreezeResult = 29
	FreezeAccountIDMustBeZero            FreezeResult = 30
	FreezeAccountIDMustNotBeZero         FreezeResult = 31
	FreezeAccountIDMustNotBeIntMax       FreezeResult = 32
	FreezeExpiresAtMustBeZero            FreezeResult = 33
	FreezeExpiresAtMustBeInTheFuture     FreezeResult = 34
	FreezeExpiresAtOutOfRange            FreezeResult = 35
	FreezeLedgerMustBeZero               FreezeResult = 36
	FreezeLedgerMustNotBeZero            FreezeResult = 37
	FreezeCodeMustBeZero                 FreezeResult = 38
	FreezeCodeMustNotBeZero              FreezeResult = 39
	FreezeSidesMustBeZero                FreezeResult = 40
	FreezeSidesMustNotBeZero             FreezeResult = 41
	FreezeSidesNotKnown                  FreezeResult = 42
	FreezeAccountNotFound                FreezeResult = 43
	FreezeTooManyOpenFreezes             FreezeResult = 44
	FreezeFreezeNotFound                 FreezeResult = 45
	FreezeFreezeIsARelease               FreezeResult = 46
	FreezeFreezeAlreadyReleased          FreezeResult = 47
	FreezeFreezeAlreadyExpired           FreezeResult = 48
)
