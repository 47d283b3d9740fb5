// Package scorer runs credit models for the desk that decides: in the process that asks, or in one
// of its own that holds nothing but the models.
//
// A Scorer takes an Ask (two models and one applicant's features, as integers) and gives an Answer
// (what both models say, as integers). Local computes it where it is asked. Remote hands it to a
// child process over a pair of pipes and starts that process anew whenever it ends. The child is
// this program under another name (IsScorer, Main); it is meant to run where it can reach nothing:
// no file, no network, no other process.
//
// Scoring has no effects, so an Ask that a dying child took with it is put to the next one. What
// the desk sees is an answer or an error, never half of one.
//
// # Invariants
//
//   - Both ways give the same Answer bit for bit: models are integers, and the child gets them from
//     its parent, or finds them where it runs, and returns their digests.
//   - An Ask is answered by the models it names or not at all.
//   - An answer that is none (wrong number, sums that do not add up, points that are not those of
//     the score) ends the child that gave it, and is given to nobody.
//   - Remote holds at most askMax asks, and each ends within askDeadline.
//
// # Boundaries
//
// What the models mean stands in lending/score, what follows from a score in lending. How the child
// is kept apart from the machine is its Launcher's business.
//
// # Concurrency
//
// Remote has one goroutine that keeps the child (Run), which owns a writer and a reader for each
// child. Remote.mu guards what they share with those who ask; it is never held while a pipe is read
// or written.
package scorer
