package sev

import (
	"context"
	"crypto"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-sev-guest/abi"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
	"surety/sys/wallclock"
)

// The files of a simulation's directory.
const (
	RootFile    = "root.pem" // the certificate that a verifier has to be given
	keysFile    = "keys.pem" // the three private keys
	chainFile   = "chain.pem"
	measureFile = "measured.json"
)

// Simulation is a device that signs for itself.
type Simulation struct {
	keys    *authority
	measure [48]byte
	clock   wallclock.Clock
	random  reader

	mu      sync.Mutex // guards what follows
	support []byte
	listAt  clock.Instant
}

// OpenSimulation opens the simulation whose keys are in dir, and makes it there at the first use,
// mode 0700: two processes that come at once get the same one. What its reports have as launch
// measurement is the SHA-384 of the file program, as this process reads it: a claim.
func OpenSimulation(dir, program string, c wallclock.Clock, source entropy.Source) (*Simulation, error) {
	keys, err := openAuthority(dir, c, source)
	if err != nil {
		return nil, err
	}
	s := &Simulation{keys: keys, clock: c, random: reader{source}}
	s.measure, err = measureProgram(dir, program)
	return s, err
}

// TEE is enclave.Sim.
func (s *Simulation) TEE() enclave.TEE { return enclave.Sim }

// Describe says what it is.
func (s *Simulation) Describe() string {
	return "SIMULATED: self-reported measurement, no memory protection"
}

// Close lets go of nothing: there is no device.
func (s *Simulation) Close() error { return nil }

// Report returns a report without host data.
func (s *Simulation) Report(ctx context.Context, data [64]byte) (report, support []byte, err error) {
	return s.ReportFor(ctx, data, [32]byte{})
}

// ReportFor returns a report with the host data, which the launcher of a real machine sets once and
// for all at its start.
func (s *Simulation) ReportFor(ctx context.Context, data [64]byte, hostData [32]byte,
) (report, support []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, errs.As(errs.Canceled, err, "sev.simulate")
	}
	if support, err = s.table(); err != nil {
		return nil, nil, err
	}
	report, err = s.keys.report(data, s.measure, hostData, s.random)
	return report, support, err
}

// table returns the certificates and a list of revoked ones that is not older than crlRenew.
func (s *Simulation) table() ([]byte, error) {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.support != nil && now.Sub(s.listAt) < clock.Duration(crlRenew) {
		return s.support, nil
	}
	list, err := s.keys.revoke(timeOf(now), s.random)
	if err != nil {
		return nil, err
	}
	s.listAt = now
	s.support = formatTable(named{abi.VcekGUID, s.keys.chip.Raw}, named{abi.AskGUID, s.keys.below.Raw},
		named{abi.ArkGUID, s.keys.root.Raw}, named{crlGUID, list})
	return s.support, nil
}

// timeOf is the instant in the form that certificates have.
func timeOf(at clock.Instant) time.Time { return time.Unix(0, int64(at)).UTC() }

// SimulatedRoot returns the certificate, in PEM, that the simulation's chain ends in; the simulation
// is made where there is none.
func SimulatedRoot(dir string, c wallclock.Clock, source entropy.Source) ([]byte, error) {
	keys, err := openAuthority(dir, c, source)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: keys.root.Raw}), nil
}

func openAuthority(dir string, c wallclock.Clock, source entropy.Source) (*authority, error) {
	keys, err := loadAuthority(dir)
	if !errs.Is(err, errs.NotFound) {
		return keys, err
	}
	if err := createAuthority(dir, c, source); err != nil {
		return nil, err
	}
	return loadAuthority(dir)
}

// createAuthority makes a simulation beside its place and moves it there in one step; where another
// process was quicker, the other's stays.
func createAuthority(dir string, c wallclock.Clock, source entropy.Source) error {
	keys, err := newAuthority(timeOf(c.Now()), source)
	if err != nil {
		return err
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return errs.As(errs.Internal, err, "sev.simulate: %s", dir)
	}
	draft, err := os.MkdirTemp(parent, ".simulated-") // mode 0700
	if err != nil {
		return errs.As(errs.Internal, err, "sev.simulate: %s", dir)
	}
	defer func() { _ = os.RemoveAll(draft) }() // gone already where it was moved
	if err := keys.save(draft); err != nil {
		return err
	}
	if err := os.Rename(draft, dir); err != nil {
		if _, there := os.Stat(filepath.Join(dir, RootFile)); there == nil {
			return nil
		}
		return errs.As(errs.Internal, err, "sev.simulate: %s", dir)
	}
	return nil
}

