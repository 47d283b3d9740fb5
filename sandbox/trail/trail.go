package trail

import (
	"context"
	"io"
	"time"

	"surety/base/clock"
	"surety/sandbox"
	"surety/sandbox/ring"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Config says where a trail is kept and how.
type Config struct {
	Dir     string // of this trail alone; made where it is absent
	Sandbox string // its id
	Key     SigningKey

	FS           vfs.FS          // nil: the machine's
	Clock        wallclock.Clock // nil: the machine's
	SealRecords  int             // a seal after so many entries; 0: 4096
	SealEvery    time.Duration   // and after so long; 0: one second
	SyncEvery    time.Duration   // between fsyncs; 0: one second
	SegmentBytes int64           // of one file; 0: 64 MiB
	MaxBytes     int64           // of the whole trail; 0: no limit but the disk's
}

// Writer writes one trail: one per sandbox, in its supervisor.
type Writer struct{}

// Create begins a trail. Errors: Exists where the directory holds one, Locked, NoSpace.
func Create(c Config) (*Writer, error) { panic("unimplemented") }

// Drain moves records from the ring into the trail, seals and syncs, until ctx is done and the ring
// is empty (nil), or an error: Corrupt for a record that does not continue the chain, NoSpace for a
// full disk or trail. After an error the sandbox must be killed, then Finish called.
func (w *Writer) Drain(ctx context.Context, c *ring.Consumer) error { panic("unimplemented") }

// Birth waits for the first record.
func (w *Writer) Birth(ctx context.Context) (sandbox.Birth, error) { panic("unimplemented") }

// Outside appends a record of the host's own; Seq, Outside and At (where zero) are set here.
func (w *Writer) Outside(rec sandbox.Record) error { panic("unimplemented") }

// Finish drains what is left in the ring, writes the final record and seal, syncs and lets go of the
// trail. The sandbox must be dead and Drain have returned. status is the exit status.
func (w *Writer) Finish(reason string, status int) error { panic("unimplemented") }

// Close lets go of the trail without an end: Recover can give it one.
func (w *Writer) Close() error { panic("unimplemented") }

// Recover ends the trail of a sandbox whose supervisor died: what the ring at ringPath holds is
// appended, then a final record. A trail that has one, and a ring that does not exist, are no error.
// Locked while its supervisor lives.
func Recover(c Config, ringPath, reason string, status int) error { panic("unimplemented") }

// Head is how far a trail has got, as its last seal says: what is anchored elsewhere.
type Head struct {
	Sandbox string `json:"sandbox"`
	Seq     uint64 `json:"seq"`
	Head    string `json:"head"` // of the chain, hex
	Seal    string `json:"seal"` // SHA-256 of the seal, hex
}

// HeadOf reads the last seal of the trail in dir.
func HeadOf(dir string) (Head, error) { panic("unimplemented") }

// Reader reads a trail: a directory or an exported bundle.
type Reader struct{}

// Open opens the trail at path for reading.
func Open(path string) (*Reader, error) { panic("unimplemented") }

// Next returns the next record, inside and outside ones in the order they were written; valid until
// the next call. io.EOF at the end of what there is now: a later call may give more.
func (r *Reader) Next() (*sandbox.Record, error) { panic("unimplemented") }

// Follow is Next that waits for more, until the final record was read (io.EOF) or ctx is done.
func (r *Reader) Follow(ctx context.Context) (*sandbox.Record, error) { panic("unimplemented") }

// Birth returns the first record's content; NotFound before there is one.
func (r *Reader) Birth() (sandbox.Birth, error) { panic("unimplemented") }

func (r *Reader) Close() error { panic("unimplemented") }

// Check says what a trail is verified against.
type Check struct {
	Key     PublicKey // zero: the one the birth record names
	Anchors []Head    // heads noted elsewhere while the sandbox ran
	Running bool      // a trail without a final record is no fault
}

// Fault is one thing wrong with a trail.
type Fault struct {
	Segment int    `json:"segment"`
	Offset  int64  `json:"offset"`
	Seq     uint64 `json:"seq"` // of the last inside record before it
	Text    string `json:"text"`
}

// Report is what verifying a trail has shown.
type Report struct {
	Sandbox  string         `json:"sandbox"`
	Key      string         `json:"key"`
	KeyFrom  string         `json:"key_from"` // given | birth
	Birth    *sandbox.Birth `json:"birth,omitempty"`
	Segments int            `json:"segments"`
	Bytes    int64          `json:"bytes"`
	Records  uint64         `json:"records"` // from inside, without a gap
	Outside  uint64         `json:"outside"`
	From     clock.Instant  `json:"from"`
	To       clock.Instant  `json:"to"`
	Head     Head           `json:"head"`
	Seals    uint64         `json:"seals"`
	Unsealed uint64         `json:"unsealed"` // entries after the last seal
	Torn     int64          `json:"torn"`     // bytes of unfinished entries that recoveries covered up
	Ended    bool           `json:"ended"`
	Running  bool           `json:"running"`
	Reason   string         `json:"reason,omitempty"`
	Status   int64          `json:"status"`
	Anchored uint64         `json:"anchored"`         // anchors that hold
	Anchor   *Head          `json:"anchor,omitempty"` // the latest of them
	Faults   []Fault        `json:"faults,omitempty"`
}

// Verify checks the whole trail at path, offline. The error is of kind Corrupt where the report has
// faults, and names the first.
func Verify(path string, c Check) (Report, error) { panic("unimplemented") }

// Export writes the trail in dir as one tar file that Open and Verify take as they take dir.
func Export(dir string, w io.Writer) error { panic("unimplemented") }

// SigningKey signs seals: one per host. It shows as "redacted".
type SigningKey struct{ seed [32]byte }

// LoadKey reads the key at path, and makes it where there is none.
func LoadKey(path string) (SigningKey, error) { panic("unimplemented") }

// Public is the key's public half.
func (k SigningKey) Public() PublicKey { panic("unimplemented") }

// PublicKey checks seals. Its text is ed25519: and 64 hex digits, as in sandbox.Birth.Key.
type PublicKey [32]byte

func (k PublicKey) String() string { panic("unimplemented") }

// ParseKey reads what String gave.
func ParseKey(text string) (PublicKey, error) { panic("unimplemented") }
