package runtime

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"

	"surety/base/errs"
	"surety/sandbox"
)

// manifestFile names what a snapshot holds and what it was taken of.
const manifestFile = "surety.json"

// manifest stands beside the kernel's own files in a snapshot's directory.
type manifest struct {
	Spec   Spec              `json:"spec"`   // of the sandbox it was taken of
	Files  map[string]string `json:"files"`  // sha256:hex by name
	Chain  string            `json:"chain"`  // head of the trail just before
	Digest string            `json:"digest"` // over the names and digests of the files
}

// sealSnapshot measures the files of a snapshot and writes its manifest.
func sealSnapshot(dir string, spec *Spec) (sandbox.Digest, error) {
	m := manifest{Spec: *spec, Files: map[string]string{}}
	if err := m.measure(dir); err != nil {
		return sandbox.Digest{}, err
	}
	content, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return sandbox.Digest{}, errs.Wrap(err, "snapshot")
	}
	if err := replaceFile(filepath.Join(dir, manifestFile), content); err != nil {
		return sandbox.Digest{}, err
	}
	raw, err := hex.DecodeString(m.Digest[len("sha256:"):])
	return sandbox.Digest(raw), err
}

func (m *manifest) measure(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return errs.Wrap(err, "snapshot")
	}
	whole := sha256.New()
	for _, e := range entries { // sorted by name
		if e.Name() == manifestFile {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return errs.Wrap(err, "snapshot")
		}
		digest, err := digestOf(f)
		f.Close()
		if err != nil {
			return errs.Wrap(err, "snapshot: %s", e.Name())
		}
		m.Files[e.Name()] = digest
		_, _ = io.WriteString(whole, e.Name()+" "+digest+"\n")
	}
	m.Digest = "sha256:" + hex.EncodeToString(whole.Sum(nil))
	return nil
}

// ReadSnapshot returns the spec of the sandbox that a snapshot was taken of; kind Corrupt where a
// file of it is not what was written.
func ReadSnapshot(dir string) (Spec, error) {
	m, err := loadSnapshot(dir)
	if err != nil {
		return Spec{}, err
	}
	return m.Spec, nil
}

func loadSnapshot(dir string) (*manifest, error) {
	content, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if err != nil {
		return nil, errs.As(errs.NotFound, err, "snapshot %s", dir)
	}
	var m manifest
	if err := json.Unmarshal(content, &m); err != nil {
		return nil, errs.As(errs.Corrupt, err, "snapshot %s", dir)
	}
	now := manifest{Files: map[string]string{}}
	if err := now.measure(dir); err != nil {
		return nil, err
	}
	if now.Digest != m.Digest {
		var changed []string
		for name, digest := range m.Files {
			if now.Files[name] != digest {
				changed = append(changed, name)
			}
		}
		slices.Sort(changed)
		return nil, errs.New(errs.Corrupt, "snapshot %s: %v changed since it was taken", dir, changed)
	}
	return &m, nil
}

// readSnapshot returns the digest and chain head that a birth names.
func readSnapshot(dir string) (digest, chain string, err error) {
	m, err := loadSnapshot(dir)
	if err != nil {
		return "", "", err
	}
	return m.Digest, m.Chain, nil
}
