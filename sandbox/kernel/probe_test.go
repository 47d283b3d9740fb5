//go:build amd64

package kernel_test

import (
	"fmt"
	"os"
)

// probe is the program inside: each argument is an act, and each act prints one line.
func probe(acts []string) int {
	for _, act := range acts {
		fn, ok := probes[act]
		if !ok {
			fmt.Println("unknown act", act)
			return 2
		}
		fn()
	}
	return 0
}

var probes = map[string]func(){
	"hello": func() { fmt.Println("hello") },
	"passwd": func() {
		data, err := os.ReadFile("/etc/passwd")
		fmt.Printf("%q %v\n", data, err)
	},
}
