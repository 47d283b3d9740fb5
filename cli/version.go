package cli

import (
	"context"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// Version is the version of the program; CHANGELOG.md says what is in it.
const Version = "0.1.0-dev"

// versionView is what `surety version -o json` gives.
type versionView struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, where the build knew it
	Modified bool   `json:"modified,omitempty"` // whether the source differed from the revision
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand(env *Env) *cobra.Command {
	return verb(env, &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Long:  `Shows the version, the source revision it was built from where that is known, and the Go release.`,
		Example: `  surety version
  surety version -o json`,
		Args: noArgs,
	}, showVersion)
}

func showVersion(_ context.Context, env *Env, _ []string) error {
	view := versionView{
		Version: Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				view.Revision = s.Value
			case "vcs.modified":
				view.Modified = s.Value == "true"
			}
		}
	}
	return env.show(view, func(w io.Writer) error {
		text := "surety " + view.Version
		if view.Revision != "" {
			text += " (" + view.Revision[:min(12, len(view.Revision))] + ")"
		}
		_, err := io.WriteString(w, text+" "+view.Go+" "+view.Platform+"\n")
		return err
	})
}
