package edge

import "time"

const (
	// BodyMax bounds the body of a request, in bytes. A batch of 8,190 transfers as JSON takes
	// about 4 MiB; a spreadsheet of 30,000 applications about 5 MiB.
	BodyMax = 16 << 20

	// HeaderMax bounds the headers of a request, in bytes. A token and the tracing headers take
	// less than 1 KiB.
	HeaderMax = 16 << 10

	// headerTimeout bounds how long a caller may take to send its headers; the slowest honest
	// mobile connection takes a few seconds.
	headerTimeout = 10 * time.Second

	// idleTimeout bounds how long a connection is kept for a next request: longer than the pause
	// between two clicks.
	idleTimeout = 2 * time.Minute

	// requestIDMax bounds a request id that the caller chose. It goes into logs and headers.
	requestIDMax = 64

	// textMax bounds an error's text on its way out, in bytes: it is for people, and may quote
	// what the caller sent.
	textMax = 1 << 10
)
