package node

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"time"

	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave/launch"
	"surety/enclave/pack"
	"surety/lending/scorer"
	"surety/sandbox"
	"surety/sandbox/policyfile"
	"surety/sandbox/runtime"
)

// cells are the sandboxes that the scorer runs in, one after the other.
type cells struct {
	node     *Node
	host     *runtime.Host
	enclaves *enclaves // nil where they are plain sandboxes
	program  string    // path of this program
	link     string    // to it, by the name of a scorer
	memory   string    // file that remembers what the program measured

	// What follows is made at the first launch; launches come one after the other.
	image  measured
	policy *sandbox.Policy
	bundle *pack.Bundle // of enclaves
	ready  bool
}

const (
	// cellProgram is the only file of a scorer's root file system.
	cellProgram = "/" + scorer.Name

	// cellUser is nobody, by Debian's number: the program owns nothing, inside or out.
	cellUser = 65534

	// cellEnd bounds how long a sandbox may take to end: its trail is closed and sealed by then.
	cellEnd = 10 * time.Second
)

//go:embed scorer.policy.yaml
var scorerPolicyText []byte

// openCells opens where the node's sandboxes are kept; none is started.
func (n *Node) openCells() (*cells, error) {
	host, err := runtime.Open(runtime.Config{Root: n.path("sandbox"), Log: n.log})
	if err != nil {
		return nil, err
	}
	c := &cells{node: n, host: host, program: n.deps.Program, link: n.path("sandbox", scorer.Name),
		memory: n.path("sandbox", "scorer.json")}
	// The program is known inside by the name under which it is a scorer.
	err = os.Symlink(c.program, c.link)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, errs.As(errs.Unavailable, err, "node.scorer")
	}
	n.auditor.host, n.auditor.log = host, n.evidence
	return c, nil
}

// launch starts a sandbox with the scorer in it. It is a scorer.Launcher.
func (c *cells) launch(ctx context.Context) (scorer.Process, error) {
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	in, out, err := pipes()
	if err != nil {
		return nil, err
	}
	started := &cell{in: in[1], out: out[0], auditor: c.node.auditor}
	err = c.start(ctx, started, in[0], out[1])
	err = errors.Join(err, in[0].Close(), out[1].Close())
	if err != nil {
		return nil, errors.Join(err, in[1].Close(), out[0].Close())
	}
	started.watched = c.node.auditor.watch(ctx, started.box, started.shown)
	return started, nil
}

// prepare makes the image, the policy and the bundle, which do not change while the node runs.
func (c *cells) prepare(ctx context.Context) (err error) {
	if c.ready {
		return nil
	}
	if c.image, err = c.measure(ctx); err != nil {
		return err
	}
	if c.policy, err = scorerPolicy(c.image.Program); err != nil {
		return err
	}
	if c.enclaves != nil {
		c.bundle, err = c.enclaves.scorerBundle(ctx, c)
	}
	c.ready = err == nil
	return err
}

// start boots a sandbox and lets the scorer run: as an enclave, once it has shown what it is and
// has its models.
func (c *cells) start(ctx context.Context, into *cell, in, out *os.File) (err error) {
	id := scorer.Name + "-" + c.node.idents.New().String()
	c.node.auditor.expect(id)
	io := runtime.Stdio{Stdin: in, Stdout: out, Attached: true}
	if c.enclaves == nil {
		into.box, err = begin(ctx, c.plain(id), io)
		return err
	}
	if into.opened, err = c.enclaves.open(ctx, id, c); err != nil {
		return err
	}
	if into.box, err = begin(ctx, into.opened.Create, io); err == nil {
		into.shown, err = c.enclaves.show(into.opened.Proof(), c.bundle.Signed().Manifest, id)
	}
	if err == nil {
		err = c.enclaves.tellStarted(ctx, *into.shown)
	}
	if err != nil {
		return errors.Join(err, into.abandon())
	}
	return nil
}

// creation boots a sandbox up to its gate.
type creation func(context.Context, runtime.Stdio) (*runtime.Sandbox, error)

