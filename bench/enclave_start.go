package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/entropy"
)

// How examples/tflite lays out its directory, and where the model is inside.
const (
	inferenceProgram = "program/infer"
	inferenceProject = "enclave"
	inferenceModel   = "/models/face_detection_short_range.tflite"
)

// inferencesEach is how many inferences one turn takes, inside and then outside: few enough that what
// else the machine does meets both alike.
const inferencesEach = 20

// command prepares a command of the program, whose enclaves live below the benchmark's directory.
func (b *enclaveBench) command(ctx context.Context, words ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, b.config.Program, words...)
	c.Env = append(os.Environ(), "SURETY_ENCLAVE_ROOT="+filepath.Join(b.config.Dir, "enclaves"))
	return c
}

// must runs commands that have to end well, one after the other.
func (b *enclaveBench) must(ctx context.Context, commands ...[]string) error {
	for _, words := range commands {
		var said bytes.Buffer
		c := b.command(ctx, words...)
		c.Stdout, c.Stderr = &said, &said
		if err := c.Run(); err != nil {
			return errs.As(errs.Refused, err, "surety %s: %s", strings.Join(words, " "), &said)
		}
	}
	return nil
}

// start times `surety enclave run` of a built image, from the command to the program's first output:
// the process, the measurement of both layers, evidence, the release of a key by the local broker, the
// decryption, the boot of the kernel inside, the program.
func (b *enclaveBench) start(ctx context.Context) error {
	project := filepath.Join(b.config.Dir, "hello")
	hello := filepath.Join(b.config.Dir, "hello-program")
	if err := os.WriteFile(hello, smallest("hello\n", sayAndExit), 0o755); err != nil {
		return errs.As(errs.NoSpace, err, "hello")
	}
	if err := b.must(ctx, []string{"enclave", "new", project, "--command", "/bin/hello"},
		[]string{"enclave", "add", project, hello, "--to", "/bin/hello"}); err != nil {
		return err
	}
	if err := b.seal(ctx, project); err != nil {
		return err
	}
	var took []float64
	for range b.config.Rounds {
		began := b.clock.Now()
		c := b.command(ctx, "enclave", "run", project)
		var complaints bytes.Buffer
		c.Stderr = &complaints
		out, err := c.StdoutPipe()
		if err != nil {
			return errs.As(errs.Unavailable, err, "pipe")
		}
		if err := c.Start(); err != nil {
			return errs.As(errs.Unavailable, err, "run")
		}
		first := make([]byte, 1)
		_, err = io.ReadFull(out, first)
		took = append(took, millis(b.clock.Now().Sub(began)))
		_, drained := io.Copy(io.Discard, out)
		if err := errors.Join(err, drained, c.Wait()); err != nil {
			return errs.As(errs.Refused, err, "run: %s", &complaints)
		}
	}
	b.add("enclave start to first output", "smallest program, secret layer of 1 MiB", "ms", took)
	return nil
}

// seal gives a project a secret layer, and builds it.
func (b *enclaveBench) seal(ctx context.Context, project string) error {
	secret := filepath.Join(project, "secrets", "word")
	content := make([]byte, oneMiB)
	entropy.System().Fill(content)
	if err := errors.Join(os.MkdirAll(secret, 0o700),
		os.WriteFile(filepath.Join(secret, "word"), content, 0o600)); err != nil {
		return errs.As(errs.NoSpace, err, "secret")
	}
	return b.must(ctx, []string{"enclave", "build", project})
}

// oneMiB is the size of the secret in an enclave that is started for its time.
const oneMiB = 1 << 20

// inference runs TensorFlow Lite inside and outside in turns, on the same model.
func (b *enclaveBench) inference(ctx context.Context) error {
	if b.config.Inference == "" {
		b.report.Notes = append(b.report.Notes,
			"inference: left out; run examples/tflite/run and name its directory")
		return nil
	}
	dir := b.config.Inference
	model, err := filepath.Glob(filepath.Join(dir, "packages/@mediapipe/*", filepath.Base(inferenceModel)))
	if err != nil || len(model) != 1 {
		return errs.New(errs.NotFound, "no %s below %s: run examples/tflite/run %s",
			filepath.Base(inferenceModel), dir, dir)
	}
	outside, err := startInference(exec.CommandContext(ctx, filepath.Join(dir, inferenceProgram), "--serve",
		model[0]))
	if err != nil {
		return err
	}
	defer outside.stop()
	inside, err := startInference(b.command(ctx, "enclave", "run", "-i",
		filepath.Join(dir, inferenceProject), "--", "--serve", inferenceModel))
	if err != nil {
		return err
	}
	defer inside.stop()
	var in, out, ratio []float64
	for range b.config.Rounds + 1 {
		o, err := outside.median()
		if err != nil {
			return errs.Wrap(err, "outside")
		}
		i, err := inside.median()
		if err != nil {
			return errs.Wrap(err, "inside")
		}
		out, in, ratio = append(out, millis(o)), append(in, millis(i)),
			append(ratio, float64(i)/float64(o))
	}
	// The first turn fills caches.
	b.add("inference, face detection", "outside", "ms", out[1:])
	b.add("inference, face detection", "inside", "ms", in[1:])
	b.add("inference, face detection", "inside to outside, of one turn", "times", ratio[1:])
	return errors.Join(outside.stop(), inside.stop())
}

// inferring is a program that runs a model as often as it is told.
type inferring struct {
	command    *exec.Cmd
	asks       io.WriteCloser
	answers    *bufio.Reader
	complaints bytes.Buffer
	stopped    bool
}

func startInference(c *exec.Cmd) (*inferring, error) {
	p := &inferring{command: c}
	c.Stderr = &p.complaints
	asks, err := c.StdinPipe()
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "pipe")
	}
	answers, err := c.StdoutPipe()
	if err != nil {
		return nil, errs.As(errs.Unavailable, err, "pipe")
	}
	p.asks, p.answers = asks, bufio.NewReader(answers)
	return p, errs.As(errs.Unavailable, c.Start(), "start")
}

// median runs the model a few times and returns the median time of one.
func (p *inferring) median() (clock.Duration, error) {
	if _, err := fmt.Fprintln(p.asks, inferencesEach); err != nil {
		return 0, errs.As(errs.Unavailable, err, "ask")
	}
	line, err := p.answers.ReadString('\n')
	if err != nil {
		return 0, errs.As(errs.Refused, err, "answer: %s", &p.complaints)
	}
	took, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return clock.Duration(took), errs.As(errs.Corrupt, err, "answer")
}

// stop ends the program by ending its input, once.
func (p *inferring) stop() error {
	if p.stopped {
		return nil
	}
	p.stopped = true
	return errors.Join(p.asks.Close(), errs.As(errs.Unavailable, p.command.Wait(), "inference"))
}
