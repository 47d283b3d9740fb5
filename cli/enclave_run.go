package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/launch"
	"surety/enclave/pack"
	"surety/sandbox/runtime"
	"surety/sys/entropy"
)

// enclaveFlags are the flags of run and start, as they are typed.
type enclaveFlags struct {
	name                                        string
	device                                      enclaveDevice
	brokers, volumes, ports, env, fronts        []string
	tpmRoots                                    []string
	fips, terminal, interactive, remove, timing bool

	kept int // descriptor that a kept enclave's first word goes to; 0: run is in front
}

func enclaveRunCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "run ENCLAVE [-- ARGUMENTS...]",
		Short: "Measure an enclave, prove it, obtain its keys and run it",
		Long: `ENCLAVE is a project's directory, a bundle, or a bundle in one file. Its files are compared with its
manifest; evidence of it is shown to the brokers that the manifest names; the keys they release open
its secret layers, in memory; then its program runs, behind a kernel of its own, audited. ARGUMENTS
are added to its command where the manifest allows it.

Without --broker the machine's own broker keeps the secrets of the project's owner, under --root.
It releases them to this signer's product on this very machine alone.

Streams are the caller's, and so is the exit code: 128+n after signal n, 125 where it is not known.
An enclave that could not start is 1, or 2 for what was typed, and nothing of it is left. With
-o json the first line of standard output is what it has shown: {instance, proof: {tee, guarantee,
measure, signer, name, product, svn, debug, tokens, released, locked}, timings: [{step, ns}]}.`,
		Example: `  surety enclave run credit
  surety enclave run --broker bank-a=https://kbs.bank-a.example credit.enclave
  surety enclave run --attested-tls 0.0.0.0:8443=80 credit -- --verbose`,
		Args: someArgs("ENCLAVE"),
	}
	f := enclaveFlags{remove: true}
	f.describe(c.Flags())
	c.Flags().BoolVarP(&f.interactive, "interactive", "i", false, "connect standard input")
	c.Flags().BoolVarP(&f.terminal, "terminal", "t", false, "give the program a terminal")
	c.Flags().BoolVar(&f.remove, "rm", true, "remove what is known of it when it has ended; its trail "+
		"stays")
	c.Flags().BoolVar(&f.timing, "timing", false, "say on standard error how long each step took")
	c.Flags().IntVar(&f.kept, "kept", 0, "descriptor that the first word goes to")
	_ = c.Flags().MarkHidden("kept") // what start starts
	return withEnclaves(env, c, f.run)
}

// describe adds the flags that run and start have in common.
func (f *enclaveFlags) describe(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "name", "", "name of the running enclave, and of its sealed states (default: "+
		"the manifest's)")
	f.device.describeDevice(flags)
	flags.StringArrayVar(&f.brokers, "broker", nil, "NAME=URL of a key broker; may be repeated")
	flags.StringArrayVar(&f.volumes, "volume", nil, "TARGET=DIRECTORY of this host, for what the manifest "+
		"shows of it; may be repeated")
	flags.StringArrayVarP(&f.ports, "publish", "p", nil, "ADDRESS:PORT:INSIDE[/udp] of this host to "+
		"publish; may be repeated")
	flags.StringArrayVar(&f.fronts, "attested-tls", nil, "ADDRESS:PORT=INSIDE: attested TLS in front of a "+
		"port inside; may be repeated")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "NAME=value of a variable that the manifest leaves open")
	flags.StringArrayVar(&f.tpmRoots, "tpm-root", nil, "certificate of who enrolled TPMs, for the "+
		"machine's own broker (default: tpm/authority/authority.pem below --root, where enrol put one)")
	flags.BoolVar(&f.fips, "fips", false, "keys are sealed by DHKEM(P-384) instead of ML-KEM-768 with "+
		"X25519")
}

// run starts an enclave and stays with it to its end.
func (f *enclaveFlags) run(h *enclaved) (err error) {
	var word *os.File
	if f.kept > 0 {
		unix.CloseOnExec(f.kept)
		word = os.NewFile(uintptr(f.kept), "answer")
		defer func() { tell(word, started{}, err) }()
	}
	order, files, err := f.order(h)
	if err != nil {
		return err
	}
	fronts, err := listenFronts(f.fronts)
	if err != nil {
		return err
	}
	defer closeFronts(fronts)
	o := &opening{h: h}
	defer func() {
		if failed := o.close(); failed != nil {
			h.env.note("surety: %v", failed)
		}
	}()
	if err := f.open(o, order, files); err != nil {
		return err
	}
	return f.lead(o, fronts, word)
}

