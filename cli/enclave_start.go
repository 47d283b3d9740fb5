package cli

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"surety/base/errs"
	"surety/enclave/pack"
	"surety/sandbox/runtime"
)

func enclaveStartCommand(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "start ENCLAVE [-- ARGUMENTS...]",
		Short: "Start an enclave and return when it runs",
		Long: `As run, but a process of its own keeps the enclave: it answers for it, renews the leases of its
sealed states, and serves attested TLS until the program ends. The program's output goes to a log
("surety enclave logs NAME"), the keeper's own to NAME.log below --root. The name is printed; with
-o json {instance, proof, timings} as of run.`,
		Example: `  surety enclave start credit
  surety enclave start --name scorer-1 --attested-tls 127.0.0.1:8443=80 credit`,
		Args: someArgs("ENCLAVE"),
	}
	var f enclaveFlags
	f.describe(c.Flags())
	return withEnclaves(env, c, f.start)
}

// startPatience is how long a start may take: a TPM's evidence takes seconds, and a model of gigabytes
// ten more to decrypt. A start that takes minutes has met a broker that does not answer.
const startPatience = 3 * time.Minute

// start has another process of this program run the enclave, and waits for its first word.
func (f *enclaveFlags) start(h *enclaved) error {
	if _, _, err := f.order(h); err != nil { // what was typed wrong is said here
		return err
	}
	name, err := f.nameOf(h)
	if err != nil {
		return err
	}
	if h.env.Program == "" {
		return errs.New(errs.Unavailable, "start needs this program as a file, to start it again")
	}
	keepers := filepath.Join(h.root, "keepers")
	if err := os.MkdirAll(keepers, 0o700); err != nil {
		return fileError(err, "keepers")
	}
	said, err := f.keep(h, filepath.Join(keepers, name+".log"))
	if err != nil {
		return err
	}
	return h.env.show(said, lineOf(said.Instance))
}

// nameOf is the name of what is to start: it must not run.
func (f *enclaveFlags) nameOf(h *enclaved) (string, error) {
	name := f.name
	if name == "" {
		files, err := locateEnclave(h.args[0])
		if err != nil {
			return "", err
		}
		b, err := pack.Open(files.bundle)
		if err != nil {
			return "", err
		}
		name = b.Signed().Manifest.Name
		if err := b.Close(); err != nil {
			return "", err
		}
	}
	s, err := h.host.Find(name)
	if errs.Is(err, errs.NotFound) {
		return name, nil
	}
	if err != nil {
		return "", err
	}
	st, err := s.State()
	if err == nil && st.Status != runtime.Stopped {
		err = errs.New(errs.Exists, "enclave %s is %s: stop it, or give another --name", name, st.Status)
	}
	return name, err
}

// keep starts the keeper and returns what it says of the start. A keeper that says no is gone.
func (f *enclaveFlags) keep(h *enclaved, logName string) (*started, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errs.Wrap(err, "start")
	}
	defer read.Close()
	defer write.Close()
	book, err := os.OpenFile(logName, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fileError(err, "keeper's log")
	}
	defer book.Close()
	cmd := exec.Command(h.env.Program)
	cmd.Args = append([]string{"surety"}, f.again(h)...)
	cmd.Stderr = book
	cmd.ExtraFiles = []*os.File{write}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil { // its standard input is empty, and its output nowhere
		return nil, errs.Wrap(err, "start the keeper")
	}
	_ = write.Close()
	return f.hear(h, cmd, read, logName)
}

// again is the command line of the keeper.
func (f *enclaveFlags) again(h *enclaved) []string {
	args := []string{"enclave", "run", "--kept=3", "--rm=false"}
	h.Flags().Visit(func(flag *pflag.Flag) {
		values := []string{flag.Value.String()}
		if list, ok := flag.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if flag.Name == "output" {
			return
		}
		for _, v := range values {
			args = append(args, "--"+flag.Name+"="+v)
		}
	})
	args = append(args, h.args[0])
	if len(h.args) > 1 {
		args = append(append(args, "--"), h.args[1:]...)
	}
	return args
}

// hear waits for the keeper's first word.
func (f *enclaveFlags) hear(h *enclaved, cmd *exec.Cmd, from *os.File, logName string) (*started,
	error) {
	ctx, cancel := context.WithTimeout(h.Context(), startPatience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(unix.SIGTERM) })
	defer stop()
	content, err := io.ReadAll(io.LimitReader(from, maxFirstWord))
	var said firstWord
	if err == nil && len(content) > 0 {
		err = json.Unmarshal(content, &said)
	}
	f.repeat(h, logName)
	switch {
	case err != nil || len(content) == 0 || said.Error != "":
		_ = cmd.Wait() // how it ended stands in its word or its log
	default:
		err = cmd.Process.Release()
	}
	if ctx.Err() != nil && said.Error == "" && len(content) == 0 {
		return nil, errs.As(errs.Canceled, ctx.Err(), "start: not up within %s", startPatience)
	}
	if said.Error != "" {
		return nil, errs.New(said.Kind, "%s", said.Error)
	}
	if len(content) == 0 {
		return nil, errs.New(errs.Internal, "start: the keeper ended without a word; its log is %s", logName)
	}
	return &said.Started, errs.Wrap(err, "start")
}

// repeat shows what the keeper noted: what the machine is, first of all.
func (f *enclaveFlags) repeat(h *enclaved, logName string) {
	content, err := os.ReadFile(logName)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, "surety: ") { // an error comes by its word
			h.env.note("%s", strings.TrimSuffix(line, "\n"))
		}
	}
}
