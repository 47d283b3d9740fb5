//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"surety/enclave"
	"surety/enclave/client"
)

// counting is a design whose program counts in a sealed state how often it ran.
func (o *owner) counting(svn int) design {
	return design{name: "counting", command: []string{"count", "/state/count"}, layers: "[]",
		more: fmt.Sprintf("svn: %d\nargs: true\nbrokers: [{name: owner, key: %s}]\n"+
			"state: [{name: book, target: /state, bytes: 64m, broker: owner}]\n", svn, o.key)}
}

// book is where the machine keeps the state.
func (k *keep) book() string { return filepath.Join(k.root, "states", "counting", "counting", "book") }

// counts sees that a run says the next number.
func (k *keep) counts(when string, want int, words ...string) {
	k.t.Helper()
	if r := k.surety(words...); r.code != 0 || r.out != fmt.Sprintf("count %d\n", want) {
		k.t.Fatalf("%s: %+v, want count %d", when, r, want)
	}
}

// swap puts one directory in the place of another, and keeps the other as name.
func (k *keep) swap(dir, with, name string) string {
	k.t.Helper()
	kept := filepath.Join(k.dir, name)
	for _, err := range []error{os.Rename(dir, kept), os.CopyFS(dir, os.DirFS(with)), os.Chmod(dir, 0o700)} {
		if err != nil {
			k.t.Fatal(err)
		}
	}
	return kept
}

func (k *keep) copyOf(dir, name string) string {
	k.t.Helper()
	kept := filepath.Join(k.dir, name)
	if err := os.CopyFS(kept, os.DirFS(dir)); err != nil {
		k.t.Fatal(err)
	}
	return kept
}

// TestEnclaveStateAttacks brings back old copies of a state, spoils it, runs two at once, and opens it
// with builds that must not. What it counts never goes back and never skips.
func TestEnclaveStateAttacks(t *testing.T) {
	t.Parallel()
	k := newKeep(t)
	o := newOwner(t, k)
	project := k.project(o.counting(2))
	o.allows(o.policy(project))
	p := o.policy(project)
	p.Name = "counting/state/book"
	if err := o.SetPolicy(context.Background(), "counting", "state/book", p); err != nil {
		t.Fatal(err)
	}
	run := []string{"run", "--broker", "owner=" + o.address(), project}
	k.counts("first", 1, run...)
	k.counts("second", 2, run...)
	two := k.copyOf(k.book(), "two")
	k.counts("third", 3, run...)

	three := k.swap(k.book(), two, "three")
	k.refused([]string{"rolled back"}, run...)
	k.refused([]string{"rolled back"}, run...)
	k.mend(three)
	k.counts("after a rollback", 4, run...)

	four := k.copyOf(k.book(), "four")
	k.swap(k.book(), t.TempDir(), "gone")
	k.refused(nil, run...) // all of it gone is a rollback too
	k.mend(four)
	k.counts("after it was gone", 5, run...)

	for _, name := range filesOf(t, k.book()) {
		content := readBytes(t, name)
		if filepath.Base(name) == "lock" { // who has it open, for people
			continue
		}
		for what, spoiled := range map[string][]byte{"its last byte changed": flipped(content, 1),
			"its middle changed": flipped(content, 0.5), "its first byte changed": flipped(content, 0),
			"its end cut off": content[:len(content)/2]} {
			k.write(name, spoiled, 0o600)
			k.refused(nil, run...)
			if t.Failed() {
				t.Fatalf("%s with %s", filepath.Base(name), what)
			}
		}
		k.write(name, content, 0o600)
	}
	k.counts("mended", 6, run...)

	t.Run("two at once", func(t *testing.T) {
		other := newKeep(t)
		for _, dir := range []string{"states", "simulated"} {
			if err := os.CopyFS(filepath.Join(other.root, dir), os.DirFS(filepath.Join(k.root, dir))); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(other.root, "simulated"), 0o700); err != nil {
			t.Fatal(err)
		}
		holds, end := k.staying(run...)
		if holds != "count 7" {
			t.Errorf("the first said %q", holds)
		}
		other.refused(nil, run...)
		end()
		other.refused([]string{"rolled back"}, run...)
		k.counts("the first again", 8, run...)
	})
	t.Run("other builds", func(t *testing.T) {
		rebuild := func(svn int) {
			k.design(project, o.counting(svn))
			k.must("build", project)
		}
		rebuild(3)
		k.counts("a newer build", 9, run...)
		rebuild(2)
		k.refused(nil, run...)
		rebuild(3)
		k.counts("the newer build again", 10, run...)
	})
}

