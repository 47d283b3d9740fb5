package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
)

// Remote is an administrator of a broker elsewhere.
type Remote struct {
	URL   string       // base address
	Token string       // of the tenant's administrator; empty behind the owner's socket
	HTTP  *http.Client // nil: the default one
}

// do sends one order; kinds are the broker's, Unavailable where nobody answers.
func (r *Remote) do(ctx context.Context, act string, o order, into any) error {
	body, err := json.Marshal(o)
	if err != nil {
		return errs.As(errs.Internal, err, "broker %s: %s", r.URL, act)
	}
	defer clear(body)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost,
		strings.TrimSuffix(r.URL, "/")+PathAdmin+act, bytes.NewReader(body))
	if err != nil {
		return errs.As(errs.Invalid, err, "broker %s", r.URL)
	}
	request.Header.Set("Content-Type", "application/json")
	if r.Token != "" {
		request.Header.Set("Authorization", "Bearer "+r.Token)
	}
	using := r.HTTP
	if using == nil {
		using = http.DefaultClient
	}
	answer, err := using.Do(request)
	if err != nil {
		return errs.As(errs.Unavailable, err, "broker %s", r.URL)
	}
	defer answer.Body.Close() // it was read, or is of no use
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return errs.As(errs.Unavailable, err, "broker %s: its answer broke off", r.URL)
	}
	if answer.StatusCode != http.StatusOK {
		return errs.Wrap(client.Refusal(answer.StatusCode, content), "broker %s: %s", r.URL, act)
	}
	return errs.As(errs.Invalid, json.Unmarshal(content, into), "broker %s: its answer to %s", r.URL, act)
}

// PutSecret implements Admin.
func (r *Remote) PutSecret(ctx context.Context, tenant, kind, tag string, secret []byte,
	replace bool) error {
	return r.do(ctx, orderPut, order{Tenant: tenant, Kind: kind, Tag: tag, Secret: secret,
		Replace: replace}, &done{})
}

// RemoveSecret implements Admin.
func (r *Remote) RemoveSecret(ctx context.Context, tenant, kind, tag string) error {
	return r.do(ctx, orderRemove, order{Tenant: tenant, Kind: kind, Tag: tag}, &done{})
}

// Secrets implements Admin.
func (r *Remote) Secrets(ctx context.Context, tenant string) (list []Stored, err error) {
	err = r.do(ctx, orderSecrets, order{Tenant: tenant}, &list)
	return list, err
}

// SetPolicy implements Admin.
func (r *Remote) SetPolicy(ctx context.Context, tenant, pattern string, p enclave.Policy) error {
	return r.do(ctx, orderSetPolicy, order{Tenant: tenant, Pattern: pattern, Policy: &p}, &done{})
}

// RemovePolicy implements Admin.
func (r *Remote) RemovePolicy(ctx context.Context, tenant, pattern string) error {
	return r.do(ctx, orderRemovePolicy, order{Tenant: tenant, Pattern: pattern}, &done{})
}

// Policies implements Admin.
func (r *Remote) Policies(ctx context.Context, tenant string) (all map[string]enclave.Policy,
	err error) {
	err = r.do(ctx, orderPolicies, order{Tenant: tenant}, &all)
	return all, err
}

// Approve implements Admin.
func (r *Remote) Approve(ctx context.Context, tenant, pattern string, measure enclave.Digest, owner,
	signature []byte) error {
	return r.do(ctx, orderApprove, order{Tenant: tenant, Pattern: pattern, Measure: measure,
		Owner: owner, Signature: signature}, &done{})
}

// Publish implements Admin.
func (r *Remote) Publish(ctx context.Context, tenant string, p Publication) (o *Outcome, err error) {
	err = r.do(ctx, orderPublish, order{Tenant: tenant, Publish: &p}, &o)
	return o, err
}

// Outcomes implements Admin.
func (r *Remote) Outcomes(ctx context.Context, tenant string, limit int) (list []Outcome, err error) {
	err = r.do(ctx, orderOutcomes, order{Tenant: tenant, Limit: limit}, &list)
	return list, err
}

// CreateTenant implements Admin; only the owner's socket serves it for a tenant that is not there.
func (r *Remote) CreateTenant(ctx context.Context, name string) (string, error) {
	var made tokenMade
	err := r.do(ctx, orderTenant, order{Tenant: name}, &made)
	return made.Token, err
}
