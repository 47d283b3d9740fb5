package tpm

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"github.com/google/go-tpm/tpm2"

	"surety/base/errs"
	"surety/enclave"
)

// Anchor keeps the epoch and root of one sealed state in the TPM, so that an old copy of the state
// is known even where no broker is at hand.
//
// Two indices make it: a counter, which the TPM lets go up and never down, even where the index is
// removed and defined again; and a record of counter, epoch and root with a MAC under the state's
// key. A record counts while its number is the counter's. So an old record cannot be put back, and
// a new one cannot be made up by who has the TPM and not the key. Whoever clears the TPM makes an
// anchor that knows nothing, and the state beside it is then refused.
type Anchor struct {
	device *Device
	index  uint32
	keys   [][32]byte // the first writes

	// The device's lock guards these, as it does the TPM.
	counter uint64
	epoch   uint64
	root    enclave.Digest
	unsure  bool // a commit was cut off: what the TPM has must be read again
}

// AnchorConfig says which anchor.
type AnchorConfig struct {
	Index uint32     // of the record, the next one is the counter's; zero: the default
	Keys  [][32]byte // of the state, the newest first: it writes under the first and reads any
}

// recordBytes: counter, epoch, root, MAC.
const (
	recordBytes = 8 + 8 + len(enclave.Digest{}) + sha256.Size
	macAt       = recordBytes - sha256.Size
	counterSize = 8
)

// anchorDomain keeps a MAC of a record from meaning anything else.
const anchorDomain = "surety.enclave/tpm-anchor/v1\n"

// OpenAnchor opens an anchor, and makes it at the first use. Kind Corrupt where its record is not
// one of the state's, or not the last.
func OpenAnchor(ctx context.Context, d *Device, c AnchorConfig) (*Anchor, error) {
	if err := ctx.Err(); err != nil {
		return nil, errs.As(errs.Canceled, err, "tpm.anchor")
	}
	if len(c.Keys) == 0 {
		return nil, errs.New(errs.Invalid, "tpm.anchor: no key")
	}
	if c.Index == 0 {
		c.Index = defaultIndex
	}
	a := &Anchor{device: d, index: c.Index}
	for _, key := range c.Keys {
		a.keys = append(a.keys, anchorKey(key))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := a.define(); err != nil {
		return nil, err
	}
	if err := a.load(); err != nil {
		return nil, err
	}
	return a, nil
}

func anchorKey(key [32]byte) [32]byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(anchorDomain))
	return [32]byte(mac.Sum(nil))
}

// define makes the indices where they are not there. A counter cannot be read before its first
// increment, nor a record before it was written; so a counter that is there means that a record is,
// but for a crash in between, which load finds.
func (a *Anchor) define() error {
	_, _, err := a.device.describeNV(a.counterIndex())
	if errs.Is(err, errs.NotFound) {
		if err = a.device.defineNV(a.counterIndex(), tpm2.TPMNTCounter, counterSize); err == nil {
			err = a.device.incrementNV(a.counterIndex())
		}
	}
	if err != nil {
		return err
	}
	_, _, err = a.device.describeNV(a.index)
	if errs.Is(err, errs.NotFound) {
		err = a.device.defineNV(a.index, tpm2.TPMNTOrdinary, recordBytes)
	}
	return err
}

func (a *Anchor) counterIndex() uint32 { return a.index + 1 }

// load reads counter and record. A record one above the counter is a commit that was cut off before
// its last step, which is done now.
func (a *Anchor) load() error {
	raw, err := a.device.readNV(a.counterIndex())
	if err != nil {
		return err
	}
	if len(raw) != counterSize {
		return errs.New(errs.Corrupt, "tpm.anchor: a counter of %d bytes, want %d", len(raw), counterSize)
	}
	a.counter = binary.BigEndian.Uint64(raw)
	public, _, err := a.device.describeNV(a.index)
	if err != nil {
		return err
	}
	if !public.Attributes.Written {
		return nil // nothing was ever committed
	}
	record, err := a.device.readNV(a.index)
	if err != nil {
		return err
	}
	number, err := a.open(record)
	if err != nil {
		return err
	}
	switch number {
	case a.counter:
		return nil
	case a.counter + 1:
		if err := a.device.incrementNV(a.counterIndex()); err != nil {
			return err
		}
		a.counter = number
		return nil
	}
	return errs.New(errs.Corrupt, "tpm.anchor: record %d, and the counter is at %d: an old record was "+
		"put back", number, a.counter)
}

// open checks a record's MAC and takes its epoch and root.
func (a *Anchor) open(record []byte) (number uint64, err error) {
	if len(record) != recordBytes {
		return 0, errs.New(errs.Corrupt, "tpm.anchor: a record of %d bytes, want %d", len(record),
			recordBytes)
	}
	for _, key := range a.keys {
		if hmac.Equal(sealRecord(key, record[:macAt]), record[macAt:]) {
			a.epoch = binary.BigEndian.Uint64(record[8:])
			a.root = enclave.Digest(record[16:macAt])
			return binary.BigEndian.Uint64(record), nil
		}
	}
	return 0, errs.New(errs.Corrupt, "tpm.anchor: the record is not one under the state's keys")
}

func sealRecord(key [32]byte, body []byte) []byte {
	mac := hmac.New(sha256.New, key[:])
	mac.Write(body)
	return mac.Sum(nil)
}

// Last is the epoch and root of the last commit; zero before the first.
func (a *Anchor) Last() (epoch uint64, root enclave.Digest) {
	a.device.mu.Lock()
	defer a.device.mu.Unlock()
	return a.epoch, a.root
}

// Commit records that the state is at the epoch with the root, and returns once the TPM has it. The
// epoch is the last one's next; the last one itself with its root is taken again. Kind Invalid
// otherwise.
func (a *Anchor) Commit(ctx context.Context, epoch uint64, root enclave.Digest) error {
	return a.commit(ctx, epoch, root, func() bool { return epoch == a.epoch+1 })
}

// Advance is Commit of any epoch that is later: of a state that was elsewhere meanwhile.
func (a *Anchor) Advance(ctx context.Context, epoch uint64, root enclave.Digest) error {
	return a.commit(ctx, epoch, root, func() bool { return epoch > a.epoch })
}

func (a *Anchor) commit(ctx context.Context, epoch uint64, root enclave.Digest, follows func() bool,
) error {
	if err := ctx.Err(); err != nil {
		return errs.As(errs.Canceled, err, "tpm.anchor")
	}
	a.device.mu.Lock()
	defer a.device.mu.Unlock()
	if a.unsure {
		if err := a.load(); err != nil {
			return err
		}
		a.unsure = false
	}
	if epoch == a.epoch && root == a.root {
		return nil
	}
	if !follows() {
		return errs.New(errs.Invalid, "tpm.anchor: epoch %d after %d", epoch, a.epoch)
	}
	a.unsure = true
	if err := a.device.writeNV(a.index, a.record(epoch, root)); err != nil {
		return err
	}
	if err := a.device.incrementNV(a.counterIndex()); err != nil {
		return err
	}
	a.counter, a.epoch, a.root, a.unsure = a.counter+1, epoch, root, false
	return nil
}

// record is what the next commit writes.
func (a *Anchor) record(epoch uint64, root enclave.Digest) []byte {
	record := make([]byte, 16, recordBytes)
	binary.BigEndian.PutUint64(record, a.counter+1)
	binary.BigEndian.PutUint64(record[8:], epoch)
	record = append(record, root[:]...)
	return append(record, sealRecord(a.keys[0], record)...)
}
