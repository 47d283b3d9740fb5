package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/broker"
	"surety/evidence/tlog"
	"surety/node"
	"surety/sys/edge"
	"surety/sys/wallclock"
)

// enclaveBrokerCommand is the group of a key broker that runs by itself.
func enclaveBrokerCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "broker",
		Short: "Run a key broker, which releases secrets to enclaves that prove what they are",
		Long: `A key broker keeps secrets of tenants and releases each by its tenant's policy. A node
has one of its own; this runs one alone, with an evidence log beside it. What it keeps is managed
by "surety enclave release".`,
		Example: `  surety enclave broker run --dir bank
  surety enclave broker key --dir bank
  surety enclave broker tenant --dir bank lending`,
	}, brokerRun(env), brokerKey(env), brokerTenant(env))
}

// brokerStop is how long a broker that ends waits for what it is answering.
const brokerStop = 10 * clock.Second

// brokerEvidence is the evidence log of a broker that runs alone, in its directory.
const brokerEvidence = "evidence"

// brokerService is a broker that is being run.
type brokerService struct {
	dir, name, listen  string
	simRoots, tpmRoots []string
	collateral         string // directory, as verify takes it; read once
	certificate, key   string
}

func brokerRun(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "run",
		Short: "Serve guests, and administrators by token, until interrupted",
		Long: `Listens for guests (/kbs/v0/...) and for administrators with their tenants' tokens
(/admin/v1/...), with TLS where a certificate is given. Without one it listens on loopback alone.
Nothing secret rests on TLS: secrets are sealed to keys that evidence vouches for. Administrators'
tokens do.

Evidence of AMD SEV-SNP and Intel TDX is verified up to their makers' roots. Simulated evidence is
refused unless --sim-root names the certificate of a simulation, and then a policy has to name it
too.

The directory holds the store, its master key, the key that signs tokens, the evidence log, and a
socket by which the directory's owner manages it. It prints one line once it listens; with -o json
{url, key, dir}.`,
		Example: `  surety enclave broker run --dir bank --listen 127.0.0.1:7443
  surety enclave broker run --dir bank --listen :7443 --tls-cert bank.pem --tls-key bank.key
  surety enclave broker run --dir test --sim-root .surety/enclave/simulated/root.pem`,
		Args: noArgs,
	}
	var s brokerService
	f := c.Flags()
	f.StringVar(&s.dir, "dir", "", "directory of the broker, made where absent")
	f.StringVar(&s.name, "name", "surety", "issuer that its tokens name")
	f.StringVar(&s.listen, "listen", "127.0.0.1:0", "address to listen on; port 0 is any that is free")
	f.StringArrayVar(&s.simRoots, "sim-root", nil, "certificate of a simulation whose evidence "+
		"is verified (may be repeated; default: none, simulated evidence is refused)")
	f.StringArrayVar(&s.tpmRoots, "tpm-root", nil, "certificate of who enrols TPMs (may be repeated)")
	f.StringVar(&s.collateral, "collateral", "", "directory with what vendors say about firmware, as "+
		"\"enclave verify\" takes it; read at the start")
	f.StringVar(&s.certificate, "tls-cert", "", "certificate chain for TLS, PEM")
	f.StringVar(&s.key, "tls-key", "", "private key for TLS, PEM")
	must(c.MarkFlagRequired("dir"))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		if (s.certificate == "") != (s.key == "") {
			return usage(c, "--tls-cert and --tls-key go together")
		}
		return s.run(ctx, env)
	})
}

// run serves until ctx ends.
func (s *brokerService) run(ctx context.Context, env *Env) (err error) {
	if err := s.checkListen(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	tlog.RouteLibraryLog(log)
	verifier, err := s.verifier()
	if err != nil {
		return err
	}
	evidence, err := tlog.Open(ctx, tlog.Options{Directory: filepath.Join(s.dir, brokerEvidence),
		Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, evidence.Close()) }()
	b, err := broker.Open(ctx, broker.Config{Dir: s.dir, Name: s.name}, broker.Deps{Verifier: verifier,
		Log: log, Clock: wallclock.System(), Evidence: evidence, Logged: node.Published(evidence)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	socket, err := broker.ListenOwner(s.dir)
	if err != nil {
		return err
	}
	defer func() { _ = socket.Close() }() // the server has closed it, or nobody has used it
	guests, scheme, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = guests.Close() }() // as the socket
	mux := http.NewServeMux()
	mux.Handle(broker.PathAdmin, b.AdminHandler())
	mux.Handle("/", b.Handler())
	if len(s.simRoots) > 0 {
		env.note("SIMULATED: evidence of %d simulations is verified here. It proves nothing about a "+
			"machine, and policies have to name their roots.", len(s.simRoots))
	}
	if err := s.say(env, scheme+"://"+guests.Addr().String(), b.Key()); err != nil {
		return err
	}
	return serveAll(ctx, log, map[net.Listener]http.Handler{guests: mux, socket: b.OwnerHandler()})
}

func (s *brokerService) say(env *Env, url string, key enclave.KeyID) error {
	return env.show(struct {
		URL string        `json:"url"`
		Key enclave.KeyID `json:"key"`
		Dir string        `json:"dir"`
	}{url, key, s.dir}, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "broker %s at %s\n", key, url)
		return err
	})
}

