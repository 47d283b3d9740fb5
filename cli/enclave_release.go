package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"surety/base/clock"
	"surety/base/errs"
	"surety/enclave"
	"surety/enclave/broker"
	"surety/enclave/client"
)

// enclaveReleaseCommand is the group that says which secrets are released, and to whom.
func enclaveReleaseCommand(env *Env) *cobra.Command {
	return part(&cobra.Command{
		Use:   "release",
		Short: "Keep secrets with a key broker, and say to whom they are released",
		Long: `Works on a broker of this machine by its directory (--dir; the default is the local
broker of --root), whether it runs or not, or on one elsewhere (--url), as the tenant whose token
SURETY_BROKER_TOKEN holds.

A secret is named TENANT/TYPE/TAG. It is released by the policy of the most exact pattern:
TYPE/TAG before TYPE/*, that before */TAG, that before */*. Without a policy it is released to
nobody.`,
		Example: `  surety enclave release policy from credit > policy.json
  surety enclave release policy set lending/key/model policy.json --dir bank
  surety enclave release put lending/key/model credit/keys/model.key --dir bank
  surety enclave release log lending --dir bank`,
	}, releasePut(env), releaseRemove(env), releaseList(env), releasePolicy(env), releaseApprove(env),
		releasePublish(env), releaseLog(env))
}

// brokerAt are the flags that say which broker an administrator means.
type brokerAt struct {
	root, dir, url string
	token          func() string
}

func (b *brokerAt) describe(env *Env, flags *pflag.FlagSet) {
	enclaveRootFlag(env, flags, &b.root)
	flags.StringVar(&b.dir, "dir", "", "directory of the broker (default: the local broker of --root)")
	flags.StringVar(&b.url, "url", "", "address of a broker elsewhere, whose tenant's token "+
		"SURETY_BROKER_TOKEN holds")
	b.token = func() string { return env.Getenv("SURETY_BROKER_TOKEN") }
}

// with calls do with the broker: over the network, by the socket of one that runs, or by opening its
// store.
func (b *brokerAt) with(ctx context.Context, do func(broker.Admin) error) error {
	if b.url != "" {
		return b.remote(do)
	}
	dir := b.dir
	if dir == "" {
		dir = filepath.Join(b.root, "broker")
	}
	if running := broker.Owner(ctx, dir); running != nil {
		return do(running)
	}
	opened, err := openBroker(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(do(opened), opened.Close())
}

// remote sends a token only where nobody else hears it.
func (b *brokerAt) remote(do func(broker.Admin) error) error {
	switch {
	case b.dir != "":
		return errs.New(errs.Invalid, "enclave release: --dir and --url name different brokers")
	case b.token() == "":
		return errs.New(errs.Unauthorized, "enclave release: SURETY_BROKER_TOKEN holds no token")
	case !strings.HasPrefix(b.url, "https://") && !onLoopback(b.url):
		return errs.New(errs.Invalid, "enclave release: --url %s: want https, or http on loopback: "+
			"the token would be seen", b.url)
	}
	return do(&broker.Remote{URL: b.url, Token: b.token(), HTTP: &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}})
}

func onLoopback(url string) bool {
	rest, found := strings.CutPrefix(url, "http://")
	host, _, _ := strings.Cut(rest, "/")
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(host)
	return found && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// splitResource takes TENANT/TYPE/TAG apart; in a pattern TYPE and TAG may be "*".
func splitResource(text string) (tenant, kind, tag string, err error) {
	parts := strings.Split(text, "/")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return "", "", "", errs.New(errs.Invalid, "enclave release: %q is not TENANT/TYPE/TAG", text)
	}
	return parts[0], parts[1], parts[2], nil
}

func releasePut(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "put TENANT/TYPE/TAG [FILE]",
		Short: "Give a broker a secret",
		Long: `The secret is what FILE holds, byte for byte, or standard input where there is no FILE
or it is "-". With --hex it is text of hexadecimal digits, as the keys of a project's layers are
kept. It is released to nobody until a policy says so.`,
		Example: `  surety enclave release put lending/key/model --hex credit/keys/model.key --dir bank
  openssl rand 32 | surety enclave release put lending/key/model --url https://bank:7443`,
		Args: rangeArgs(1, "TENANT/TYPE/TAG", "FILE"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	replace := c.Flags().Bool("replace", false, "put it in place of one that is there")
	digits := c.Flags().Bool("hex", false, "the file holds hexadecimal digits")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		tenant, kind, tag, err := splitResource(args[0])
		if err != nil {
			return err
		}
		secret, err := readSecret(env, args[1:], *digits)
		if err != nil {
			return err
		}
		defer clear(secret)
		return at.with(ctx, func(a broker.Admin) error {
			if err := a.PutSecret(ctx, tenant, kind, tag, secret, *replace); err != nil {
				return err
			}
			env.note("%s: %d bytes are kept", args[0], len(secret))
			return nil
		})
	})
}