// plain creates a sandbox of the program that is no enclave.
func (c *cells) plain(id string) creation {
	return func(ctx context.Context, io runtime.Stdio) (*runtime.Sandbox, error) {
		return c.host.Create(ctx, runtime.Spec{ID: id, Class: runtime.Sentry,
			Root: runtime.Root{Image: c.image.Image, Digest: c.image.ImageDigest},
			Args: []string{cellProgram}, Cwd: "/", User: runtime.User{UID: cellUser, GID: cellUser},
			Overlay: "none", Network: runtime.Network{Mode: "none"}, Policy: c.policy,
			Labels: map[string]string{"part": "lending", "program": "scorer"}}, io)
	}
}

// begin creates a sandbox and lets its program run.
func begin(ctx context.Context, create creation, io runtime.Stdio) (*runtime.Sandbox, error) {
	box, err := create(ctx, io)
	if err != nil {
		return nil, err
	}
	if err := box.Start(ctx); err != nil {
		return nil, errors.Join(err, endBox(box))
	}
	return box, nil
}

// endBox ends a sandbox and removes what it kept, but its trail.
func endBox(box *runtime.Sandbox) error {
	ctx, cancel := context.WithTimeout(context.Background(), cellEnd)
	defer cancel()
	return errors.Join(box.Remove(ctx, true), box.Close())
}

// describe says in a few words which sandbox serves.
func (c *cells) describe() string {
	w := c.node.auditor.current()
	if w == nil {
		return "which is starting"
	}
	return w.describe()
}

// pipes returns two pipes, each as its reading and its writing end.
func pipes() (in, out [2]*os.File, err error) {
	if in[0], in[1], err = os.Pipe(); err != nil {
		return in, out, errs.As(errs.Unavailable, err, "node.scorer")
	}
	if out[0], out[1], err = os.Pipe(); err != nil {
		return in, out, errs.As(errs.Unavailable, errors.Join(err, in[0].Close(), in[1].Close()),
			"node.scorer")
	}
	return in, out, nil
}

// cell is one sandbox with the scorer in it. It is a scorer.Process.
type cell struct {
	box     *runtime.Sandbox
	opened  *launch.Opened // nil where it is no enclave, as is shown
	shown   *started
	in, out *os.File
	watched *watched
	auditor *auditor
}

func (c *cell) Read(p []byte) (int, error)  { return c.out.Read(p) }
func (c *cell) Write(p []byte) (int, error) { return c.in.Write(p) }

// Held reports where the models are: in the enclave's own files, or with the node.
func (c *cell) Held() bool { return c.opened != nil }

// Mark returns the sandbox and the newest audit record that was seen of it.
func (c *cell) Mark() scorer.Mark {
	return scorer.Mark{Sandbox: c.box.ID(), Seq: c.watched.seen.Load()}
}

// Trace stamps what follows. A trail that cannot be stamped is no reason to stop: it has the acts.
func (c *cell) Trace(id ident.ID) { _ = c.box.SetTrace(id) }

// Kill ends the sandbox, and has the end of its trail anchored.
func (c *cell) Kill() {
	_ = c.in.Close()
	err := errors.Join(c.auditor.end(c.watched), c.out.Close(), c.close())
	if err != nil {
		c.auditor.slog.Warn("a scorer's sandbox did not end well", "sandbox", c.box.ID(),
			"error", err)
	}
}

// abandon ends what was started and is not to be used.
func (c *cell) abandon() (err error) {
	if c.box != nil {
		err = endBox(c.box)
	}
	return errors.Join(err, c.close())
}

// close gives back the enclave's secrets.
func (c *cell) close() error {
	if c.opened == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), cellEnd)
	defer cancel()
	return c.opened.Close(ctx)
}

// scorerPolicy returns the scorer's policy with the one program it may run.
func scorerPolicy(program string) (*sandbox.Policy, error) {
	policy, err := policyfile.Parse(scorerPolicyText)
	if err != nil {
		return nil, errs.Wrap(err, "scorer.policy.yaml")
	}
	policy.Exec = append(policy.Exec, sandbox.ExecRule{Allow: program})
	_, err = sandbox.Compile(policy)
	return &policy, errs.Wrap(err, "scorer.policy.yaml")
}
