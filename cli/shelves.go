package cli

import "github.com/spf13/cobra"

// shelf is a heading of the program's help, and the commands below it in their order of name.
type shelf struct {
	title string
	names []string
}

// shelves say under which heading help shows a command.
var shelves = [...]shelf{
	{"Run:", []string{"up", "doctor", "bench"}},
	{"Work:", []string{"lend", "ledger", "guard", "evidence", "sandbox", "enclave", "trace"}},
	{"Manage:", []string{"access", "config"}},
	{"About:", []string{"help", "completion", "version"}},
}

// shelve puts every command of the root on its shelf.
func shelve(root *cobra.Command) {
	for _, s := range shelves {
		root.AddGroup(&cobra.Group{ID: s.title, Title: s.title})
		for _, name := range s.names {
			for _, c := range root.Commands() {
				if c.Name() == name {
					c.GroupID = s.title
				}
			}
		}
	}
}
