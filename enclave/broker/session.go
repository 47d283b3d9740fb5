package broker

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/client"
	"surety/sys/entropy"
)

// session is a guest: first a challenge, then what its evidence showed. It is not changed once it
// was admitted, but for asked.
type session struct {
	id      string // of the cookie
	host    string // that asked for the challenge
	tee     string
	nonce   []byte
	trace   ident.ID
	expires clock.Instant

	claims *enclave.Claims
	token  *attest.Token
	bearer [32]byte // SHA-256 of the token's text
	seals  sealer

	size  int // of the manifest behind claims, in bytes
	asked int // requests so far; table.mu guards it
}

// table keeps challenges and sessions, each sort in the order they expire, which is that of their
// making: every one of a sort lives equally long.
type table struct {
	mu         sync.Mutex
	challenges map[string]*session
	waiting    []*session
	hosts      map[string]int // challenges of each address
	admitted   map[string]*session
	bearers    map[[32]byte]*session
	ageing     []*session
	bytes      int // of the manifests of all admitted
}

func newTable() *table {
	return &table{challenges: map[string]*session{}, hosts: map[string]int{},
		admitted: map[string]*session{}, bearers: map[[32]byte]*session{}}
}

// challenge makes a session that waits for its evidence. Kind Busy where too many do.
func (t *table) challenge(tee, host string, trace ident.ID, now clock.Instant) (*session, error) {
	var random [2 * client.NonceBytes]byte
	entropy.System().Fill(random[:])
	s := &session{id: base64.RawURLEncoding.EncodeToString(random[:client.NonceBytes]), host: host,
		tee: tee, nonce: random[client.NonceBytes:], trace: trace, expires: now.Add(challengeLife)}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if len(t.challenges) >= maxChallenges {
		return nil, errs.New(errs.Busy, "%d challenges wait for their answers, the limit", maxChallenges)
	}
	if t.hosts[host] >= maxChallengesHost {
		return nil, errs.New(errs.Busy, "%d challenges to this address wait for their answers, the limit",
			maxChallengesHost)
	}
	if len(t.waiting) >= 2*maxChallenges { // most of them were answered
		t.waiting = slices.DeleteFunc(t.waiting, func(w *session) bool { return t.challenges[w.id] != w })
	}
	t.challenges[s.id] = s
	t.waiting = append(t.waiting, s)
	t.hosts[host]++
	return s, nil
}

// take gives a challenge out, once. Kind Unauthorized where there is none, or none any more.
func (t *table) take(id string, now clock.Instant) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	s := t.challenges[id]
	if s == nil {
		return nil, errs.New(errs.Unauthorized, "no challenge waits in this session: it was answered, "+
			"expired after %d s, or was never made", challengeLife/clock.Second)
	}
	t.drop(s)
	return s, nil
}

// drop forgets a challenge; t.mu is held. It stays in waiting until it would have expired.
func (t *table) drop(s *session) {
	delete(t.challenges, s.id)
	if t.hosts[s.host]--; t.hosts[s.host] <= 0 {
		delete(t.hosts, s.host)
	}
}

// admit keeps a session whose evidence was verified. Kind Busy where too many are kept.
func (t *table) admit(s *session, token string, now clock.Instant) error {
	s.bearer = sha256.Sum256([]byte(token))
	s.expires = now.Add(sessionLife)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	if len(t.ageing) >= maxSessions { // those that ended early count until they would have expired
		return errs.New(errs.Busy, "%d sessions were admitted within %d min, the limit", maxSessions,
			sessionLife/clock.Minute)
	}
	if t.bytes+s.size > maxSessionBytes {
		return errs.New(errs.Busy, "open sessions have manifests of %d bytes, the limit is %d", t.bytes,
			maxSessionBytes)
	}
	t.bytes += s.size
	t.admitted[s.id] = s
	t.bearers[s.bearer] = s
	t.ageing = append(t.ageing, s)
	return nil
}

// find returns the session of a cookie or of a token, and counts the request. Kind Unauthorized
// where there is none, or where it has asked as often as a session may: its guest attests anew.
func (t *table) find(cookie, token string, now clock.Instant) (*session, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expire(now)
	s := t.admitted[cookie]
	if token != "" {
		s = t.bearers[sha256.Sum256([]byte(token))]
	}
	if s == nil {
		return nil, errs.New(errs.Unauthorized, "no session: attest first; one lasts %d min or %d requests, "+
			"and not beyond the broker's restart", sessionLife/clock.Minute, maxRequests)
	}
	if s.asked++; s.asked == maxRequests {
		t.end(s)
	}
	return s, nil
}

// end forgets an admitted session; t.mu is held. It stays in ageing until it would have expired.
func (t *table) end(s *session) {
	if t.admitted[s.id] != s {
		return
	}
	delete(t.admitted, s.id)
	delete(t.bearers, s.bearer)
	t.bytes -= s.size
}

// expire forgets what is over; t.mu is held. Each session is looked at once.
func (t *table) expire(now clock.Instant) {
	for len(t.waiting) > 0 && (t.waiting[0].expires <= now || t.challenges[t.waiting[0].id] == nil) {
		if s := t.waiting[0]; t.challenges[s.id] == s {
			t.drop(s)
		}
		t.waiting[0] = nil
		t.waiting = t.waiting[1:]
	}
	for len(t.ageing) > 0 && t.ageing[0].expires <= now {
		t.end(t.ageing[0])
		t.ageing[0] = nil
		t.ageing = t.ageing[1:]
	}
}

// throttle bounds the records of strangers within a minute, and counts what it leaves out.
type throttle struct {
	mu      sync.Mutex
	minute  int64
	count   int
	skipped uint64
}

// admit reports whether a record may be written now, and how many were left out since the last.
func (t *throttle) admit(now clock.Instant) (ok bool, skipped uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if minute := int64(now / clock.Instant(clock.Minute)); minute != t.minute {
		t.minute, t.count = minute, 0
	}
	if t.count >= maxRefusals {
		t.skipped++
		return false, 0
	}
	t.count++
	skipped, t.skipped = t.skipped, 0
	return true, skipped
}
