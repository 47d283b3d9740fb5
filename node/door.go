package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"connectrpc.com/connect"

	"surety/api/evidence/v1/evidencev1connect"
	"surety/api/guard/v1/guardv1connect"
	"surety/api/ledger/v1/ledgerv1connect"
	"surety/api/lending/v1/lendingv1connect"
	"surety/api/node/v1/nodev1connect"
	"surety/api/openapi"
	"surety/base/errs"
	"surety/console"
	"surety/enclave/broker"
	guardapi "surety/guard/api"
	ledgerapi "surety/ledger/api"
	"surety/ledger/server"
	"surety/sys/access"
	"surety/sys/edge"
	"surety/sys/presence"
	"surety/sys/telemetry"
)

// doorGrace is how long requests under way may take after the node was asked to stop.
const doorGrace = 5 * time.Second

// rules say who may call what. A procedure that is not here is refused.
var rules = access.Rules{
	lendingv1connect.LendingServiceSubmitProcedure:           {access.Operator},
	lendingv1connect.LendingServiceGetApplicationProcedure:   {access.Viewer},
	lendingv1connect.LendingServiceListApplicationsProcedure: {access.Viewer},
	lendingv1connect.LendingServiceGetLoanProcedure:          {access.Viewer},
	lendingv1connect.LendingServiceListLoansProcedure:        {access.Viewer},
	lendingv1connect.LendingServiceRepayProcedure:            {access.Operator},
	lendingv1connect.LendingServicePayoffProcedure:           {access.Viewer},
	lendingv1connect.LendingServiceWriteOffProcedure:         {access.Risk},
	lendingv1connect.LendingServiceReplayProcedure:           {access.Viewer},
	lendingv1connect.LendingServiceRequestReviewProcedure:    {access.Operator},
	lendingv1connect.LendingServiceProductsProcedure:         {access.Viewer},

	ledgerv1connect.LedgerServiceCreateAccountsProcedure:   {access.Operator},
	ledgerv1connect.LedgerServiceCreateTransfersProcedure:  {access.Operator},
	ledgerv1connect.LedgerServiceLookupAccountsProcedure:   {access.Viewer},
	ledgerv1connect.LedgerServiceLookupTransfersProcedure:  {access.Viewer},
	ledgerv1connect.LedgerServiceListAccountsProcedure:     {access.Viewer},
	ledgerv1connect.LedgerServiceAccountTransfersProcedure: {access.Viewer},
	ledgerv1connect.LedgerServiceAccountBalancesProcedure:  {access.Viewer},
	ledgerv1connect.LedgerServiceClassTotalsProcedure:      {access.Viewer},
	ledgerv1connect.LedgerServiceSetNameProcedure:          {access.Operator},
	// Anyone who runs the business may stop money; it takes two to let it go again.
	ledgerv1connect.LedgerServiceFreezeProcedure:         {access.Operator, access.Risk},
	ledgerv1connect.LedgerServiceRequestReleaseProcedure: {access.Operator, access.Risk},
	ledgerv1connect.LedgerServiceReleaseProcedure:        {access.Risk},
	ledgerv1connect.LedgerServiceListFreezesProcedure:    {access.Viewer},

	guardv1connect.GuardServiceStatusProcedure:       {access.Viewer},
	guardv1connect.GuardServiceListBreachesProcedure: {access.Viewer},
	guardv1connect.GuardServiceGetBreachProcedure:    {access.Viewer},
	guardv1connect.GuardServiceResolveProcedure:      {access.Operator, access.Risk},

	evidencev1connect.EvidenceServiceTraceProcedure:      {access.Viewer},
	evidencev1connect.EvidenceServiceExportProcedure:     {access.Viewer},
	evidencev1connect.EvidenceServiceCheckpointProcedure: {access.Viewer},
	evidencev1connect.EvidenceServiceEraseProcedure:      {access.Risk},

	nodev1connect.NodeServiceGetBoardProcedure: {access.Viewer},
}

// openDoor binds the HTTP door and says where it is.
func (n *Node) openDoor(ctx context.Context) (err error) {
	var listen net.ListenConfig
	if n.door, err = listen.Listen(ctx, "tcp", n.config.HTTP.Address); err != nil {
		return errs.As(errs.Unavailable, err, "http.address")
	}
	n.onClose("http", func() error {
		_ = n.door.Close() // the server may have closed it already
		return nil
	})
	n.keeper = access.NewDoorkeeper(n.tokens, n.deps.Clock, n.log)
	if err := n.openLedgerDoor(ctx); err != nil {
		return err
	}
	n.stream = newStream(n.deps.Clock, n.log, n.board)
	handler, err := n.handler()
	if err != nil {
		return err
	}
	n.server = edge.NewServer(handler, n.log)
	if n.config.HTTP.TLSCertificate != "" {
		if n.door, err = n.secure(n.door); err != nil {
			return err
		}
	}
	return n.hold.Publish(presence.Record{PID: os.Getpid(), Started: n.started,
		Addresses: n.addresses(), Version: n.deps.Version})
}

