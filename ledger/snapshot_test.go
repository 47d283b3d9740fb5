package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/base/money"
)

// played returns the state after one random game.
func played(t testing.TB, seed uint64, steps int) *State {
	m := newMatch(seedDice{rand.New(rand.NewPCG(seed, 0))}, "")
	for range steps {
		if difference := m.step(); difference != "" {
			t.Fatal(difference)
		}
	}
	return m.ledger
}

func snapshotOf(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := s.WriteSnapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestDeterminism applies the same batches to two states that differ in everything that must not
// matter: the hash seed, what is reserved, and restarts from a snapshot.
func TestDeterminism(t *testing.T) {
	for seed := range uint64(10) {
		a := newMatch(seedDice{rand.New(rand.NewPCG(seed, 0))}, "")
		b := newMatch(seedDice{rand.New(rand.NewPCG(seed, 0))}, "")
		b.ledger = NewState(Limits{Seed: 99, ReserveAccounts: 10_000, ReserveTransfers: 100_000})
		for i := range 120 {
			if difference := a.step() + b.step(); difference != "" {
				t.Fatal(difference)
			}
			if i%17 == 16 {
				restored, err := ReadSnapshot(bytes.NewReader(snapshotOf(t, b.ledger)), Limits{Seed: uint64(i)})
				if err != nil {
					t.Fatal(err)
				}
				b.ledger = restored
			}
			if a.ledger.Fingerprint() != b.ledger.Fingerprint() {
				t.Fatalf("seed %d step %d: fingerprints differ", seed, i)
			}
		}
		if a.ledger.Digest() != b.ledger.Digest() {
			t.Fatalf("seed %d: digests differ", seed)
		}
		if !bytes.Equal(snapshotOf(t, a.ledger), snapshotOf(t, b.ledger)) {
			t.Fatalf("seed %d: snapshots differ", seed)
		}
	}
}

// TestFingerprintTellsApart changes one thing at a time about a small history.
func TestFingerprintTellsApart(t *testing.T) {
	build := func(change func(a *Account, x *Transfer, z *Freeze)) *State {
		s := NewState(Limits{})
		a := Account{ID: id(1), Ledger: 1, Code: 1}
		x := Transfer{ID: id(1), DebitAccountID: id(1), CreditAccountID: id(2), Amount: one, Ledger: 1,
			Code: 1}
		z := Freeze{ID: id(1), Actor: id(1), Reason: 1, Scope: FreezeAccount, AccountID: id(2), Sides: FreezeBoth}
		change(&a, &x, &z)
		mustCreateAccounts(t, s, 10, a, Account{ID: id(2), Ledger: a.Ledger, Code: 1})
		mustCreateTransfers(t, s, 100, x)
		mustApplyFreezes(t, s, 1000, z)
		return s
	}
	seen := map[uint64]int{}
	for i, change := range []func(a *Account, x *Transfer, z *Freeze){
		func(*Account, *Transfer, *Freeze) {},
		func(a *Account, x *Transfer, _ *Freeze) { a.ID, x.DebitAccountID = id(9), id(9) },
		func(a *Account, x *Transfer, _ *Freeze) { a.Ledger, x.Ledger = 2, 2 },
		func(a *Account, _ *Transfer, _ *Freeze) { a.Code = 2 },
		func(a *Account, _ *Transfer, _ *Freeze) { a.Flags = AccountHistory },
		func(a *Account, _ *Transfer, _ *Freeze) { a.UserData64 = 2 },
		func(_ *Account, x *Transfer, _ *Freeze) { x.ID = id(9) },
		func(_ *Account, x *Transfer, _ *Freeze) { x.Amount = money.Minor(2) },
		func(_ *Account, x *Transfer, _ *Freeze) { x.Flags = TransferPending },
		func(_ *Account, x *Transfer, _ *Freeze) { x.Code = 9 },
		func(_ *Account, x *Transfer, _ *Freeze) { x.UserData128 = id(9) },
		func(_ *Account, x *Transfer, _ *Freeze) { x.UserData32 = 9 },
		func(_ *Account, _ *Transfer, z *Freeze) { z.Sides = FreezeDebits },
		func(_ *Account, _ *Transfer, z *Freeze) { z.Actor = id(9) },
		func(_ *Account, _ *Transfer, z *Freeze) { z.ExpiresAt = second },
		func(_ *Account, _ *Transfer, z *Freeze) { z.Reason = 9 },
	} {
		print := build(change).Fingerprint()
		if other, ok := seen[print]; ok {
			t.Errorf("changes %d and %d have the same fingerprint", other, i)
		}
		seen[print] = i
	}
}

// TestSnapshotWhileBatchesGoOn writes a snapshot in one goroutine while another applies batches: it
// shows the ledger as it was. Under the race detector this also checks that they share nothing that
// changes.
func TestSnapshotWhileBatchesGoOn(t *testing.T) {
	s := loadedState(t, 100, 0, AccountHistory)
	load := newLoad(100, "pending")
	apply := func() {
		for _, r := range s.CreateTransfers(load.batch()[:500], s.NextTimestamp(second, 500), nil) {
			if r != TransferOK {
				t.Fatal(r)
			}
		}
	}
	for range 20 {
		apply()
	}
	want := snapshotOf(t, s)
	taken, done := s.Snapshot(), make(chan []byte)
	go func() {
		var b bytes.Buffer
		if err := taken.Write(&b); err != nil {
			t.Error(err)
		}
		done <- b.Bytes()
	}()
	for range 40 {
		apply()
	}
	if have := <-done; !bytes.Equal(have, want) {
		t.Error("the snapshot shows what came after it")
	}
}

func TestReadSnapshotRefusesDamage(t *testing.T) {
	good := snapshotOf(t, played(t, 3, 40))
	if _, err := ReadSnapshot(bytes.NewReader(good), Limits{}); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := ReadSnapshot(bytes.NewReader(good[:n]), Limits{}); !errs.Is(err, errs.Corrupt) {
			t.Fatalf("cut at byte %d of %d: %v", n, len(good), err)
		}
		damaged := slices.Clone(good)
		damaged[n] ^= 1 << (n % 8)
		_, err := ReadSnapshot(bytes.NewReader(damaged), Limits{})
		if !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.Invalid) {
			t.Fatalf("bit %d of byte %d turned: %v", n%8, n, err)
		}
	}
}

