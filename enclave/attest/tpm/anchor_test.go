package tpm

import (
	"context"
	"strings"
	"testing"

	"surety/base/errs"
	"surety/enclave"
)

func rootAt(epoch uint64) enclave.Digest { return enclave.Digest{byte(epoch), 1} }

func openAnchor(t *testing.T, d *Device, keys ...[32]byte) *Anchor {
	t.Helper()
	a, err := OpenAnchor(t.Context(), d, AnchorConfig{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func commit(t *testing.T, a *Anchor, from, to uint64) {
	t.Helper()
	for epoch := from; epoch <= to; epoch++ {
		if err := a.Commit(t.Context(), epoch, rootAt(epoch)); err != nil {
			t.Fatal(err)
		}
	}
}

// The TPM remembers the last epoch and root, over a restart of it, and under a newer key.
func TestAnchorRemembers(t *testing.T) {
	dir, old, newer := t.TempDir(), [32]byte{1}, [32]byte{2}
	e := startEmulator(t, dir)
	d := openDevice(t, e)
	a := openAnchor(t, d, old)
	if epoch, root := a.Last(); epoch != 0 || !root.IsZero() {
		t.Errorf("a new anchor is at %d %s", epoch, root)
	}
	commit(t, a, 1, 3)
	if err := a.Commit(t.Context(), 3, rootAt(3)); err != nil {
		t.Errorf("told the same twice: %v", err)
	}
	for _, epoch := range []uint64{2, 5} {
		if err := a.Commit(t.Context(), epoch, rootAt(epoch)); !errs.Is(err, errs.Invalid) {
			t.Errorf("epoch %d after 3: %v", epoch, err)
		}
	}
	if err := a.Commit(t.Context(), 3, rootAt(4)); !errs.Is(err, errs.Invalid) {
		t.Errorf("another root for epoch 3: %v", err)
	}
	_ = d.Close()
	e.stop()
	d = openDevice(t, startEmulator(t, dir))
	a = openAnchor(t, d, newer, old)
	if epoch, root := a.Last(); epoch != 3 || root != rootAt(3) {
		t.Errorf("after a restart at %d %s", epoch, root)
	}
	commit(t, a, 4, 4)
	if _, err := OpenAnchor(t.Context(), d, AnchorConfig{Keys: [][32]byte{old}}); !errs.Is(err, errs.Corrupt) {
		t.Errorf("an older key reads a newer record: %v", err)
	}
	if epoch, _ := openAnchor(t, d, newer).Last(); epoch != 4 {
		t.Errorf("at %d, want 4", epoch)
	}
}

// Who has the TPM and not the key cannot set an anchor back, nor make one up.
func TestAnchorIsNotSetBack(t *testing.T) {
	d := openDevice(t, startEmulator(t, t.TempDir()))
	key := [32]byte{1}
	a := openAnchor(t, d, key)
	commit(t, a, 1, 1)
	d.mu.Lock()
	old, err := d.readNV(a.index)
	d.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	commit(t, a, 2, 4)
	forged := append([]byte{}, old...)
	forged[7] = byte(a.counter)
	for name, c := range map[string]struct {
		record []byte
		says   string
	}{
		"an old record":        {old, "an old record was put back"},
		"an old one, numbered": {forged, "not one under the state's keys"},
		"nothing":              {make([]byte, recordBytes), "not one under the state's keys"},
	} {
		d.mu.Lock()
		err := d.writeNV(a.index, c.record)
		d.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		_, err = OpenAnchor(t.Context(), d, AnchorConfig{Keys: [][32]byte{key}})
		if !errs.Is(err, errs.Corrupt) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// A crash between the record and the counter leaves a commit that is whole: the next open ends it.
func TestAnchorAfterACrash(t *testing.T) {
	d := openDevice(t, startEmulator(t, t.TempDir()))
	key := [32]byte{1}
	a := openAnchor(t, d, key)
	commit(t, a, 1, 2)
	d.mu.Lock()
	err := d.writeNV(a.index, a.record(3, rootAt(3)))
	d.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	again := openAnchor(t, d, key)
	if epoch, root := again.Last(); epoch != 3 || root != rootAt(3) {
		t.Errorf("at %d %s, want 3", epoch, root)
	}
	commit(t, again, 4, 4)
	// The first one is behind: it was cut off, asks the TPM, and is refused the epoch that is taken.
	a.unsure = true
	if err := a.Commit(t.Context(), 3, rootAt(3)); !errs.Is(err, errs.Invalid) {
		t.Errorf("an epoch that has passed: %v", err)
	}
}

func TestAnchorIsRefused(t *testing.T) {
	d := openDevice(t, startEmulator(t, t.TempDir()))
	if _, err := OpenAnchor(t.Context(), d, AnchorConfig{}); !errs.Is(err, errs.Invalid) {
		t.Errorf("no key: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenAnchor(ended, d, AnchorConfig{Keys: [][32]byte{{1}}}); !errs.Is(err, errs.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
	a := openAnchor(t, d, [32]byte{1})
	if err := a.Commit(ended, 1, rootAt(1)); !errs.Is(err, errs.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
	if _, _, err := d.Report(ended, [64]byte{}); !errs.Is(err, errs.Canceled) {
		t.Errorf("nobody waits: %v", err)
	}
}

// broker stands for a lease: it knows what it was told last, and can be set back.
type broker struct {
	epoch uint64
	root  enclave.Digest
	gone  bool
}

func (b *broker) Last() (uint64, enclave.Digest) { return b.epoch, b.root }

func (b *broker) Commit(_ context.Context, epoch uint64, root enclave.Digest) error {
	if b.gone {
		return errs.New(errs.Unavailable, "no broker")
	}
	b.epoch, b.root = epoch, root
	return nil
}

// A broker that was set back is known by the TPM; a state that was elsewhere is taken.
func TestTPMBesideABroker(t *testing.T) {
	d := openDevice(t, startEmulator(t, t.TempDir()))
	lease := &broker{}
	open := func() (Keeper, error) {
		t.Helper()
		a, err := OpenAnchor(t.Context(), d, AnchorConfig{Index: IndexOf("scorer", "data"),
			Keys: [][32]byte{{1}}})
		if err != nil {
			t.Fatal(err)
		}
		return Beside(lease, a)
	}
	both, err := open()
	if err != nil {
		t.Fatal(err)
	}
	for epoch := uint64(1); epoch <= 3; epoch++ {
		if err := both.Commit(t.Context(), epoch, rootAt(epoch)); err != nil {
			t.Fatal(err)
		}
	}
	if epoch, root := both.Last(); epoch != 3 || root != rootAt(3) {
		t.Errorf("at %d %s", epoch, root)
	}
	lease.gone = true
	if err := both.Commit(t.Context(), 4, rootAt(4)); !errs.Is(err, errs.Unavailable) {
		t.Errorf("no broker: %v", err)
	}
	if _, err = open(); err != nil {
		t.Fatalf("after a broker that was away: %v", err)
	}
	*lease = broker{epoch: 9, root: rootAt(9)} // on another machine meanwhile
	if both, err = open(); err != nil {
		t.Fatalf("after a while elsewhere: %v", err)
	}
	if err := both.Commit(t.Context(), 10, rootAt(10)); err != nil {
		t.Fatal(err)
	}
	for name, old := range map[string]broker{"set back": {epoch: 9, root: rootAt(9)},
		"emptied": {}, "another history": {epoch: 10, root: rootAt(11)}} {
		*lease = old
		if _, err := open(); !errs.Is(err, errs.Refused) {
			t.Errorf("a broker that was %s: %v", name, err)
		}
	}
}
