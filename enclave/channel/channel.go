// Package channel is TLS whose server proves, inside the session, which enclave it is.
//
// Think of a sealed envelope that is opened before anything is written into it. The handshake is
// plain TLS 1.3 with a certificate that says nothing: it was made by the server for itself, and
// nobody signed it. Then the client sends a challenge, and the server answers with evidence that its
// machine made for this very session: bound to the challenge, and to a value that only the two ends
// of the session can compute (the exporter). The client verifies it, and asks its policy, before it
// sends the first byte of its own. Whoever stands between has two sessions and so two exporter
// values; the evidence of one is no evidence in the other.
//
// # Framing
//
// After the handshake, in the session, whose application protocol (ALPN) is Protocol:
//
//	client: nonce, 32 bytes
//	server: length of the evidence, 4 bytes, big-endian; the evidence (enclave.Evidence, encoded)
//
// From then on the stream is the application's, in both directions. A server that cannot prove itself
// closes the session without a word; so does a client that does not accept the evidence.
//
// # Invariants
//
//   - A client's Dial returns a connection only for evidence that its policy releases to.
//   - Evidence is for purpose enclave.ForChannel, and for one session.
//   - A session is never resumed: each has its own evidence.
//
// # Boundaries
//
// Who the client is, is not asked: that is the program's own to do. The connection from the server to
// the program runs inside the machine that the evidence is about.
//
// # Concurrency
//
// A Server owns a goroutine for each connection; Serve waits for all of them. A Client may be used by
// many goroutines.
//
// # Sources
//
// RFC 8446 section 7.5 and RFC 5705 (exporters); draft-usama-seat-intra-vs-post (binding after the
// handshake); decision 0040.
package channel

import (
	"crypto/tls"

	"surety/base/errs"
	"surety/enclave"
)

// Protocol is the application protocol (ALPN) of an attested session, with its version.
const Protocol = "surety-attested-tls/1"

// exportLabel is what the exporter value is made for.
const exportLabel = "EXPORTER-surety-attested-tls"

// binding is what evidence for a session is bound to, but for the measurement. The session must be of
// TLS 1.3 and of our protocol: kind Refused otherwise.
func binding(state *tls.ConnectionState, nonce []byte) (enclave.Binding, error) {
	switch {
	case state.Version != tls.VersionTLS13:
		return enclave.Binding{}, errs.New(errs.Refused, "channel: the session is %s, want %s",
			tls.VersionName(state.Version), tls.VersionName(tls.VersionTLS13))
	case state.NegotiatedProtocol != Protocol:
		return enclave.Binding{}, errs.New(errs.Refused, "channel: the session is for %q, want %q",
			state.NegotiatedProtocol, Protocol)
	case state.DidResume:
		return enclave.Binding{}, errs.New(errs.Refused, "channel: the session goes on from an earlier one")
	}
	key, err := state.ExportKeyingMaterial(exportLabel, nonce, exportBytes)
	if err != nil {
		return enclave.Binding{}, errs.As(errs.Internal, err, "channel: exporter")
	}
	return enclave.Binding{Purpose: enclave.ForChannel, Nonce: nonce, Key: key}, nil
}
