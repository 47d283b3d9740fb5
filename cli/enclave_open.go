package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/attest"
	"surety/enclave/launch"
	"surety/enclave/layer"
	"surety/enclave/pack"
	"surety/sandbox/runtime"
)

// enclaved is what a verb on enclaves of this machine is called with.
type enclaved struct {
	*cobra.Command
	env  *Env
	args []string
	host *runtime.Host
	root string
}

// withEnclaves is a verb that works on the enclaves of --root.
func withEnclaves(env *Env, c *cobra.Command, do func(*enclaved) error) *cobra.Command {
	var root string
	enclaveRootFlag(env, c.Flags(), &root)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		env.began = true
		host, err := runtime.Open(runtime.Config{Root: filepath.Join(root, "sandbox"),
			Debug: env.Getenv("SURETY_SANDBOX_DEBUG")})
		if err != nil {
			return err
		}
		return do(&enclaved{Command: cmd, env: env, args: args, host: host, root: root})
	}
	return c
}

// enclaveHintFor is hintFor for enclaves: refusals name what was seen and what is wanted themselves.
func enclaveHintFor(kind errs.Kind) string {
	switch kind {
	case errs.NoSpace:
		return "free some space, then start again"
	case errs.Corrupt:
		return "a file is not what was measured: build it again, or fetch it again"
	case errs.Busy:
		return "try again in a moment"
	case errs.Internal:
		return "this is a defect: please report it with the line above"
	}
	return ""
}

// find is the running or stopped enclave that the first argument names.
func (h *enclaved) find() (*runtime.Sandbox, runtime.State, error) {
	s, err := h.host.Find(h.args[0])
	if errs.Is(err, errs.NotFound) {
		return nil, runtime.State{}, errs.New(errs.NotFound, "no enclave %s runs here, or has ended here, "+
			"under %s", h.args[0], h.root)
	}
	if err != nil {
		return nil, runtime.State{}, err
	}
	st, err := s.State()
	return s, st, err
}

// options say where devices of this machine are found, where no flag says otherwise.
func (h *enclaved) options() attest.Options {
	return (&enclaveDevice{root: h.root}).options(h.env)
}

// log is for what is said while an enclave starts and runs: warnings, to standard error.
func (h *enclaved) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(h.env.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// enclaveFiles is a bundle, and the keys of its owner where those are here too.
type enclaveFiles struct{ bundle, keys string }

// locateEnclave takes a project's directory, a bundle's, or a bundle in one file.
func locateEnclave(path string) (enclaveFiles, error) {
	info, err := os.Stat(path)
	if err != nil {
		return enclaveFiles{}, fileError(err, "enclave")
	}
	switch {
	case !info.IsDir():
		return enclaveFiles{bundle: path}, nil
	case exists(filepath.Join(path, "manifest.cose")):
		files := enclaveFiles{bundle: path}
		if parent := filepath.Dir(filepath.Clean(path)); exists(filepath.Join(parent, "enclave.yaml")) {
			files.keys = filepath.Join(parent, "keys")
		}
		return files, nil
	case exists(filepath.Join(path, "enclave.yaml")):
		files := enclaveFiles{bundle: filepath.Join(path, "build"), keys: filepath.Join(path, "keys")}
		if !exists(files.bundle) {
			return files, errs.New(errs.NotFound, "%s is not built yet: run \"surety enclave build %s\"", path,
				path)
		}
		return files, nil
	}
	return enclaveFiles{}, errs.New(errs.Invalid, "%s is neither a project (enclave.yaml) nor a bundle "+
		"(manifest.cose)", path)
}

// layerKey reads the key of a layer, kind NotFound where its owner's keys are not here.
func (f enclaveFiles) layerKey(name string) (layer.Key, error) {
	if f.keys == "" {
		return layer.Key{}, errs.New(errs.NotFound, "the keys of its owner are not here: give the project's "+
			"directory, or --broker NAME=URL")
	}
	return pack.LoadLayerKey(filepath.Join(f.keys, name+".key"))
}

// readRoots reads certificates that a verifier is to trust.
func readRoots(paths []string) ([][]byte, error) {
	var roots [][]byte
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, fileError(err, "root")
		}
		roots = append(roots, content)
	}
	return roots, nil
}

// parseBrokers reads NAME=URL.
func parseBrokers(texts []string) (map[string]launch.BrokerAt, error) {
	brokers := map[string]launch.BrokerAt{}
	for _, text := range texts {
		name, url, found := strings.Cut(text, "=")
		if !found || !enclave.ValidName(name) || url == "" {
			return nil, errs.New(errs.Invalid, "%q is not NAME=URL", text)
		}
		if _, twice := brokers[name]; twice {
			return nil, errs.New(errs.Invalid, "%s is there twice", name)
		}
		brokers[name] = launch.BrokerAt{URL: url}
	}
	return brokers, nil
}

// opening is an enclave being started, with all that it needs while it runs.
type opening struct {
	h       *enclaved
	options attest.Options
	device  attest.Device
	bundle  *pack.Bundle
	local   *launch.Local // nil: brokers elsewhere
	opened  *launch.Opened
	lock    *os.File // says that somebody answers for the name; let go last of all
}

// close gives everything back, in reverse.
func (o *opening) close() error {
	ctx := context.WithoutCancel(o.h.Context())
	var failed []error
	if o.opened != nil {
		failed = append(failed, o.opened.Close(ctx))
	}
	if o.local != nil {
		failed = append(failed, o.local.LetGo())
	}
	if o.bundle != nil {
		failed = append(failed, o.bundle.Close())
	}
	if o.device != nil {
		failed = append(failed, o.device.Close())
	}
	if o.lock != nil {
		failed = append(failed, o.lock.Close())
	}
	return errors.Join(failed...)
}

// useLocal has this machine's own broker hold the secrets of the bundle's owner.
func (o *opening) useLocal(files enclaveFiles, tpmRoots [][]byte) (launch.BrokerAt, error) {
	roots := attest.Roots{TPM: tpmRoots}
	if o.device.TEE() == enclave.Sim {
		root, err := attest.SimRoot(o.options)
		if err != nil {
			return launch.BrokerAt{}, err
		}
		roots.Sim = [][]byte{root}
	}
	verifier, err := attest.NewVerifier(roots)
	if err != nil {
		return launch.BrokerAt{}, err
	}
	o.local, err = launch.NewLocal(launch.LocalConfig{Dir: filepath.Join(o.h.root, "broker"),
		Device: o.device, Verifier: verifier, Log: o.h.log()})
	if err != nil {
		return launch.BrokerAt{}, err
	}
	if err := o.local.Hold(o.h.Context()); err != nil {
		return launch.BrokerAt{}, err
	}
	return o.local.At(), o.local.Entrust(o.h.Context(), o.bundle, files.layerKey)
}
