package broker

import (
	"database/sql"
	"encoding/hex"
	"errors"
	"net/http"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/client"
)

// speaking is one message about a lease within a transaction.
type speaking struct {
	broker  *Broker
	tx      *sql.Tx
	message client.LeaseMessage
	state   *held
	mac     []byte
	tenant  string
	product string
	signer  enclave.KeyID
	name    string // of the state, and its instance
}

// serveLease reads a message, finds its lease, lets act change it, and answers for good.
func (b *Broker) serveLease(r *http.Request, act string, change func(*speaking) error) (any, error) {
	m := client.LeaseMessage{}
	if err := decodeBody(r, &m); err != nil {
		return nil, err
	}
	lease, err := hex.DecodeString(m.Lease)
	if err != nil || len(lease) != 16 {
		return nil, errs.New(errs.Invalid, "lease is %.60q, want 32 hexadecimal digits", m.Lease)
	}
	sp := &speaking{broker: b, message: m}
	err = b.db.Write(r.Context(), func(tx *sql.Tx) error {
		sp.tx = tx
		if err := sp.find(lease, act); err != nil {
			return err
		}
		return change(sp)
	})
	if err != nil {
		return nil, err
	}
	b.recorded()
	answer := m
	answer.Authenticate(sp.mac, client.ActDone+act)
	return answer, nil
}

// find loads the lease and checks that its holder speaks, and that it still is one. A lease that was
// given to somebody else, or closed, is not in the store any more.
func (sp *speaking) find(lease []byte, act string) error {
	sp.state = &held{}
	var signer []byte
	var instance string
	err := sp.state.scan(sp.tx.QueryRow(`SELECT `+stateColumns+`, tenant, product, signer, name, instance
		FROM states WHERE lease = ?`, lease), &sp.tenant, &sp.product, &signer, &sp.name, &instance)
	if errors.Is(err, sql.ErrNoRows) {
		return errs.New(errs.Locked, "the lease was lost: it lapsed and another has the state, or it was "+
			"closed")
	}
	if err != nil {
		return err
	}
	sp.signer, sp.name = enclave.KeyID(signer), sp.name+" of "+instance
	if sp.mac, err = sp.broker.rest.open(macContext(lease), sp.state.mac); err != nil {
		return err
	}
	if !sp.message.Authentic(sp.mac, act) {
		return errs.New(errs.Forbidden, "the message is not authentic: its holder has not sent it")
	}
	if sp.message.Fence != uint64(sp.state.fence) {
		return errs.New(errs.Locked, "the lease was lost: fence %d, and the state is at %d",
			sp.message.Fence, sp.state.fence)
	}
	if now := int64(sp.broker.now()); sp.state.until <= now {
		return errs.New(errs.Locked, "the lease lapsed %d s ago", (now-sp.state.until)/1e9)
	}
	return nil
}

// extend keeps the lease for as long again as it was given for.
func (sp *speaking) extend() error {
	_, err := sp.tx.Exec(`UPDATE states SET until = ? WHERE id = ?`,
		int64(sp.broker.now().Add(client.LeaseTime)), sp.state.id)
	return err
}

// serveCommit keeps epoch and root. The same commit again is answered as the first time: its answer
// may have been lost.
func (b *Broker) serveCommit(r *http.Request) (any, error) {
	return b.serveLease(r, client.ActCommit, func(sp *speaking) error {
		m, last := &sp.message, uint64(sp.state.epoch)
		if m.Count == last && m.Root == sp.state.root && last > 0 {
			return sp.extend()
		}
		if m.Count != last+1 || m.Count > maxEpoch {
			return errs.New(errs.Refused, "commit of epoch %d, and the state is at %d", m.Count, last)
		}
		_, err := sp.tx.Exec(`UPDATE states SET epoch = ?, root = ?, svn = lease_svn WHERE id = ?`,
			int64(m.Count), m.Root[:], sp.state.id)
		if err != nil {
			return err
		}
		return sp.extend()
	})
}

// serveRenew keeps the lease alive. Renewals are counted, so that an old one does not do it.
func (b *Broker) serveRenew(r *http.Request) (any, error) {
	return b.serveLease(r, client.ActRenew, func(sp *speaking) error {
		if sp.message.Count <= uint64(sp.state.renewals) || sp.message.Count > maxEpoch {
			if sp.message.Count == uint64(sp.state.renewals) {
				return nil // again, since its answer was lost: it has been counted
			}
			return errs.New(errs.Refused, "renewal %d after %d", sp.message.Count, sp.state.renewals)
		}
		_, err := sp.tx.Exec(`UPDATE states SET renewals = ? WHERE id = ?`, int64(sp.message.Count),
			sp.state.id)
		if err != nil {
			return err
		}
		return sp.extend()
	})
}

// serveClose gives the state back.
func (b *Broker) serveClose(r *http.Request) (any, error) {
	return b.serveLease(r, client.ActClose, func(sp *speaking) error {
		_, err := sp.tx.Exec(`UPDATE states SET lease = NULL, until = 0, asked = '', mac = x''
			WHERE id = ?`, sp.state.id)
		if err != nil {
			return err
		}
		return b.insert(sp.tx, &Outcome{Act: actStateClosed, Tenant: sp.tenant,
			Resource: sp.tenant + "/" + stateKind + "/" + sp.name, Signer: sp.signer, Product: sp.product,
			SVN: sp.state.leaseSVN, Checks: []enclave.Check{}})
	})
}
