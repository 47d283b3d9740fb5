package access

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync"

	"surety/base/clock"
	"surety/base/errs"
	"surety/base/ident"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// Store is the token file. A command and a running node may each have one open on the same
// directory: changes are made under a lock and replace the file whole, and every Store looks at
// the file again after a second.
type Store struct {
	fs     vfs.FS
	dir    string
	clock  wallclock.Clock
	source entropy.Source

	mu     sync.Mutex
	read   clock.Instant // when the file was last read; zero: never
	raw    []byte        // what it held
	tokens []Token
}

// Token is what is known of a token: all but the secret.
type Token struct {
	ID        ident.ID      `json:"id"`
	Principal string        `json:"principal"`
	Roles     []Role        `json:"roles"`
	Hash      string        `json:"hash"` // SHA-256 of the secret, hexadecimal
	Created   clock.Instant `json:"created"`
	Expires   clock.Instant `json:"expires,omitzero"` // zero: never
	Revoked   clock.Instant `json:"revoked,omitzero"` // zero: not revoked
}

// Live reports whether the token opens doors at now.
func (t Token) Live(now clock.Instant) bool {
	return t.Revoked == 0 && (t.Expires == 0 || now < t.Expires)
}

// file is the token file's content.
type file struct {
	Version int     `json:"version"`
	Tokens  []Token `json:"tokens"`
}

const (
	fileVersion = 1
	fileName    = "tokens.json"
	lockName    = "tokens.lock"
)

// OpenStore returns the store in dir, which is made where it is absent. A file that cannot be
// understood is an error of kind Corrupt.
func OpenStore(
	fs vfs.FS, dir string, clock wallclock.Clock, source entropy.Source,
) (*Store, error) {
	if err := fs.MakeDir(dir); err != nil {
		return nil, errs.Wrap(err, "access.open")
	}
	s := &Store{fs: fs, dir: dir, clock: clock, source: source}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s, s.load()
}

// Grant asks for a token.
type Grant struct {
	Principal string
	Roles     []Role
	Expires   clock.Instant // zero: never
}

// Issue makes a token, stores it, and returns its secret, which cannot be had again. A name or
// role that is not one is an error of kind Invalid; a full store of kind TooLarge. When it
// returns, the token survives a power cut.
func (s *Store) Issue(grant Grant) (Token, Secret, error) {
	if err := checkGrant(grant, s.clock.Now()); err != nil {
		return Token{}, Secret{}, err
	}
	secret := newSecret(s.source)
	token, err := s.issue(grant, secret)
	return token, secret, err
}

// Adopt stores a token whose secret was made elsewhere, as by whoever deploys the node; the same
// secret again changes nothing.
func (s *Store) Adopt(grant Grant, secret Secret) error {
	if err := checkGrant(grant, s.clock.Now()); err != nil {
		return err
	}
	if s.holds(secret) {
		return nil
	}
	_, err := s.issue(grant, secret)
	return err
}

// Bootstrap issues the first token, of role admin, where the store has none. Where it has one, made
// is false and there is no secret.
func (s *Store) Bootstrap() (secret Secret, made bool, err error) {
	tokens, err := s.List()
	if err != nil || len(tokens) > 0 {
		return Secret{}, false, err
	}
	_, secret, err = s.Issue(Grant{Principal: string(Admin), Roles: []Role{Admin}})
	return secret, err == nil, err
}

// Revoke ends a token, or all tokens of a principal where name is one, and returns those it ended.
// A name that nothing live bears is an error of kind NotFound.
func (s *Store) Revoke(name string) ([]Token, error) {
	var ended []Token
	err := s.change(func(tokens []Token, now clock.Instant) ([]Token, error) {
		for i := range tokens {
			named := tokens[i].Principal == name || tokens[i].ID.String() == name
			if named && tokens[i].Revoked == 0 {
				tokens[i].Revoked = now
				ended = append(ended, tokens[i])
			}
		}
		if len(ended) == 0 {
			return nil, errs.New(errs.NotFound, "access.revoke: no live token of %q", clip(name))
		}
		return tokens, nil
	})
	return ended, err
}

// List returns every token, the oldest first.
func (s *Store) List() ([]Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.load(); err != nil {
		return nil, err
	}
	return slices.Clone(s.tokens), nil
}

// Check returns the principal of a secret. A secret that is unknown, expired or revoked is an error
// of kind Unauthorized, and the three cannot be told apart. It reads the file at most once a
// second, and compares in the same time whichever token matches.
func (s *Store) Check(secret Secret) (Principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.read == 0 || now.Sub(s.read) >= reloadInterval {
		if err := s.load(); err != nil {
			return Principal{}, err
		}
	}
	if i := s.find(secret); i >= 0 && s.tokens[i].Live(now) {
		return Principal{Name: s.tokens[i].Principal, Roles: s.tokens[i].Roles}, nil
	}
	return Principal{}, errs.New(errs.Unauthorized,
		"access: the token is unknown, expired or revoked")
}

func (s *Store) holds(secret Secret) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(secret) >= 0
}

// find returns the index of the secret's token, or -1; s.mu is held.
func (s *Store) find(secret Secret) int {
	sum := secret.hash()
	text := make([]byte, hex.EncodedLen(len(sum)))
	hex.Encode(text, sum[:])
	found := -1
	for i := range s.tokens {
		if subtle.ConstantTimeCompare(text, []byte(s.tokens[i].Hash)) == 1 {
			found = i
		}
	}
	return found
}

