//go:build !amd64

package vm

// ticks counts nothing: the guest has to find its clock out for itself.
func ticks() uint64 { return 0 }
