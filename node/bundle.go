package node

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/lending/score"
	"surety/lending/scorer"
	"surety/sandbox/image/erofs"
	"surety/sandbox/policyfile"
)

// The scorer as an enclave.
const (
	// scorerProduct and scorerSVN name the product and the security version of this node's scorer: the
	// version rises when an earlier scorer must not be given models any more.
	scorerProduct = "surety-scorer"
	scorerSVN     = 1

	// modelsLayer is the secret layer with the models, and modelsDir where the scorer finds them.
	modelsLayer = "models"
	modelsDir   = "/models"

	// The node's own secrets at its broker: tenant, type and tag of the key of the models.
	nodeTenant = "node"
	keyType    = "layer-key"
	modelsTag  = "scorer-models"

	// formOfBundle changes when what a bundle is made of changes without the program changing.
	formOfBundle = "1"
)

// scorerBundle returns the scorer's bundle: the one that an earlier start built, where program, models
// and policy are still the same and the broker still has its key, and else a new one.
func (e *enclaves) scorerBundle(ctx context.Context, c *cells) (*pack.Bundle, error) {
	models := e.node.models()
	home := e.node.path("enclave", "scorer")
	dir := filepath.Join(home, bundleName(c.image.Program, models))
	if b, err := pack.Open(dir); err == nil {
		if has, err := e.broker.HasSecret(ctx, nodeTenant, keyType, modelsTag); err == nil && has {
			return b, e.allow(ctx, b.Signed())
		}
		if err := errors.Join(b.Close(), os.RemoveAll(dir)); err != nil {
			return nil, err
		}
	}
	if err := os.RemoveAll(home); err != nil { // bundles of other programs and models
		return nil, errs.As(errs.Unavailable, err, "node.enclave")
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, errs.As(errs.Unavailable, err, "node.enclave")
	}
	b, err := e.build(ctx, c, models, dir)
	if err != nil {
		return nil, errs.Wrap(err, "the scorer's bundle")
	}
	return b, e.allow(ctx, b.Signed())
}

// bundleName tells bundles apart that are made of different things.
func bundleName(program string, models []*score.Model) string {
	sum := sha256.New()
	fmt.Fprintln(sum, formOfBundle, program, scorerSVN, hex.EncodeToString(scorerPolicyText))
	for _, m := range models {
		fmt.Fprintln(sum, m.DigestText())
	}
	return hex.EncodeToString(sum.Sum(nil)[:12])
}

// build packs the program and the models under a new key, which the broker gets before the bundle is
// there: a bundle without its key is no use.
func (e *enclaves) build(ctx context.Context, c *cells, models []*score.Model, dir string) (
	*pack.Bundle, error) {
	if err := e.node.room(c.image.Size); err != nil {
		return nil, err
	}
	signer, err := e.signer()
	if err != nil {
		return nil, err
	}
	program, err := programTree(c.link)
	if err != nil {
		return nil, err
	}
	code, err := imageInMemory(ctx, "scorer", program)
	if err != nil {
		return nil, err
	}
	defer func() { _ = code.Close() }() // memory
	held, err := imageInMemory(ctx, modelsLayer, modelTree(models))
	if err != nil {
		return nil, err
	}
	defer func() { _ = held.Close() }() // memory
	var key layer.Key
	e.node.deps.Entropy.Fill(key[:])
	err = e.broker.PutSecret(ctx, nodeTenant, keyType, modelsTag, key[:], true)
	if err != nil {
		return nil, err
	}
	return pack.Build(ctx, dir, e.manifest(policyfile.Format(*c.policy)), []pack.Part{
		{Name: "code", Kind: enclave.Public, Target: "/", Image: openPath(code)},
		{Name: modelsLayer, Kind: enclave.Secret, Target: modelsDir, Image: openPath(held), Key: key,
			KeyRef: strings.Join([]string{brokerName, nodeTenant, keyType, modelsTag}, "/")},
	}, signer, nil)
}

