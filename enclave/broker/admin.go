package broker

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"surety/base/errs"
	"surety/enclave"
	"surety/sys/entropy"
)

// Admin is what a tenant's administrator may do, in this process (*Broker) or from afar (*Remote).
type Admin interface {
	PutSecret(ctx context.Context, tenant, kind, tag string, secret []byte, replace bool) error
	RemoveSecret(ctx context.Context, tenant, kind, tag string) error
	Secrets(ctx context.Context, tenant string) ([]Stored, error)
	SetPolicy(ctx context.Context, tenant, pattern string, p enclave.Policy) error
	RemovePolicy(ctx context.Context, tenant, pattern string) error
	Policies(ctx context.Context, tenant string) (map[string]enclave.Policy, error)
	Approve(ctx context.Context, tenant, pattern string, measure enclave.Digest, owner,
		signature []byte) error
	Publish(ctx context.Context, tenant string, p Publication) (*Outcome, error)
	Outcomes(ctx context.Context, tenant string, limit int) ([]Outcome, error)
	CreateTenant(ctx context.Context, name string) (token string, err error)
}

// Publication names a build that everybody shall know of.
type Publication struct {
	Measure enclave.Digest `json:"measure"`
	Signer  enclave.KeyID  `json:"signer"`
	Product string         `json:"product"`
	SVN     uint64         `json:"svn"`
}

// Publish records a measurement, which the relay then puts into the evidence log: from there on a
// policy with Logged finds it. It says nothing of whether the build is any good.
func (b *Broker) Publish(ctx context.Context, tenant string, p Publication) (*Outcome, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, errs.Wrap(err, "broker.publish")
	}
	if p.Measure.IsZero() || len(p.Product) > enclave.MaxName {
		return nil, errs.New(errs.Invalid, "broker.publish: no measurement, or a product's name of more "+
			"than %d bytes", enclave.MaxName)
	}
	o := &Outcome{Act: actPublished, Tenant: tenant, Measure: p.Measure, Signer: p.Signer,
		Product: p.Product, SVN: p.SVN, Checks: []enclave.Check{}}
	return o, b.record(ctx, o)
}

// tokenPrefix lets scanners of source trees and logs find a token that leaked.
const tokenPrefix = "suretykb_"