func (s *brokerService) verifier() (*attest.Verifier, error) {
	sim, err := readRoots(s.simRoots)
	if err != nil {
		return nil, err
	}
	tpm, err := readRoots(s.tpmRoots)
	if err != nil {
		return nil, err
	}
	roots := attest.Roots{Sim: sim, TPM: tpm}
	if s.collateral != "" {
		if roots.Collateral, err = readCollateral(s.collateral); err != nil {
			return nil, err
		}
	}
	return attest.NewVerifier(roots)
}

// checkListen refuses an address that others reach where there is no TLS.
func (s *brokerService) checkListen() error {
	host, _, err := net.SplitHostPort(s.listen)
	if err != nil {
		return errs.As(errs.Invalid, err, "enclave broker: --listen")
	}
	ip := net.ParseIP(host)
	if s.certificate == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errs.New(errs.Invalid, "enclave broker: --listen %s is not on loopback, and there is no "+
			"--tls-cert: administrators' tokens would be seen", s.listen)
	}
	return nil
}

// open listens for guests, with TLS where there is a certificate.
func (s *brokerService) open(ctx context.Context) (net.Listener, string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return nil, "", errs.As(errs.Unavailable, err, "enclave broker")
	}
	if s.certificate == "" {
		return listener, "http", nil
	}
	pair, err := tls.LoadX509KeyPair(s.certificate, s.key)
	if err != nil {
		return nil, "", errors.Join(errs.As(errs.Invalid, err, "enclave broker: TLS"), listener.Close())
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair},
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}), "https", nil
}

// serveAll serves each listener until ctx ends or one of them fails, and then ends the others.
func serveAll(ctx context.Context, log *slog.Logger, all map[net.Listener]http.Handler) error {
	ended := make(chan error, len(all))
	servers := make([]*http.Server, 0, len(all))
	for listener, handler := range all {
		server := edge.NewServer(handler, log)
		servers = append(servers, server)
		go func() { ended <- server.Serve(listener) }()
	}
	var failure error
	running := len(servers)
	select {
	case <-ctx.Done():
	case failure = <-ended:
		running--
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Duration(brokerStop))
	defer cancel()
	for _, server := range servers {
		if err := server.Shutdown(last); err != nil {
			_ = server.Close() // what Shutdown could not end in time
		}
	}
	for range running {
		<-ended
	}
	if failure != nil && !errors.Is(failure, http.ErrServerClosed) {
		return errs.As(errs.Unavailable, failure, "enclave broker")
	}
	return nil
}

func brokerKey(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Show the id of the key that a broker signs with",
		Long: `The id goes into the manifests of the enclaves whose secrets the broker keeps: another
broker's answers are refused. A directory without a broker gets one. With -o json {key}.`,
		Example: `  surety enclave broker key --dir bank`,
		Args:    noArgs,
	}
	var dir string
	c.Flags().StringVar(&dir, "dir", "", "directory of the broker, made where absent")
	must(c.MarkFlagRequired("dir"))
	return verb(env, c, func(ctx context.Context, env *Env, _ []string) error {
		key, err := broker.ReadKey(dir)
		if errs.Is(err, errs.NotFound) {
			key, err = ensureBroker(ctx, dir)
		}
		if err != nil {
			return err
		}
		return env.show(struct {
			Key enclave.KeyID `json:"key"`
		}{key}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, key)
			return err
		})
	})
}

// ensureBroker makes a broker's store and keys, and closes them again.
func ensureBroker(ctx context.Context, dir string) (enclave.KeyID, error) {
	b, err := openBroker(ctx, dir)
	if err != nil {
		return enclave.KeyID{}, err
	}
	return b.Key(), b.Close()
}

// openBroker opens a broker of a directory for its owner's orders: it serves nobody.
func openBroker(ctx context.Context, dir string) (*broker.Broker, error) {
	verifier, err := attest.NewVerifier(attest.Roots{})
	if err != nil {
		return nil, err
	}
	return broker.Open(ctx, broker.Config{Dir: dir, Name: "owner", Direct: true}, broker.Deps{
		Verifier: verifier, Clock: wallclock.System(), Log: slog.New(slog.DiscardHandler)})
}

func brokerTenant(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "tenant NAME",
		Short: "Make a tenant, or give one another administrator's token",
		Long: `Prints the token of the tenant's administrator, which is shown this once: who has it
manages the secrets and policies of this tenant from afar, and nothing else. The token of before,
if there was one, ends. A tenant that is managed by the directory's owner alone needs none. With
-o json {tenant, token}.`,
		Example: `  surety enclave broker tenant lending --dir bank`,
		Args:    exactArgs("NAME"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		return at.with(ctx, func(a broker.Admin) error {
			token, err := a.CreateTenant(ctx, args[0])
			if err != nil {
				return err
			}
			return env.show(struct {
				Tenant string `json:"tenant"`
				Token  string `json:"token"`
			}{args[0], token}, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, token)
				return err
			})
		})
	})
}