func releaseRemove(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:     "remove TENANT/TYPE/TAG",
		Short:   "Have a broker forget a secret",
		Long:    `What was released of it is not called back. The records of its releases stay.`,
		Example: `  surety enclave release remove lending/key/model --dir bank`,
		Args:    exactArgs("TENANT/TYPE/TAG"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	return verb(env, c, func(ctx context.Context, _ *Env, args []string) error {
		tenant, kind, tag, err := splitResource(args[0])
		if err != nil {
			return err
		}
		return at.with(ctx, func(a broker.Admin) error { return a.RemoveSecret(ctx, tenant, kind, tag) })
	})
}

func releaseList(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "list TENANT",
		Short: "List a tenant's secrets by name, and its policies",
		Long: `Secrets are not shown. With -o json {secrets, policies}: secrets are of {resource,
stored_at}.`,
		Example: `  surety enclave release list lending --dir bank`,
		Args:    exactArgs("TENANT"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	type listed struct {
		Secrets  []broker.Stored           `json:"secrets"`
		Policies map[string]enclave.Policy `json:"policies"`
	}
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		return at.with(ctx, func(a broker.Admin) (err error) {
			var l listed
			if l.Secrets, err = a.Secrets(ctx, args[0]); err != nil {
				return err
			}
			if l.Policies, err = a.Policies(ctx, args[0]); err != nil {
				return err
			}
			return env.show(l, func(w io.Writer) error {
				g := newGrid(left("what"), left("name"), left("since"))
				for _, s := range l.Secrets {
					g.row("secret", s.Resource, instantText(s.StoredAt))
				}
				for _, pattern := range slices.Sorted(maps.Keys(l.Policies)) {
					g.row("policy", args[0]+"/"+pattern, "")
				}
				return g.write(w)
			})
		})
	})
}

// instantText shows an instant in UTC to the second.
func instantText(at clock.Instant) string {
	return time.Unix(0, int64(at)).UTC().Format(time.RFC3339)
}

func releaseLog(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "log TENANT",
		Short: "List what a broker did of late, and why it refused",
		Long: `The newest records of the tenant, the newest first. With -o json an array of records,
with every check that each decision made. The checks of one refusal, as a table: --of RECORD.`,
		Example: `  surety enclave release log lending --dir bank
  surety enclave release log lending --dir bank --of 01a2053b23c7f23ad4183afafff0d3ed`,
		Args: exactArgs("TENANT"),
	}
	var at brokerAt
	at.describe(env, c.Flags())
	limit := c.Flags().Int("limit", 50, "how many records, 1 to 1000")
	of := c.Flags().String("of", "", "id of the record whose checks are shown")
	return verb(env, c, func(ctx context.Context, env *Env, args []string) error {
		return at.with(ctx, func(a broker.Admin) error {
			list, err := a.Outcomes(ctx, args[0], *limit)
			if err != nil {
				return err
			}
			if *of != "" {
				return showChecks(env, list, *of)
			}
			return env.show(list, func(w io.Writer) error {
				g := newGrid(left("at"), left("record"), left("act"), left("resource"), left("rests on"),
					left("measurement"), left("reason"))
				for _, o := range list {
					g.row(instantText(o.At), o.ID, o.Act, o.Resource, o.Guarantee, o.Measure.Short(), o.Reason)
				}
				return g.write(w)
			})
		})
	})
}

func showChecks(env *Env, list []broker.Outcome, id string) error {
	at := slices.IndexFunc(list, func(o broker.Outcome) bool { return o.ID == id })
	if at < 0 {
		return errs.New(errs.NotFound, "enclave release: none of the newest %d records is %s: try "+
			"a larger --limit", len(list), id)
	}
	return env.show(list[at], func(w io.Writer) error {
		g := newGrid(left("check"), left("passed"), left("saw"), left("wants"))
		for _, check := range list[at].Checks {
			passed := "yes"
			if !check.Passed {
				passed = "NO"
			}
			g.row(check.Name, passed, check.Saw, check.Wants)
		}
		return g.write(w)
	})
}

// readSecret reads the file named, or standard input.
func readSecret(env *Env, args []string, digits bool) ([]byte, error) {
	var content []byte
	var err error
	if len(args) == 0 || args[0] == "-" {
		content, err = io.ReadAll(io.LimitReader(env.Stdin, 2*client.MaxSecret+2))
	} else {
		content, err = os.ReadFile(args[0])
	}
	if err != nil {
		return nil, fileError(err, "secret")
	}
	if !digits {
		return content, nil
	}
	defer clear(content)
	text := bytes.TrimSpace(content)
	secret := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(secret, text); err != nil {
		return nil, errs.New(errs.Invalid, "enclave release: the secret is not hexadecimal digits")
	}
	return secret, nil
}