// CreateTenant makes a tenant, or gives one that is there a new administrator's token in place of the
// old one, and returns the token: it is shown this once, and only its hash is kept.
func (b *Broker) CreateTenant(ctx context.Context, name string) (token string, err error) {
	if err := checkTenant(name); err != nil {
		return "", errs.Wrap(err, "broker.tenant")
	}
	var random [32]byte
	entropy.System().Fill(random[:])
	token = tokenPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	hash := sha256.Sum256([]byte(token))
	err = b.db.Write(ctx, func(tx *sql.Tx) error {
		if err := b.needTenant(tx, name); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE tenants SET token = ? WHERE name = ?`, hash[:], name)
		return err
	})
	if err != nil {
		return "", errs.Wrap(err, "broker.tenant: %s", name)
	}
	return token, nil
}

// tenantOf returns the tenant whose administrator's token it is. Only hashes are compared, so that
// how long it takes says nothing of the token.
func (b *Broker) tenantOf(ctx context.Context, token string) (string, error) {
	hash := sha256.Sum256([]byte(token))
	var name string
	err := b.db.Reader().QueryRowContext(ctx, `SELECT name FROM tenants WHERE token = ?`,
		hash[:]).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) || token == "" {
		return "", errs.New(errs.Unauthorized, "this is no tenant administrator's token")
	}
	return name, errs.Wrap(err, "broker.admin")
}

// PathAdmin is below what administrators are served at.
const PathAdmin = "/admin/v1/"

// AdminHandler serves administrators from afar, each with his tenant's token and for his tenant.
func (b *Broker) AdminHandler() http.Handler {
	return b.adminMux(func(r *http.Request, tenant string) error {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		own, err := b.tenantOf(r.Context(), token)
		if err != nil {
			return err
		}
		if tenant != own {
			return errs.New(errs.Forbidden, "this token is tenant %s's, and the request is about %.80q", own,
				tenant)
		}
		return nil
	})
}

// OwnerHandler serves whoever reaches it, for every tenant: it belongs behind a socket that only the
// directory's owner can open.
func (b *Broker) OwnerHandler() http.Handler {
	return b.adminMux(func(*http.Request, string) error { return nil })
}

// order is any request of an administrator; each act reads what it needs.
type order struct {
	Tenant    string          `json:"tenant"`
	Kind      string          `json:"kind,omitempty"`
	Tag       string          `json:"tag,omitempty"`
	Secret    []byte          `json:"secret,omitempty"`
	Replace   bool            `json:"replace,omitempty"`
	Pattern   string          `json:"pattern,omitempty"`
	Policy    *enclave.Policy `json:"policy,omitempty"`
	Measure   enclave.Digest  `json:"measure,omitempty"`
	Owner     []byte          `json:"owner,omitempty"`
	Signature []byte          `json:"signature,omitempty"`
	Publish   *Publication    `json:"publish,omitempty"`
	Limit     int             `json:"limit,omitempty"`
}

// The acts, as the last part of a path.
const (
	orderPut          = "put"
	orderRemove       = "remove"
	orderSecrets      = "secrets"
	orderSetPolicy    = "set-policy"
	orderRemovePolicy = "remove-policy"
	orderPolicies     = "policies"
	orderApprove      = "approve"
	orderPublish      = "publish"
	orderOutcomes     = "outcomes"
	orderTenant       = "tenant"
)

// done is the answer where there is nothing to say.
type done struct{}

// tokenMade is the answer to orderTenant.
type tokenMade struct {
	Token string `json:"token"`
}

func (b *Broker) adminMux(may func(r *http.Request, tenant string) error) http.Handler {
	mux := http.NewServeMux()
	for name, act := range b.acts() {
		mux.Handle("POST "+PathAdmin+name, b.answer(b.orders, func(r *http.Request) (any, error) {
			var o order
			if err := decodeStrict(r, &o); err != nil {
				return nil, err
			}
			if err := may(r, o.Tenant); err != nil {
				return nil, err
			}
			return act(r.Context(), &o)
		}))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b.refuse(w, r, errs.New(errs.NotFound, "there is nothing at %.200q for %s", r.URL.Path, r.Method))
	})
	return mux
}

func (b *Broker) acts() map[string]func(context.Context, *order) (any, error) {
	return map[string]func(context.Context, *order) (any, error){
		orderPut: func(ctx context.Context, o *order) (any, error) {
			defer clear(o.Secret)
			return done{}, b.PutSecret(ctx, o.Tenant, o.Kind, o.Tag, o.Secret, o.Replace)
		},
		orderRemove: func(ctx context.Context, o *order) (any, error) {
			return done{}, b.RemoveSecret(ctx, o.Tenant, o.Kind, o.Tag)
		},
		orderSecrets: func(ctx context.Context, o *order) (any, error) {
			return b.Secrets(ctx, o.Tenant)
		},
		orderSetPolicy: func(ctx context.Context, o *order) (any, error) {
			if o.Policy == nil {
				return nil, errs.New(errs.Invalid, "there is no policy in the request")
			}
			return done{}, b.SetPolicy(ctx, o.Tenant, o.Pattern, *o.Policy)
		},
		orderRemovePolicy: func(ctx context.Context, o *order) (any, error) {
			return done{}, b.RemovePolicy(ctx, o.Tenant, o.Pattern)
		},
		orderPolicies: func(ctx context.Context, o *order) (any, error) {
			return b.Policies(ctx, o.Tenant)
		},
		orderApprove: func(ctx context.Context, o *order) (any, error) {
			return done{}, b.Approve(ctx, o.Tenant, o.Pattern, o.Measure, o.Owner, o.Signature)
		},
		orderPublish: func(ctx context.Context, o *order) (any, error) {
			if o.Publish == nil {
				return nil, errs.New(errs.Invalid, "there is no measurement in the request")
			}
			return b.Publish(ctx, o.Tenant, *o.Publish)
		},
		orderOutcomes: func(ctx context.Context, o *order) (any, error) {
			return b.Outcomes(ctx, o.Tenant, o.Limit)
		},
		orderTenant: func(ctx context.Context, o *order) (any, error) {
			token, err := b.CreateTenant(ctx, o.Tenant)
			return tokenMade{token}, err
		},
	}
}
