package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"surety/base/clock"
	"surety/base/errs"
	"surety/sys/access"
	"surety/sys/entropy"
	"surety/sys/vfs"
	"surety/sys/wallclock"
)

// accessCommand is the group that gives and takes tokens.
func accessCommand(env *Env) *cobra.Command {
	token := part(&cobra.Command{
		Use:   "token",
		Short: "Make, list and revoke bearer tokens",
		Long: `A token is 256 random bits with a name and roles. It is shown once, when it is made; the data
directory keeps its SHA-256. Two tokens of one name are one person.

Roles: viewer reads; operator takes applications, posts transfers and repayments; risk stops money,
releases it and erases personal data; admin does everything.

These commands edit the data directory, so they need no token and a user who may write there. A
running node sees the change within a second.`,
		Example: `  surety access token create --name ann --role risk
  surety access token list
  surety access token revoke ann`,
	}, tokenCreate(env), tokenList(env), tokenRevoke(env))
	return part(&cobra.Command{
		Use:     "access",
		Short:   "Say who may call, and what for",
		Long:    `Bearer tokens let people and programs in; each has a name and roles.`,
		Example: `  surety access token create --name ann --role risk`,
	}, token)
}

// openTokens opens the token store of a data directory, which must exist.
func openTokens(dataDir string) (*access.Store, error) {
	if _, err := os.Stat(dataDir); err != nil {
		return nil, fileError(err, "data directory")
	}
	store, err := access.OpenStore(vfs.OS{}, filepath.Join(dataDir, "access"), wallclock.System(),
		entropy.System())
	return store, errs.Wrap(err, "data directory %s", dataDir)
}

func tokenCreate(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "create",
		Short: "Make a token and show it, once",
		Long: `The token goes to standard output alone, so that it can be kept in a variable; what it is goes to
standard error. With -o json both are one object {id, principal, roles, expires, token}.`,
		Example: `  surety access token create --name ann --role risk
  surety access token create --name reports --role viewer --lifetime 720h`,
		Args: noArgs,
	}
	var dataDir, name string
	var roles []string
	var lifetime time.Duration
	dataDirFlag(env, c.Flags(), &dataDir)
	c.Flags().StringVar(&name, "name", "", "whose token it is: a person or a program")
	c.Flags().StringSliceVar(&roles, "role", nil, "viewer, operator, risk or admin; may be repeated")
	c.Flags().DurationVar(&lifetime, "lifetime", 0, "how long it is good for, as 720h (0: for ever)")
	must(c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(
		[]string{"viewer", "operator", "risk", "admin"}, cobra.ShellCompDirectiveNoFileComp)))
	return verb(env, c, func(_ context.Context, env *Env, _ []string) error {
		if lifetime < 0 {
			return usage(c, "--lifetime %s is in the past", lifetime)
		}
		grant := access.Grant{Principal: name}
		for _, role := range roles {
			grant.Roles = append(grant.Roles, access.Role(role))
		}
		if lifetime > 0 {
			grant.Expires = wallclock.System().Now().Add(clock.Duration(lifetime))
		}
		return createToken(env, dataDir, grant)
	})
}

// tokenView is a token as -o json shows it.
type tokenView struct {
	ID        string        `json:"id"`
	Principal string        `json:"principal"`
	Roles     []access.Role `json:"roles"`
	Created   string        `json:"created"`
	Expires   string        `json:"expires,omitempty"`
	Revoked   string        `json:"revoked,omitempty"`
	Secret    string        `json:"token,omitempty"` // only when it is made
}

func viewToken(t access.Token) tokenView {
	return tokenView{
		ID: t.ID.String(), Principal: t.Principal, Roles: t.Roles, Created: instant(t.Created),
		Expires: instant(t.Expires), Revoked: instant(t.Revoked),
	}
}

func createToken(env *Env, dataDir string, grant access.Grant) error {
	store, err := openTokens(dataDir)
	if err != nil {
		return err
	}
	token, secret, err := store.Issue(grant)
	if err != nil {
		return err
	}
	view := viewToken(token)
	view.Secret = secret.Reveal()
	return env.show(view, func(w io.Writer) error {
		env.note("token %s of %s, role %s; it is not shown again:", view.ID, view.Principal,
			joinRoles(view.Roles))
		_, err := io.WriteString(w, view.Secret+"\n")
		return err
	})
}

func tokenList(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List tokens, live and ended, the oldest first",
		Long: `Shows what is known of each token: all but the token itself. With -o json it is a list of
{id, principal, roles, created, expires, revoked}.`,
		Example: `  surety access token list`,
		Args:    noArgs,
	}
	var dataDir string
	dataDirFlag(env, c.Flags(), &dataDir)
	return verb(env, c, func(_ context.Context, env *Env, _ []string) error {
		store, err := openTokens(dataDir)
		if err != nil {
			return err
		}
		tokens, err := store.List()
		if err != nil {
			return err
		}
		views := make([]tokenView, len(tokens))
		for i, t := range tokens {
			views[i] = viewToken(t)
		}
		now := wallclock.System().Now()
		return env.show(views, func(w io.Writer) error {
			g := newGrid(left("id"), left("principal"), left("roles"), left("created"), left("state"))
			for i, v := range views {
				g.row(v.ID, v.Principal, joinRoles(v.Roles), v.Created, tokenState(tokens[i], now))
			}
			return g.write(w)
		})
	})
}

func tokenRevoke(env *Env) *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke ID|NAME",
		Short: "End a token, or every token of a name",
		Long: `A running node refuses the token within a second. A token cannot be brought back. With -o json
the answer lists the tokens that ended.`,
		Example: `  surety access token revoke ann
  surety access token revoke 0196f0c2a5f07c0b9d6d1b8f2f0c9a11`,
		Args: exactArgs("ID|NAME"),
	}
	var dataDir string
	dataDirFlag(env, c.Flags(), &dataDir)
	return verb(env, c, func(_ context.Context, env *Env, args []string) error {
		store, err := openTokens(dataDir)
		if err != nil {
			return err
		}
		ended, err := store.Revoke(args[0])
		if err != nil {
			return err
		}
		views := make([]tokenView, len(ended))
		for i, t := range ended {
			views[i] = viewToken(t)
		}
		return env.show(views, func(w io.Writer) error {
			for _, v := range views {
				if _, err := io.WriteString(w, "revoked "+v.ID+" of "+v.Principal+"\n"); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// tokenState says in words whether a token is good.
func tokenState(t access.Token, now clock.Instant) string {
	switch {
	case t.Revoked != 0:
		return "revoked " + instant(t.Revoked)
	case !t.Live(now):
		return "expired " + instant(t.Expires)
	case t.Expires != 0:
		return "good until " + instant(t.Expires)
	}
	return "good"
}

func joinRoles(roles []access.Role) string {
	texts := make([]string, len(roles))
	for i, role := range roles {
		texts[i] = string(role)
	}
	return strings.Join(texts, ",")
}

// instant shows an instant in UTC to the second, empty where it is absent.
func instant(t clock.Instant) string {
	if t == 0 {
		return ""
	}
	return time.Unix(0, int64(t)).UTC().Format(time.RFC3339)
}