// order is what the flags say, before any of it is looked at.
func (f *enclaveFlags) order(h *enclaved) (*launch.Order, enclaveFiles, error) {
	order := &launch.Order{Instance: f.name, Args: h.args[1:], Env: f.env, Terminal: f.terminal,
		FIPS: f.fips, StateDir: filepath.Join(h.root, "states"), Shown: map[string]string{},
		Trace: h.env.newID()}
	if _, err := h.host.Find(f.name); f.name != "" && errs.Is(err, errs.Invalid) {
		return nil, enclaveFiles{}, usage(h.Command, "--name: %v", err)
	}
	var err error
	if order.Brokers, err = parseBrokers(f.brokers); err != nil {
		return nil, enclaveFiles{}, usage(h.Command, "--broker: %v", err)
	}
	for _, v := range f.volumes {
		target, dir, found := strings.Cut(v, "=")
		if dir, err = filepath.Abs(dir); !found || err != nil {
			return nil, enclaveFiles{}, usage(h.Command, "--volume: %q is not TARGET=DIRECTORY", v)
		}
		order.Shown[target] = dir
	}
	for _, p := range f.ports {
		port, err := parsePort(p)
		if err != nil {
			return nil, enclaveFiles{}, usage(h.Command, "--publish: %v", err)
		}
		order.Ports = append(order.Ports, port)
	}
	if tee := enclave.TEE(f.device.tee); tee != "" && !tee.Known() {
		return nil, enclaveFiles{}, usage(h.Command, "--tee %q: snp, tdx, tpm or sim", f.device.tee)
	}
	files, err := locateEnclave(h.args[0])
	return order, files, err
}

// open opens the device, the bundle and where there is need the local broker, and then the enclave.
func (f *enclaveFlags) open(o *opening, order *launch.Order, files enclaveFiles) (err error) {
	h := o.h
	if !runtime.Possible() { // said before a secret is asked for
		return errs.New(errs.Unavailable, "this program has to be built with CGO_ENABLED=0 to run enclaves")
	}
	f.device.root = h.root
	o.options = f.device.options(h.env)
	if o.device, err = attest.OpenDevice(h.Context(), enclave.TEE(f.device.tee), o.options); err != nil {
		return err
	}
	h.env.note("%s", launch.Notice(o.device.TEE()))
	if o.bundle, err = pack.Open(files.bundle); err != nil {
		return err
	}
	manifest := o.bundle.Signed().Manifest
	if manifest.Debug {
		h.env.note("DEBUG: %s is a debug build: its operator may look inside on any machine.", manifest.Name)
	}
	if len(f.fronts) > 0 && manifest.Network != enclave.NetworkStack {
		return errs.New(errs.Refused, "the manifest of %s gives it network %q: there is no port for "+
			"--attested-tls to stand in front of", manifest.Name, manifest.Network)
	}
	order.Device, order.Bundle = o.device, o.bundle
	if order.Instance == "" {
		order.Instance = f.instance(manifest)
	}
	if o.lock, err = lockEnclave(h.root, order.Instance); err != nil {
		return err
	}
	if err := h.clearEnded(order.Instance); err != nil {
		return err
	}
	_, given := order.Brokers[enclave.LocalBroker]
	if names(manifest, enclave.LocalBroker) && !given {
		roots, err := readRoots(f.authorities(h.root))
		if err != nil {
			return err
		}
		if order.Brokers[enclave.LocalBroker], err = o.useLocal(files, roots); err != nil {
			return err
		}
	}
	o.opened, err = launch.Open(h.Context(), launch.Deps{Host: h.host, Log: h.log()}, *order)
	if err == nil && o.local != nil {
		err = o.local.LetGo() // others may have it, and what is renewed later opens it for that
	}
	return err
}