// manifest is the scorer's, without its layers.
func (e *enclaves) manifest(policy []byte) enclave.Manifest {
	return enclave.Manifest{Format: 1, Name: "scorer", Product: scorerProduct, SVN: scorerSVN,
		Command: []string{cellProgram, modelsDir}, Cwd: "/", UID: cellUser, GID: cellUser,
		Policy: policy, Network: "none",
		Brokers: []enclave.Broker{{Name: brokerName, Key: e.broker.Key()}}}
}

// allow publishes the build and lets the broker release its key to it: to this very measurement, on
// this kind of machine, by this root, and on hardware to what booted when it was first allowed.
func (e *enclaves) allow(ctx context.Context, s enclave.Signed) error {
	if err := e.publish(ctx, s); err != nil {
		return err
	}
	rule, err := e.machine(ctx)
	if err != nil {
		return err
	}
	return e.broker.SetPolicy(ctx, nodeTenant, keyType+"/"+modelsTag, enclave.Policy{
		Name: "scorer", Machines: []enclave.MachineRule{rule},
		Measures: []enclave.Digest{s.Measure},
		TCB:      enclave.TCBUnknown, Logged: true})
}

// machine is the rule that admits this machine, by its own evidence.
func (e *enclaves) machine(ctx context.Context) (enclave.MachineRule, error) {
	rule := enclave.MachineRule{TEE: e.device.TEE()}
	nonce := make([]byte, enclave.MinNonce)
	e.node.deps.Entropy.Fill(nonce)
	binding := enclave.Binding{Purpose: enclave.ForAudit, Nonce: nonce}
	own, err := attest.Make(ctx, e.device, nil, binding)
	if err != nil {
		return rule, err
	}
	claims, err := e.verifier.Verify(own, binding, e.node.deps.Clock.Now())
	if err != nil {
		return rule, errs.Wrap(err, "this machine's own evidence")
	}
	rule.Roots = []enclave.KeyID{claims.Root}
	rule.Platforms = [][]byte{claims.Platform}
	return rule, nil
}

// signer is the key that signs the node's own bundles, made at the first start.
func (e *enclaves) signer() (ed25519.PrivateKey, error) {
	path := e.node.path("enclave", "signer.pem")
	key, err := pack.LoadKey(path)
	if errs.Is(err, errs.NotFound) {
		return pack.NewKey(path, func(p []byte) error { e.node.deps.Entropy.Fill(p); return nil })
	}
	return key, err
}

// programTree is a root file system with the program, and places to mount on: it takes no writes to
// make them.
func programTree(path string) (*erofs.Node, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "node.enclave")
	}
	root := directory()
	program := &erofs.Node{Mode: erofs.Regular | 0o555, Size: uint64(info.Size()), Content: onDisk(path)}
	failed := root.Put(scorer.Name, program)
	for _, place := range [...]string{modelsDir, "/dev", "/proc", "/sys", "/tmp"} { // to mount on
		failed = errors.Join(failed, root.Put(place[1:], directory()))
	}
	return root, failed
}

// modelTree is a file system with the models in the order in which the node asks for them.
func modelTree(models []*score.Model) *erofs.Node {
	root := directory()
	for i, m := range models {
		file := m.Bytes()
		// A name of two digits in an empty directory is taken.
		_ = root.Put(fmt.Sprintf("%02d", i), &erofs.Node{Mode: erofs.Regular | 0o444,
			Size: uint64(len(file)), Content: inMemory(file)})
	}
	return root
}

func directory() *erofs.Node { return &erofs.Node{Mode: erofs.Directory | 0o555} }

// onDisk is a file's content, inMemory that of bytes.
type (
	onDisk   string
	inMemory []byte
)

func (p onDisk) Open() (io.ReadCloser, error) { return os.Open(string(p)) }

func (b inMemory) Open() (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader(string(b))), nil
}

// imageInMemory writes a file system's image into memory of this process: the models are in no file
// in plaintext.
func imageInMemory(ctx context.Context, name string, root *erofs.Node) (*os.File, error) {
	plan, err := erofs.NewPlan(root)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "node.enclave: memory")
	}
	file := os.NewFile(uintptr(fd), name)
	if err := plan.Write(ctx, file, nil); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// openPath is a path by which this process opens a file that it has open.
func openPath(file *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", file.Fd()) }