// openLedgerDoor binds the door of the ledger's batch protocol, where one is wanted.
func (n *Node) openLedgerDoor(ctx context.Context) (err error) {
	if n.config.Ledger.Address == "" {
		return nil
	}
	var listen net.ListenConfig
	if n.batchDoor, err = listen.Listen(ctx, "tcp", n.config.Ledger.Address); err != nil {
		return errs.As(errs.Unavailable, err, "ledger.address")
	}
	n.batch = server.New(n.ledger, server.Config{LedgerID: n.ledger.ID(),
		Open: n.config.Access.LoopbackOpen && access.Loopback(n.batchDoor.Addr())}, n.keeper, n.log)
	n.onClose("ledger door", n.batch.Close)
	return nil
}

// addresses says where each door is.
func (n *Node) addresses() map[string]string {
	doors := map[string]string{"http": n.Address()}
	if n.batchDoor != nil {
		doors["ledger"] = n.batchDoor.Addr().String()
	}
	return doors
}

// handler puts access and the edge in front of what is served.
func (n *Node) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	options := connect.WithInterceptors(edge.Interceptor(n.log), rules.Interceptor())
	mux.Handle(lendingv1connect.NewLendingServiceHandler(n.lendingAPI, options))
	mux.Handle(ledgerv1connect.NewLedgerServiceHandler(
		ledgerapi.New(n.ledger, n.deps.Clock, n.idents), options))
	mux.Handle(guardv1connect.NewGuardServiceHandler(guardapi.New(n.guard), options))
	mux.Handle(evidencev1connect.NewEvidenceServiceHandler(
		&evidenceService{log: n.evidence, ledger: n.ledger, vault: n.vault, records: n.records,
			clock: n.deps.Clock}, options))
	mux.Handle(nodev1connect.NewNodeServiceHandler(n, options))
	if n.enclaves != nil {
		mux.Handle("/kbs/", n.enclaves.guests)
		mux.Handle(broker.PathAdmin, n.enclaves.broker.AdminHandler())
	}
	mux.HandleFunc("GET /events", n.stream.serve(n.closing))
	mux.HandleFunc("GET /healthz", n.health)
	mux.Handle("GET /metrics", n.registry.Handler())
	document, err := openapi.Document(n.deps.Version)
	if err != nil {
		return nil, err
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document) // the caller may be gone
	})
	if n.config.Telemetry.Profiles {
		mux.Handle("/debug/pprof/", admins(telemetry.Profiles(), n))
	}
	web, err := console.Embedded()
	if err != nil {
		return nil, err
	}
	mux.Handle("/", n.pages(web))
	door := access.Door{Open: n.config.Access.LoopbackOpen && access.Loopback(n.door.Addr()),
		Hosts: n.config.HTTP.Hosts, Public: public}
	return edge.Handler(edge.Options{Log: n.log, NewID: n.idents.New,
		BodyMax: n.config.HTTP.BodyBytes},
		n.keeper.Handler(door, mux)), nil
}

// admins lets administrators through.
func admins(next http.Handler, n *Node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := access.Require(r.Context(), access.Admin); err != nil {
			edge.WriteError(w, r, n.log, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// pages serves the console, and tells a caller of a service that this node does not have so: its
// client makes "unimplemented" of 404, and nothing of the 405 that a page gives.
func (n *Node) pages(web http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			edge.WriteError(w, r, n.log, errs.New(errs.NotFound, "no service answers at %.100q", r.URL.Path))
			return
		}
		web.ServeHTTP(w, r)
	})
}

// public reports whether a path needs no caller: health, the console's own files, which hold
// nothing, and the key broker, whose callers show evidence, or tokens of its own tenants.
func public(path string) bool {
	return path == "/" || path == "/healthz" || strings.HasPrefix(path, "/assets/") ||
		strings.HasPrefix(path, "/favicon") || strings.HasPrefix(path, "/kbs/") ||
		strings.HasPrefix(path, broker.PathAdmin)
}

// health answers 200 while the ledger takes work, and 503 with the reason otherwise.
func (n *Node) health(w http.ResponseWriter, r *http.Request) {
	status, err := n.ledger.Status(r.Context())
	if err == nil && status.Stopped != "" {
		err = errs.New(errs.Unavailable, "ledger: %s", status.Stopped)
	}
	if err != nil {
		edge.WriteError(w, r, n.log, err)
		return
	}
	fmt.Fprintln(w, "ok")
}

// secure puts TLS on a door.
func (n *Node) secure(door net.Listener) (net.Listener, error) {
	pair, err := tls.LoadX509KeyPair(n.config.HTTP.TLSCertificate, n.config.HTTP.TLSKey)
	if err != nil {
		return door, errs.As(errs.Invalid, err, "http.tls_certificate")
	}
	return tls.NewListener(door, &tls.Config{Certificates: []tls.Certificate{pair},
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"}}), nil
}