// mend puts a kept directory back.
func (k *keep) mend(kept string) {
	k.t.Helper()
	if err := os.RemoveAll(k.book()); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Rename(kept, k.book()); err != nil {
		k.t.Fatal(err)
	}
	if err := os.Chmod(k.book(), 0o700); err != nil {
		k.t.Fatal(err)
	}
}

// staying starts an enclave that stays until end is called, and returns its first line.
func (k *keep) staying(words ...string) (line string, end func()) {
	k.t.Helper()
	words = append([]string{"run", "-i"}, words[1:]...)
	c := k.command(context.Background(), append(words, "--", "stay")...)
	return k.attend(c)
}

// attend starts a command whose program ends with its input.
func (k *keep) attend(c *exec.Cmd) (line string, end func()) {
	k.t.Helper()
	in, err := c.StdinPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		k.t.Fatal(err)
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	if err := c.Start(); err != nil {
		k.t.Fatal(err)
	}
	first, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		in.Close()
		k.t.Fatalf("%v said %q and %v", c.Args, first, err)
	}
	return strings.TrimSpace(first), func() {
		in.Close()
		io.Copy(io.Discard, out)
		if err := c.Wait(); err != nil {
			k.t.Errorf("%v: %v", c.Args, err)
		}
	}
}

// TestEnclaveBrokerKilled kills the broker at each request of a start, and starts it again or not. A
// secret is never had without its record, nor more often than its budget.
func TestEnclaveBrokerKilled(t *testing.T) {
	t.Parallel()
	b := besiege(t, "")
	const budget = 9
	p := b.owner.policy(b.project)
	p.Uses = budget
	b.owner.allows(p)
	b.runs("before")
	had := 1
	for _, path := range []string{client.PathAuth, client.PathAttest, client.PathResource} {
		for _, again := range []bool{true, false} {
			for _, answered := range []bool{false, true} {
				done := false
				strike := at(path, func(body []byte) []byte {
					if !done {
						done = true
						b.owner.kill()
						if again {
							b.owner.start()
						}
					}
					return body
				})
				if answered { // the broker has answered, and the answer is on its way
					b.between.set(nil, strike)
				} else {
					b.between.set(strike, nil)
				}
				r := b.surety(b.words()...)
				switch {
				case !done:
					t.Errorf("%s was never asked for: %+v", path, r)
				case r.code == 0 && r.out == b.says:
					had++
				case r.out != "":
					t.Errorf("killed at %s, it says %q", path, r.out)
				case !again && !answered && r.code == 0:
					t.Errorf("killed at %s and not started again: %+v", path, r)
				}
				b.between.set(nil, nil)
				if !again {
					b.owner.start()
				}
			}
		}
	}
	list, err := b.owner.Outcomes(context.Background(), ownerTenant, 500)
	if err != nil {
		t.Fatal(err)
	}
	recorded := 0
	for _, o := range list {
		if o.Act == "released" {
			recorded++
		}
	}
	if had > recorded || recorded > budget {
		t.Errorf("the secret was had %d times, %d releases are recorded, the budget is %d", had, recorded,
			budget)
	}
	for range budget - recorded {
		b.runs("what is left of the budget")
	}
	b.refused([]string{enclave.UsesExhausted.String()}, b.words()...)
	t.Logf("had %d times, %d recorded, of %d", had, recorded, budget)
}
