package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/channel"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// connectFlags are the flags of connect, as they are typed.
type connectFlags struct {
	verification
	listen   string
	measures []string
}

func enclaveConnectCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "connect ADDRESS:PORT",
		Short: "Connect to an enclave that proves itself first",
		Long: `The server is asked, inside the TLS session, for evidence made for that very session. It is
verified, and --policy asked, before a byte of yours is sent. Then standard input and output are the
session; or, with --listen, each connection to a local port is carried over a session of its own.

--policy is a release policy as JSON. Instead of it, --measure and --sim-root together accept a
simulated enclave of that measurement; simulated evidence is accepted only with --sim-root. What was
shown goes to standard error.`,
		Example: `  surety enclave connect scorer.example:8443 --policy accept.json --listen 127.0.0.1:9000
  surety enclave connect 127.0.0.1:8443 --sim-root root.pem --measure sha384:...`,
		Args: exactArgs("ADDRESS:PORT"),
	}
	var f connectFlags
	c.Flags().StringVar(&f.policy, "policy", "", "file of the policy that the enclave has to meet")
	c.Flags().StringArrayVar(&f.measures, "measure", nil, "measurement to accept, with --sim-root, "+
		"instead of a policy; may be repeated")
	c.Flags().StringArrayVar(&f.simRoots, "sim-root", nil, "root of a simulation to take; may be repeated")
	c.Flags().StringArrayVar(&f.tpmRoots, "tpm-root", nil, "certificate of who enrolled TPMs; "+
		"may be repeated")
	c.Flags().StringVar(&f.collateral, "collateral", "", "directory with what vendors say about firmware")
	c.Flags().StringVar(&f.listen, "listen", "", "local ADDRESS:PORT to take plain connections at")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		env.began = true
		client, err := f.client(cmd)
		if err != nil {
			return err
		}
		if f.listen != "" {
			return f.carry(cmd.Context(), env, client, args[0])
		}
		return pipe(cmd.Context(), env, client, args[0])
	}
	return c
}

// client is one that accepts what the flags say.
func (f *connectFlags) client(cmd *cobra.Command) (*channel.Client, error) {
	sim, err := readRoots(f.simRoots)
	if err != nil {
		return nil, err
	}
	verifier, err := f.verifier()
	if err != nil {
		return nil, err
	}
	c := &channel.Client{Verifier: verifier, Clock: wallclock.System()}
	switch {
	case (f.policy == "") == (len(f.measures) == 0):
		return nil, usage(cmd, "one of --policy and --measure says what to accept")
	case f.policy != "":
		c.Policy, err = readAcceptance(f.policy)
	case len(sim) == 0:
		return nil, usage(cmd, "--measure goes with --sim-root: what a hardware machine has to have booted "+
			"stands in a --policy")
	default:
		c.Policy, err = f.acceptance(sim)
	}
	return c, err
}

// acceptance is the policy of --measure and --sim-root.
func (f *connectFlags) acceptance(roots [][]byte) (enclave.Policy, error) {
	p := enclave.Policy{Name: "command line", TCB: enclave.TCBUnknown,
		Machines: []enclave.MachineRule{{TEE: enclave.Sim}}}
	for _, text := range f.measures {
		measure, err := enclave.ParseDigest(text)
		if err != nil {
			return p, err
		}
		p.Measures = append(p.Measures, measure)
	}
	for _, root := range roots {
		id, err := certificateKey(root)
		if err != nil {
			return p, err
		}
		p.Machines[0].Roots = append(p.Machines[0].Roots, id)
	}
	return p, nil
}

// certificateKey is the id of the key of a certificate, as PEM or DER.
func certificateKey(content []byte) (enclave.KeyID, error) {
	if block, _ := pem.Decode(content); block != nil {
		content = block.Bytes
	}
	certificate, err := x509.ParseCertificate(content)
	if err != nil {
		return enclave.KeyID{}, errs.As(errs.Invalid, err, "root certificate")
	}
	return sha256.Sum256(certificate.RawSubjectPublicKeyInfo), nil
}

// readAcceptance reads a release policy from a file of JSON. A key that is none is refused: a rule
// that was mistyped would be none.
func readAcceptance(path string) (enclave.Policy, error) {
	var p enclave.Policy
	content, err := vfs.ReadWhole(vfs.OS{}, path, enclave.MaxManifest)
	if err != nil {
		return p, fileError(err, "--policy")
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&p)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something stands after it")
		}
	}
	if err != nil {
		return p, errs.As(errs.Invalid, err, "--policy %s", path)
	}
	return p, errs.Wrap(p.Check(), "--policy %s", path)
}

// pipe makes standard input and output a session.
func pipe(ctx context.Context, env *Env, client *channel.Client, addr string) error {
	conn, claims, err := client.Dial(ctx, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	env.note("%s", shown(claims))
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	go func() { // ends with the input, or with the process
		_, err := io.Copy(conn, env.Stdin)
		if half, ok := conn.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
		}
	}()
	_, err = io.Copy(env.Stdout, conn)
	return errs.As(errs.Unavailable, err, "connect")
}

// shown says in a line what an enclave has proved to be.
func shown(c *enclave.Claims) string {
	rests := string(c.TEE.Guarantee())
	if c.TEE == enclave.Sim {
		rests = "SIMULATED: no memory protection"
	}
	return "connected to " + c.Manifest.Name + " (" + c.Manifest.Product + "), measurement " +
		c.Measure.Short() + ", " + rests
}

// carry takes plain connections until ctx is done, each over a session of its own.
func (f *connectFlags) carry(ctx context.Context, env *Env, client *channel.Client, addr string) error {
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return errs.As(errs.Unavailable, err, "--listen")
	}
	env.note("plain connections at %s go to %s, each attested", l.Addr(), addr)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var carried sync.WaitGroup
	defer carried.Wait()
	slots := make(chan struct{}, maxCarried)
	var notes sync.Mutex
	for {
		plain, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return errs.As(errs.Unavailable, err, "--listen")
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = plain.Close()
			continue
		}
		carried.Go(func() {
			defer func() { <-slots }()
			if err := carryOne(ctx, client, addr, plain); err != nil {
				notes.Lock()
				defer notes.Unlock()
				env.note("surety: %v", err)
			}
		})
	}
}

// carryOne carries one plain connection over a session. Where the enclave is refused it is closed, and
// nothing of it was sent.
func carryOne(ctx context.Context, client *channel.Client, addr string, plain net.Conn) error {
	defer plain.Close()
	session, _, err := client.Dial(ctx, addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = session.Close()
		_ = plain.Close()
	})
	defer stop()
	channel.Join(plain, session)
	return nil
}
