package broker

import "context"

// HasSecret reports whether a secret of a tenant is kept, to whomever it may be released.
func (b *Broker) HasSecret(ctx context.Context, tenant, kind, tag string) (bool, error) {
	panic("unimplemented")
}