func TestReadSnapshotErrors(t *testing.T) {
	good := snapshotOf(t, played(t, 3, 120))
	other := slices.Clone(good)
	binary.LittleEndian.PutUint32(other[8:], 2)
	for _, c := range []struct {
		name   string
		from   io.Reader
		limits Limits
		kind   errs.Kind
		says   string
	}{
		{"another file", strings.NewReader(strings.Repeat("x", 100)), Limits{}, errs.Corrupt, "not a ledger snapshot"},
		{"a later version", bytes.NewReader(other), Limits{}, errs.Invalid, "version 2"},
		{"too many accounts", bytes.NewReader(good), Limits{Accounts: 2}, errs.NoSpace, "the limit is 2"},
		{"too many transfers", bytes.NewReader(good), Limits{Transfers: 2}, errs.NoSpace, "the limit is 2"},
		{"too many freezes", bytes.NewReader(good), Limits{Freezes: 1}, errs.NoSpace, "the limit is 1"},
		{"too many failed ids", bytes.NewReader(good), Limits{FailedIDs: 1}, errs.NoSpace, "failed ids"},
		{"a disk that fails", io.MultiReader(bytes.NewReader(good[:200]), brokenReader{}), Limits{},
			errs.Unavailable, "disk on fire"},
	} {
		_, err := ReadSnapshot(c.from, c.limits)
		if !errs.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want kind %s and %q", c.name, err, c.kind, c.says)
		}
	}
}

var errFire = errs.New(errs.Unavailable, "disk on fire")

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errFire }

// brokenWriter fails once it has taken n bytes; short makes it take less than it is given and say
// nothing.
type brokenWriter struct {
	n     int
	short bool
}

func (w *brokenWriter) Write(b []byte) (int, error) {
	if len(b) <= w.n {
		w.n -= len(b)
		return len(b), nil
	}
	if w.short {
		return w.n, nil
	}
	return w.n, errFire
}

func TestWriteSnapshotErrors(t *testing.T) {
	s := played(t, 3, 60)
	size := len(snapshotOf(t, s))
	for n := 0; n < size; n += 1 + n/7 {
		if err := s.WriteSnapshot(&brokenWriter{n: n}); !errors.Is(err, errFire) || !errs.Is(err, errs.Unavailable) {
			t.Fatalf("full after %d bytes: %v", n, err)
		}
		if err := s.WriteSnapshot(&brokenWriter{n: n, short: true}); !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("short after %d bytes: %v", n, err)
		}
	}
	if err := s.WriteSnapshot(&brokenWriter{n: size}); err != nil {
		t.Error(err)
	}
}

// frame puts a payload into a snapshot whose every checksum is right.
func frame(payload []byte, events, failed uint64, now uint64) []byte {
	n := &Snapshot{}
	b := n.header()
	binary.LittleEndian.PutUint64(b[16:], now)
	binary.LittleEndian.PutUint64(b[24:], events)
	binary.LittleEndian.PutUint64(b[32:], failed)
	if len(payload) > 0 {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
		b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli()))
		b = append(b, payload...)
	}
	return append(b, make([]byte, footerSize+32)...)
}

// FuzzReadSnapshot feeds the reader hostile bytes, once as a file and once as the payload of a block
// whose checksum is right. It must answer with an error of a kind that fits, and never panic.
func FuzzReadSnapshot(f *testing.F) {
	for seed := range uint64(8) {
		s := played(f, seed, 5+2*int(seed))
		good := snapshotOf(f, s)
		f.Add(good, uint64(s.EventsLen()), uint64(s.FailedLen()), uint64(s.Now()))
		f.Add(good[headerSize+8:], uint64(s.EventsLen()), uint64(s.FailedLen()), uint64(s.Now()))
	}
	f.Fuzz(func(t *testing.T, b []byte, events, failed, now uint64) {
		if len(b) > snapshotBlock {
			return
		}
		for _, file := range [][]byte{b, frame(b, events, failed, now)} {
			s, err := ReadSnapshot(bytes.NewReader(file), Limits{})
			if err == nil {
				if err := s.CheckInvariants(); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(snapshotOf(t, s), file) {
					t.Fatal("read, but written back otherwise")
				}
				continue
			}
			if !errs.Is(err, errs.Corrupt) && !errs.Is(err, errs.Invalid) {
				t.Fatal(err)
			}
		}
	})
}
