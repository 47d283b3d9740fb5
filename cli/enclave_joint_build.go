package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/lending/joint"
	"surety/sys/entropy"
)

// jointLayer describes a party's sealed columns, for whoever builds the bundle.
type jointLayer struct {
	Party    string         `json:"party"`
	Contract enclave.Digest `json:"contract"`
	ID       [16]byte       `json:"id"`
	Bytes    uint64         `json:"bytes"`
	Root     enclave.Digest `json:"root"`
	Rows     int            `json:"rows"`
}

// jointManifest is the enclave's, without its layers: everything in it follows from the contract.
func jointManifest(c *enclave.Contract) enclave.Manifest {
	m := enclave.Manifest{Format: enclave.FormatNow, Name: c.Name, Product: joint.Program, SVN: 1,
		Command: []string{"/" + joint.Program}, Cwd: "/", UID: 65534, GID: 65534,
		Network: enclave.NetworkNone}
	for _, p := range c.Parties {
		m.Brokers = append(m.Brokers, enclave.Broker{Name: p.Broker, Key: p.BrokerKey})
	}
	return m
}

// jointKind and jointTag name a party's key at its broker; the tenant is the party.
const (
	jointKind = "joint"
	jointTag  = "columns"
)

// jointParts are the layers but for the parties': the program, and the contract's file.
func jointParts(env *Env, dir string, contract []byte) ([]pack.Part, error) {
	root, terms := filepath.Join(dir, "root"), filepath.Join(dir, "contract")
	for _, path := range []string{root, terms} {
		if err := os.Mkdir(path, 0o755); err != nil {
			return nil, fileError(err, "build")
		}
	}
	if err := copyProgram(env.Program, filepath.Join(root, joint.Program)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(terms, joint.ContractFile), contract, 0o644); err != nil {
		return nil, fileError(err, "build")
	}
	if err := errors.Join(openModes(root), openModes(terms)); err != nil {
		return nil, err
	}
	return []pack.Part{{Name: "program", Kind: enclave.Public, Target: "/", Dir: root},
		{Name: "contract", Kind: enclave.Public, Target: enclave.ContractTarget, Dir: terms}}, nil
}

// openModes gives a layer's directory and its files the modes that they have inside, whatever the
// caller's umask: the program runs as nobody, and modes are measured. The program alone is executable.
func openModes(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fileError(err, "build")
	}
	failed := []error{os.Chmod(dir, 0o755)}
	for _, entry := range entries {
		mode := os.FileMode(0o644)
		if entry.Name() == joint.Program {
			mode = 0o755
		}
		failed = append(failed, os.Chmod(filepath.Join(dir, entry.Name()), mode))
	}
	return fileErrorOrNil(errors.Join(failed...), "build")
}

func copyProgram(from, to string) error {
	if from == "" {
		return errs.New(errs.Unavailable, "build: this process is not the program")
	}
	in, err := os.Open(from)
	if err != nil {
		return fileError(err, "program")
	}
	defer func() { _ = in.Close() }() // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return fileError(err, "program")
	}
	_, err = io.Copy(out, in)
	return fileErrorOrNil(errors.Join(err, out.Close()), "program")
}

