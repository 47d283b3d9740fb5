// Package channel is TLS whose server proves, inside the session, which enclave it is.
package channel