func (s *Store) issue(grant Grant, secret Secret) (Token, error) {
	sum := secret.hash()
	token := Token{
		ID:        entropy.NewIdents(s.source, s.clock.Now).New(),
		Principal: grant.Principal,
		Roles:     grant.Roles,
		Hash:      hex.EncodeToString(sum[:]),
		Created:   s.clock.Now(),
		Expires:   grant.Expires,
	}
	err := s.change(func(tokens []Token, now clock.Instant) ([]Token, error) {
		if len(tokens) >= tokensMax {
			tokens = slices.DeleteFunc(tokens, func(t Token) bool { return !t.Live(now) })
		}
		if len(tokens) >= tokensMax {
			return nil, errs.New(errs.TooLarge, "access.issue: %d live tokens, the limit is %d",
				len(tokens), tokensMax)
		}
		return append(tokens, token), nil
	})
	return token, err
}

// change replaces the tokens by what edit makes of them. It holds the lock file, so that two
// commands cannot lose each other's change; where one does, the other gets kind Locked.
func (s *Store) change(
	edit func(tokens []Token, now clock.Instant) ([]Token, error),
) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lock, err := s.fs.Lock(filepath.Join(s.dir, lockName))
	if err != nil {
		return errs.Wrap(err, "access")
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := s.load(); err != nil {
		return err
	}
	tokens, err := edit(slices.Clone(s.tokens), s.clock.Now())
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(file{Version: fileVersion, Tokens: tokens}, "", "  ")
	if err != nil {
		return errs.As(errs.Internal, err, "access: encode tokens")
	}
	if err := s.replace(append(raw, '\n')); err != nil {
		return errs.Wrap(err, "access: write tokens")
	}
	return s.load()
}

// replace puts raw in the file's place in one step that survives a power cut whole or not at all.
func (s *Store) replace(raw []byte) error {
	next := filepath.Join(s.dir, fileName+".new")
	if err := s.fs.Remove(next); err != nil && !errs.Is(err, errs.NotFound) {
		return err // what an earlier crash left would otherwise show behind a shorter file
	}
	f, err := s.fs.Open(next, vfs.Create|vfs.Exclusive)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(raw, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := s.fs.Rename(next, filepath.Join(s.dir, fileName)); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// load reads the file; s.mu is held. A file that is absent holds no tokens.
func (s *Store) load() error {
	raw, err := s.readFile()
	if err != nil {
		return errs.Wrap(err, "access: read tokens")
	}
	if s.raw == nil || !bytes.Equal(raw, s.raw) {
		tokens, err := decode(raw)
		if err != nil {
			return err // and read stays as it was: the next check looks again
		}
		s.raw, s.tokens = raw, tokens
	}
	s.read = s.clock.Now()
	return nil
}

func (s *Store) readFile() (raw []byte, err error) {
	f, err := s.fs.Open(filepath.Join(s.dir, fileName), 0)
	if errs.Is(err, errs.NotFound) {
		return []byte{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > fileMax {
		return nil, errs.New(errs.Corrupt, "%s has %d bytes, the limit is %d", fileName, size, fileMax)
	}
	raw = make([]byte, size)
	return raw, vfs.ReadFull(f, raw, 0)
}

// decode reads the file's content. It is strict: what cannot be understood opens no door.
func decode(raw []byte) ([]Token, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var content file
	reader := json.NewDecoder(bytes.NewReader(raw))
	reader.DisallowUnknownFields()
	if err := reader.Decode(&content); err != nil {
		return nil, errs.As(errs.Corrupt, err, "access: %s", fileName)
	}
	if content.Version != fileVersion {
		return nil, errs.New(errs.Corrupt, "access: %s has version %d, this program reads %d",
			fileName, content.Version, fileVersion)
	}
	return content.Tokens, nil
}

// checkGrant tells what is wrong with a grant.
func checkGrant(grant Grant, now clock.Instant) error {
	if !plainName(grant.Principal) {
		return errs.New(errs.Invalid, "access: principal %q is not 1 to %d of a-z 0-9 . _ @ -",
			clip(grant.Principal), nameMax)
	}
	if grant.Principal == LocalName {
		return errs.New(errs.Invalid, "access: principal %q is who calls without a token", LocalName)
	}
	if len(grant.Roles) == 0 {
		return errs.New(errs.Invalid, "access: a token needs a role: %s", listRoles(Roles()))
	}
	for _, role := range grant.Roles {
		if !slices.Contains(Roles(), role) {
			return errs.New(errs.Invalid, "access: role %q is not one of %s", clip(string(role)),
				listRoles(Roles()))
		}
	}
	if grant.Expires != 0 && grant.Expires <= now {
		return errs.New(errs.Invalid, "access: the token would have expired already")
	}
	return nil
}

func plainName(name string) bool {
	if name == "" || len(name) > nameMax {
		return false
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		plain := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' ||
			c == '-' || c == '_' || c == '.' || c == '@'
		if !plain {
			return false
		}
	}
	return true
}

// clip keeps hostile text out of messages and logs.
func clip(text string) string {
	if len(text) > nameMax {
		return text[:nameMax] + "..."
	}
	return text
}