// jointProgram returns the digest of the contract's program when it is this very program: it builds
// a bundle with nothing in the parties' layers, and forgets it.
func jointProgram(ctx context.Context, env *Env, c *enclave.Contract) (enclave.Digest, error) {
	dir, err := os.MkdirTemp("", "surety-joint-")
	if err != nil {
		return enclave.Digest{}, fileError(err, "build")
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the system's temporary files
	parts, err := jointParts(env, dir, []byte("none yet"))
	if err != nil {
		return enclave.Digest{}, err
	}
	empty := filepath.Join(dir, "empty")
	if err := os.Mkdir(empty, 0o700); err != nil {
		return enclave.Digest{}, fileError(err, "build")
	}
	for _, p := range c.Parties {
		parts = append(parts, pack.Part{Name: jointLayerName(p.Name), Kind: enclave.Secret,
			Target: enclave.DataTarget + p.Name, Dir: empty, KeyRef: jointKeyRef(&p)})
	}
	var seed [ed25519.SeedSize]byte
	entropy.System().Fill(seed[:])
	b, err := pack.Build(ctx, filepath.Join(dir, "bundle"), jointManifest(c), parts,
		ed25519.NewKeyFromSeed(seed[:]), nil)
	if err != nil {
		return enclave.Digest{}, err
	}
	digest, err := enclave.ProgramDigest(b.Signed().Manifest)
	return digest, errors.Join(err, b.Close())
}

func jointLayerName(party string) string { return "columns-" + party }

func jointKeyRef(p *enclave.Party) string {
	return p.Broker + "/" + p.Name + "/" + jointKind + "/" + jointTag
}

func jointBuild(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "build CONTRACT",
		Short: "Build the enclave of a contract and the parties' sealed columns",
		Long: `Needs no party's key: the columns are sealed by their owners. What comes out is
measured, with the contract's digest in it, and is what each party then admits, or not. Whoever
builds it signs it with the key in --signer, which is made where it is absent. With -o json
{bundle, measure, program, contract, signer}.`,
		Example: `  surety enclave joint build contract.cbor --columns bank=bank --columns shop=shop`,
		Args:    exactArgs("CONTRACT"),
	}
	var columns []string
	out, signer := "joint.bundle", "joint-signer.pem"
	c.Flags().StringArrayVar(&columns, "columns", nil, "NAME=DIRECTORY with a party's columns.sealed and "+
		"columns.json (one for each)")
	c.Flags().StringVar(&out, "out", out, "bundle to make")
	c.Flags().StringVar(&signer, "signer", signer, "key that signs the bundle")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		dirs, err := namedPaths(c, "columns", columns)
		if err != nil {
			return err
		}
		signed, err := buildJoint(ctx, env, args[0], dirs, out, signer)
		if err != nil {
			return err
		}
		built := builtJoint{Bundle: out, Measure: signed.Measure, Contract: signed.Manifest.Contract,
			Signer: signed.Signer}
		if built.Program, err = enclave.ProgramDigest(signed.Manifest); err != nil {
			return err
		}
		return env.show(built, func(w io.Writer) error {
			return writePairs(w, pair{"bundle", out}, pair{"measure", built.Measure},
				pair{"program", built.Program}, pair{"contract", built.Contract}, pair{"signer", built.Signer})
		})
	})
}

type builtJoint struct {
	Bundle   string         `json:"bundle"`
	Measure  enclave.Digest `json:"measure"`
	Program  enclave.Digest `json:"program"`
	Contract enclave.Digest `json:"contract"`
	Signer   enclave.KeyID  `json:"signer"`
}

func buildJoint(ctx context.Context, env *Env, contract string, dirs map[string]string,
	out, signer string) (signed enclave.Signed, err error) {
	s, content, err := readContract(contract)
	if err != nil {
		return signed, err
	}
	dir, err := os.MkdirTemp("", "surety-joint-")
	if err != nil {
		return signed, fileError(err, "build")
	}
	defer func() { _ = os.RemoveAll(dir) }() // of the system's temporary files
	parts, err := jointParts(env, dir, content)
	if err != nil {
		return signed, err
	}
	for i := range s.Contract.Parties {
		part, err := sealedPart(s, &s.Contract.Parties[i], dirs)
		if err != nil {
			return signed, err
		}
		parts = append(parts, part)
	}
	key, err := loadOrMakeKey(signer)
	if err != nil {
		return signed, err
	}
	m := jointManifest(s.Contract)
	m.Contract = s.Digest
	b, err := pack.Build(ctx, out, m, parts, key, nil)
	if err != nil {
		return signed, err
	}
	signed = b.Signed()
	return signed, errors.Join(s.Binds(signed.Manifest), b.Close())
}

func sealedPart(s enclave.SignedContract, p *enclave.Party, dirs map[string]string) (part pack.Part,
	err error) {
	dir := dirs[p.Name]
	if dir == "" {
		return part, errs.New(errs.Invalid, "build: the columns of %q are missing: --columns %s=DIRECTORY",
			p.Name, p.Name)
	}
	var l jointLayer
	if err := readJSON(filepath.Join(dir, jointLayerFile), &l); err != nil {
		return part, err
	}
	if l.Contract != s.Digest || l.Party != p.Name {
		return part, errs.New(errs.Refused, "build: %s holds columns of %.80q under contract %s, want %q "+
			"under %s", dir, l.Party, l.Contract, p.Name, s.Digest)
	}
	return pack.Part{Name: jointLayerName(p.Name), Kind: enclave.Secret,
		Target: enclave.DataTarget + p.Name, Image: filepath.Join(dir, jointSealedFile),
		KeyRef: jointKeyRef(p), Sealed: &layer.Sealed{ID: l.ID, Bytes: l.Bytes, Root: l.Root}}, nil
}

func loadOrMakeKey(path string) (ed25519.PrivateKey, error) {
	if exists(path) {
		return pack.LoadKey(path)
	}
	return pack.NewKey(path, func(p []byte) error { entropy.System().Fill(p); return nil })
}