func (a *authority) save(dir string) error {
	var keys, chain []byte
	for _, key := range []crypto.Signer{a.rootKey, a.belowKey, a.chipKey} {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return errs.As(errs.Internal, err, "sev.simulate: keys")
		}
		keys = append(keys, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	}
	for _, c := range []*x509.Certificate{a.below, a.chip} {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})
	for _, f := range []struct {
		name    string
		content []byte
	}{{keysFile, keys}, {chainFile, chain}, {RootFile, root}} {
		if err := os.WriteFile(filepath.Join(dir, f.name), f.content, 0o600); err != nil {
			return errs.As(errs.Internal, err, "sev.simulate: %s", f.name)
		}
	}
	return nil
}

// loadAuthority reads a simulation; kind NotFound where there is none, Corrupt where it is broken.
func loadAuthority(dir string) (*authority, error) {
	certificates, err := loadPEM(dir, RootFile, "CERTIFICATE", 1)
	if err != nil {
		return nil, err
	}
	chain, err := loadPEM(dir, chainFile, "CERTIFICATE", 2)
	if err != nil {
		return nil, err
	}
	keys, err := loadPEM(dir, keysFile, "PRIVATE KEY", 3)
	if err != nil {
		return nil, err
	}
	a := &authority{}
	for i, into := range []**x509.Certificate{&a.root, &a.below, &a.chip} {
		if *into, err = x509.ParseCertificate(append(certificates, chain...)[i]); err != nil {
			return nil, errs.As(errs.Corrupt, err, "sev.simulate: %s: certificate %d", dir, i)
		}
	}
	for i, into := range []*crypto.Signer{&a.rootKey, &a.belowKey, &a.chipKey} {
		key, err := x509.ParsePKCS8PrivateKey(keys[i])
		signer, able := key.(crypto.Signer)
		if err != nil || !able {
			return nil, errs.New(errs.Corrupt, "sev.simulate: %s: private key %d: %v", dir, i, err)
		}
		*into = signer
	}
	return a, nil
}

// loadPEM reads a file of so many blocks of the type.
func loadPEM(dir, name, kind string, want int) ([][]byte, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if os.IsNotExist(err) && name == RootFile {
		return nil, errs.New(errs.NotFound, "sev.simulate: no simulation in %s", dir)
	}
	if err != nil {
		return nil, errs.As(errs.Corrupt, err, "sev.simulate: %s", name)
	}
	var blocks [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			blocks = append(blocks, block.Bytes)
		}
	}
	if len(blocks) != want {
		return nil, errs.New(errs.Corrupt, "sev.simulate: %s has %d blocks of type %s, want %d",
			filepath.Join(dir, name), len(blocks), kind, want)
	}
	return blocks, nil
}

// measured remembers the hash of a program, and which file it was of: a binary of a hundred
// megabytes is not read again at each start. Whoever can forge the file's inode can forge the
// report.
type measured struct {
	Device, Inode     uint64
	Size              int64
	Changed, Modified int64 // nanoseconds
	SHA384            string
}

// measureProgram returns the SHA-384 of the file.
func measureProgram(dir, program string) (sum [48]byte, err error) {
	f, err := os.Open(program)
	if err != nil {
		return sum, errs.As(errs.NotFound, err, "sev.simulate: the program to measure")
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return sum, errs.As(errs.Internal, err, "sev.simulate: %s", program)
	}
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return sum, errs.New(errs.Internal, "sev.simulate: %s has no inode", program)
	}
	want := measured{Device: stat.Dev, Inode: stat.Ino, Size: stat.Size, Changed: stat.Ctim.Nano(),
		Modified: stat.Mtim.Nano()}
	path := filepath.Join(dir, measureFile)
	var kept measured
	if data, bad := os.ReadFile(path); bad == nil && json.Unmarshal(data, &kept) == nil {
		want.SHA384 = kept.SHA384
		if raw, bad := hex.DecodeString(kept.SHA384); kept == want && bad == nil && len(raw) == len(sum) {
			return [48]byte(raw), nil
		}
	}
	hash := sha512.New384()
	if _, err := io.Copy(hash, f); err != nil {
		return sum, errs.As(errs.Internal, err, "sev.simulate: read %s", program)
	}
	hash.Sum(sum[:0])
	want.SHA384 = hex.EncodeToString(sum[:])
	if data, bad := json.Marshal(want); bad == nil {
		_ = os.WriteFile(path, data, 0o600) // without it the next start reads the file again
	}
	return sum, nil
}

// reader gives entropy to what wants an io.Reader.
type reader struct{ source entropy.Source }

func (r reader) Read(p []byte) (int, error) {
	r.source.Fill(p)
	return len(p), nil
}

func sha384(data []byte) []byte {
	sum := sha512.Sum384(data)
	return sum[:]
}

func put32(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
func put64(b []byte, at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }
