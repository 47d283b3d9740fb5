package edge

import (
	"log/slog"
	"net/http"
)

// NewServer returns a server for the handler with our limits: HTTP/1.1 and HTTP/2, the latter also
// without TLS, as gRPC clients on the same machine speak it. There is no limit on the length of an
// answer, since event streams have no end; a handler bounds its own work.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    HeaderMax,
		// What net/http has to say is about callers that break the protocol or go away.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
