package scorer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"

	"surety/base/errs"
	"surety/lending/score"
)

// Name is the name under which the program is a scorer.
const Name = "surety-scorer"

// IsScorer reports whether the program was started as a scorer.
func IsScorer(argv []string) bool { return len(argv) > 0 && path.Base(argv[0]) == Name }

// Main serves asks from standard input until it ends, and returns the exit status. A second
// argument is the directory that holds the models.
func Main(argv []string) int {
	runtime.GOMAXPROCS(1) // one ask after another: more would only wait for each other
	if err := serveIn(argv[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "surety-scorer:", err)
		return 1
	}
	return 0
}

func serveIn(arguments []string) error {
	if len(arguments) == 0 {
		return Serve(os.Stdin, os.Stdout, nil)
	}
	held, err := os.OpenRoot(arguments[0])
	if err != nil {
		return errs.As(errs.Unavailable, err, "scorer.models")
	}
	return errors.Join(Serve(os.Stdin, os.Stdout, held.FS()), held.Close())
}

// Serve answers what it reads from in, in order, until in ends. What has arrived at once is
// answered with one write. A frame that is none is an error, and so is an ask that cannot be
// answered: the parent knows the models and never makes one.
//
// Where held is not nil, its files are the models: they are loaded first, in the order of their
// names, and the parent is told which they are.
func Serve(in io.Reader, out io.Writer, held fs.FS) error {
	c := &child{in: newFrames(in), out: out, models: make(map[[32]byte]*score.Model)}
	if held != nil {
		if err := c.loadAll(held); err != nil {
			return err
		}
	}
	for {
		if err := c.round(); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// child is the state of one scorer process.
type child struct {
	in      *frames
	out     io.Writer
	models  map[[32]byte]*score.Model
	answers []byte // of this round

	ask          asked
	card, forest score.Result
}

// round waits for frames, answers all that have arrived, and writes the answers.
func (c *child) round() error {
	kind, body, err := c.in.next()
	c.answers = c.answers[:0]
	for found := true; found; kind, body, found, err = c.in.buffered() {
		if err != nil {
			return err
		}
		if err := c.take(kind, body); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	_, err = c.out.Write(c.answers)
	return errs.As(errs.Unavailable, err, "scorer.serve")
}

// take answers one frame.
func (c *child) take(kind byte, body []byte) error {
	switch kind {
	case frameModel:
		return c.load(body)
	case frameAsk:
		if err := decodeAsk(body, &c.ask); err != nil {
			return err
		}
		return c.answer()
	}
	return malformed("a frame of kind %d", kind)
}

// loadAll loads every file of a directory and tells the parent.
func (c *child) loadAll(held fs.FS) error {
	entries, err := fs.ReadDir(held, ".")
	if err != nil {
		return errs.As(errs.Unavailable, err, "scorer.models")
	}
	for _, entry := range entries {
		file, err := fs.ReadFile(held, entry.Name())
		if err != nil {
			return errs.As(errs.Unavailable, err, "scorer.models")
		}
		if err := c.load(file); err != nil {
			return errs.Wrap(err, "model %s", entry.Name())
		}
	}
	_, err = c.out.Write(c.answers)
	return errs.As(errs.Unavailable, err, "scorer.models")
}

func (c *child) load(file []byte) error {
	if len(c.models) == modelsMax {
		return malformed("more than %d models", modelsMax)
	}
	m, err := score.Load(file)
	if err != nil {
		return err
	}
	c.models[m.Digest()] = m
	c.answers = appendLoaded(c.answers, m.Digest())
	return nil
}

// answer appends the answer to the ask that was read.
func (c *child) answer() error {
	card, forest := c.models[c.ask.card], c.models[c.ask.forest]
	if card == nil || forest == nil {
		return malformed("an ask for a model that was not given")
	}
	if err := card.Score(c.ask.values, &c.card); err != nil {
		return err
	}
	if err := forest.Score(c.ask.values, &c.forest); err != nil {
		return err
	}
	c.answers = appendAnswer(c.answers, c.ask.number, &c.card, &c.forest,
		[2]*score.Model{card, forest})
	return nil
}
