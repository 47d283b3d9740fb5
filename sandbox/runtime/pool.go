package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"surety/base/errs"
)

// Pool is a number of sandboxes of one spec that are booted and wait at the gate: to take one costs
// what its program's own start costs. A pool is a file and its sandboxes; no process keeps it. Who
// takes one fills it up again.
type Pool struct {
	host *Host
	name string
	kept kept
}

// kept is what the pool's file says.
type kept struct {
	Size int  `json:"size"`
	Spec Spec `json:"spec"` // without an id
}

func (h *Host) poolFile(name string) string {
	return filepath.Join(h.config.Root, "pools", name+".json")
}

// MakePool makes a pool of size sandboxes and fills it. Exists where there is one of the name.
func (h *Host) MakePool(ctx context.Context, name string, size int, spec Spec) (*Pool, error) {
	if size < 1 || size > maxPool {
		return nil, errs.New(errs.Invalid, "pool %s: size %d is not within 1 to %d", name, size, maxPool)
	}
	spec.ID = name + "-0"
	if err := spec.Check(); err != nil {
		return nil, err
	}
	if spec.Terminal {
		return nil, errs.New(errs.Invalid, "pool %s: a terminal is made for one user", name)
	}
	p := &Pool{host: h, name: name, kept: kept{Size: size, Spec: spec}}
	file := h.poolFile(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, errs.Wrap(err, "pool %s", name)
	}
	if _, err := os.Stat(file); err == nil {
		return nil, errs.New(errs.Exists, "pool %s exists", name)
	}
	content, err := json.MarshalIndent(&p.kept, "", "  ")
	if err != nil {
		return nil, errs.Wrap(err, "pool %s", name)
	}
	if err := replaceFile(file, content); err != nil {
		return nil, err
	}
	if err := p.Fill(ctx); err != nil {
		return nil, errors.Join(err, p.Remove(context.WithoutCancel(ctx)))
	}
	return p, nil
}

// FindPool opens a pool; kind NotFound where there is none.
func (h *Host) FindPool(name string) (*Pool, error) {
	if !idForm.MatchString(name) {
		return nil, errs.New(errs.Invalid, "pool %q is not of the form %s", name, idForm)
	}
	content, err := os.ReadFile(h.poolFile(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.New(errs.NotFound, "no pool %s in %s", name, h.config.Root)
	}
	if err != nil {
		return nil, errs.Wrap(err, "pool %s", name)
	}
	p := &Pool{host: h, name: name}
	if err := json.Unmarshal(content, &p.kept); err != nil {
		return nil, errs.As(errs.Corrupt, err, "pool %s", name)
	}
	return p, nil
}

// Take gives one of the pool's sandboxes the streams and lets its program run. A pool that is empty
// is kind Busy: Fill makes it whole.
func (p *Pool) Take(ctx context.Context, io Stdio) (*Sandbox, error) {
	for n := range p.slots() {
		s := p.slot(n)
		if _, err := os.Stat(s.file(controlFile)); err != nil {
			continue // nobody there, or not yet
		}
		err := s.startWith(ctx, io)
		switch {
		case err == nil:
			return s, nil
		case errs.Is(err, errs.Refused) || errs.Is(err, errs.Unavailable):
			continue // somebody was quicker, or it died
		}
		return nil, err
	}
	return nil, errs.New(errs.Busy, "pool %s: none of its %d is ready", p.name, p.kept.Size)
}

// slots is how many names the pool's sandboxes rotate through: those taken keep theirs until they
// are removed.
func (p *Pool) slots() int { return p.kept.Size + maxTaken }

func (p *Pool) slot(n int) *Sandbox {
	return p.host.handle(fmt.Sprintf("%s-%d", p.name, n))
}

// Ready is how many sandboxes wait.
func (p *Pool) Ready() int {
	ready := 0
	for n := range p.slots() {
		if st, err := p.slot(n).State(); err == nil && st.Status == Created {
			ready++
		}
	}
	return ready
}

// Size is how many the pool is to have.
func (p *Pool) Size() int { return p.kept.Size }

// Spec is what the pool's sandboxes run.
func (p *Pool) Spec() Spec { return p.kept.Spec }

// Fill boots sandboxes until Size of them wait, at most fillAtOnce at a time.
func (p *Pool) Fill(ctx context.Context) error {
	missing := p.kept.Size - p.Ready()
	var (
		mu     sync.Mutex
		failed error
		group  sync.WaitGroup
	)
	gate := make(chan struct{}, fillAtOnce)
	for n := 0; n < p.slots() && missing > 0; n++ {
		s := p.slot(n)
		if st, err := s.State(); err == nil && st.Status != Stopped {
			continue
		} else if err == nil {
			_ = s.Remove(ctx, false)
		}
		missing--
		gate <- struct{}{}
		group.Go(func() {
			defer func() { <-gate }()
			spec := p.kept.Spec
			spec.ID = s.id
			_, err := p.host.Create(ctx, spec, Stdio{Later: true})
			if err != nil && !errs.Is(err, errs.Exists) {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return failed
}

// Remove ends what waits and deletes the pool. Sandboxes that were taken go on.
func (p *Pool) Remove(ctx context.Context) error {
	err := os.Remove(p.host.poolFile(p.name))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for n := range p.slots() {
		s := p.slot(n)
		if st, stateErr := s.State(); stateErr == nil && (st.Status == Created || st.Status == Stopped) {
			err = errors.Join(err, s.Remove(ctx, true))
		}
	}
	return err
}

// Pools names the pools of the host.
func (h *Host) Pools() ([]string, error) {
	files, err := filepath.Glob(h.poolFile("*"))
	if err != nil {
		return nil, errs.Wrap(err, "pools")
	}
	names := []string{}
	for _, f := range files {
		base := filepath.Base(f)
		names = append(names, base[:len(base)-len(".json")])
	}
	return names, nil
}
