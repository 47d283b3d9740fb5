// Package house holds no code: its tests hold the tree in shape.
//
// They read the sources of the whole module in process and compare them with tables that stand in
// the tests: who may import whom, which package may use which third-party module, what the pure
// cores may not touch, and what a document may link to. A test that ran another program to learn
// this would be cached by `go test` and miss what changed; files that a test opens are not.
//
// A failure names the file, the rule, and where the rule stands. docs/HOUSE.md gives the reasons.
package house
