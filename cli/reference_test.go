package cli

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"surety/node"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the documents of docs/reference made from code")

// TestReferenceIsCurrent compares the documents that are made from the table of commands and the
// table of settings with what the tables say.
func TestReferenceIsCurrent(t *testing.T) {
	for name, text := range map[string]string{
		"commands.md":      commandReference(),
		"configuration.md": settingReference(t),
	} {
		path := filepath.Join("..", "docs", "reference", name)
		if *rewrite {
			write(t, path, text)
			if err := os.Chmod(path, 0o644); err != nil {
				t.Error(err)
			}
			continue
		}
		stored, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if string(stored) != text {
			t.Errorf("docs/reference/%s is not what the code says: run `make generate`", name)
		}
	}
}

const madeFromCode = "<!-- Made from the code by `make generate`; a test compares it. -->\n\n"

// commandReference writes one section for each command that does something.
func commandReference() string {
	var out strings.Builder
	out.WriteString(madeFromCode + "# Commands\n\n" +
		"Exit status: 0 done, 1 operating error, 2 what can never succeed as it was typed. Data goes to\n" +
		"standard output, everything else to standard error. Every command takes `-o json`.\n")
	env := &Env{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		LookupEnv: func(string) (string, bool) { return "", false }}
	writeCommands(&out, newRoot(env))
	return out.String()
}

func writeCommands(out *strings.Builder, c *cobra.Command) {
	for _, child := range c.Commands() {
		if child.Hidden {
			continue
		}
		fmt.Fprintf(out, "\n## %s\n\n%s.\n\n%s\n", strings.TrimPrefix(child.CommandPath(), "surety "),
			child.Short, child.Long)
		fmt.Fprintf(out, "\n```sh\n%s\n```\n", dedent(child.Example))
		writeFlags(out, child)
		writeCommands(out, child)
	}
}

func writeFlags(out *strings.Builder, c *cobra.Command) {
	if !c.HasAvailableLocalFlags() {
		return
	}
	out.WriteString("\n| flag | default | meaning |\n| --- | --- | --- |\n")
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || c.InheritedFlags().Lookup(f.Name) != nil {
			return
		}
		fallback := f.DefValue
		if fallback == "[]" {
			fallback = ""
		}
		if fallback != "" {
			fallback = "`" + fallback + "`"
		}
		fmt.Fprintf(out, "| `--%s` | %s | %s |\n", f.Name, fallback,
			strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
}

// dedent takes the two spaces off every line that help shows them on.
func dedent(example string) string {
	lines := strings.Split(example, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

// settingReference writes one row for each setting.
func settingReference(t *testing.T) string {
	t.Helper()
	defaults, err := node.Load(node.Inputs{})
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	out.WriteString(madeFromCode + "# Configuration\n\n" +
		"Everything has a default. A YAML file (`--config`, `SURETY_CONFIG`), then variables, then flags\n" +
		"override it. `section.key` is `key:` below `section:` in the file, `SURETY_SECTION_KEY` in the\n" +
		"environment, and `--set section.key=value` on the command line. A list is a YAML list, or texts\n" +
		"separated by commas. `surety config check FILE` finds every mistake in a file, and\n" +
		"`surety config show` says where each value came from.\n\n" +
		"| setting | default | takes | meaning |\n| --- | --- | --- | --- |\n")
	for _, s := range defaults.Settings() {
		value := s.Value
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", s.Path, value, s.Kind, s.About)
	}
	return out.String()
}