// authorities are the files of who enrolled this machine's TPM.
func (f *enclaveFlags) authorities(root string) []string {
	made := filepath.Join(root, "tpm", "authority", "authority.pem")
	if len(f.tpmRoots) == 0 && exists(made) {
		return []string{made}
	}
	return f.tpmRoots
}

// names reports whether a manifest has a broker of the name.
func names(m *enclave.Manifest, name string) bool {
	return slices.ContainsFunc(m.Brokers, func(b enclave.Broker) bool { return b.Name == name })
}

// instance is the name of what was given none: the manifest's, which its states are found by again; a
// run that keeps nothing is one of many.
func (f *enclaveFlags) instance(m *enclave.Manifest) string {
	if f.kept > 0 || len(m.State) > 0 {
		return m.Name
	}
	var raw [4]byte
	entropy.System().Fill(raw[:])
	return m.Name[:min(len(m.Name), 50)] + "-" + hex.EncodeToString(raw[:])
}

// lead runs the opened enclave to its end.
func (f *enclaveFlags) lead(o *opening, fronts []front, word *os.File) error {
	h, id := o.h, o.opened.Spec.ID
	streams := newStreams(h.env, f.interactive)
	io := runtime.Stdio{}
	switch {
	case f.kept > 0:
	case f.terminal:
		io.Console = streams.attach
	default:
		io = streams.stdio()
	}
	io.Attached = true // nobody else renews its leases
	var serving sync.WaitGroup
	ctx, stop := context.WithCancel(h.Context())
	defer serving.Wait()
	defer stop()
	io.HandedOver = func() {
		streams.handedOver()
		f.say(o)
	}
	io.Began = func() {
		serveFronts(ctx, o, fronts, &serving)
		if word != nil {
			tell(word, started{Instance: id, Proof: o.opened.Proof(), Timings: o.opened.Timings()}, nil)
		}
	}
	st, err := o.opened.Run(h.Context(), io, patience)
	streams.handedOver()
	streams.finish()
	if err != nil {
		return err
	}
	if f.kept > 0 {
		return nil
	}
	return f.conclude(h, id, &st)
}

// started is what is said of an enclave that runs.
type started struct {
	Instance string          `json:"instance"`
	Proof    launch.Proof    `json:"proof"`
	Timings  []launch.Timing `json:"timings"`
}

// say tells what was shown on the way, and how long it took, before the program begins.
func (f *enclaveFlags) say(o *opening) {
	if f.kept > 0 {
		return
	}
	if o.h.env.wantsJSON() {
		s := started{Instance: o.opened.Spec.ID, Proof: o.opened.Proof(), Timings: o.opened.Timings()}
		if err := o.h.env.line(s); err != nil {
			o.h.env.note("surety: %v", err)
		}
	}
	if f.timing {
		o.h.env.note("%s", timingLine(o.opened.Timings()))
	}
}

// timingLine is the steps of a start in one line, in milliseconds.
func timingLine(timings []launch.Timing) string {
	var all time.Duration
	var parts []string
	for _, t := range timings {
		all += t.Lasted
		parts = append(parts, t.Step+" "+millis(t.Lasted))
	}
	return "started in " + millis(all) + " ms: " + strings.Join(parts, ", ")
}

func millis(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64)
}

// conclude says how an enclave ended.
func (f *enclaveFlags) conclude(h *enclaved, id string, st *runtime.State) error {
	s, err := h.host.Find(id)
	if err != nil {
		return err
	}
	if f.remove {
		if err := s.Remove(context.WithoutCancel(h.Context()), false); err != nil {
			h.env.note("surety: %v", err)
		}
	}
	if st.Reason != "" && st.ExitCode != 0 {
		h.env.note("surety: enclave %s %s", id, st.Reason)
	}
	return exitWith(st.ExitCode)
}

// firstWord is what a kept enclave says to who started it: once.
type firstWord struct {
	Kind    errs.Kind `json:"kind,omitempty"`
	Error   string    `json:"error,omitempty"`
	Started started   `json:"started"`
}

// tell gives the word; only the first one counts. Who asked may be gone.
func tell(to *os.File, s started, err error) {
	said := firstWord{Started: s}
	if err != nil {
		said.Kind, said.Error = errs.KindOf(err), err.Error()
	}
	if content, err := json.Marshal(said); err == nil {
		_, _ = to.Write(content)
	}
	_ = to.Close()
}
