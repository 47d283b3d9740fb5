package state

import (
	"context"
	"net"

	"surety/base/errs"
	"surety/enclave/client"
	"surety/sys/inode"
)

// Guest opens a state that another process keeps (Serve). It is what the file server of a sandbox
// has: a volume.Provider of sandbox/volume, by its shape.
type Guest struct{}

// Sort is the name of such volumes.
func (Guest) Sort() string { return "state" }

// Open asks the keeper for keys and anchor, and opens the state in dir. The keeper is told how it
// went. The connection is the volume's from then on; after an error it is closed.
func (Guest) Open(keeper net.Conn, dir string) (inode.FS, error) {
	v, err := openKept(&remote{conn: keeper}, Config{Dir: dir})
	if err != nil {
		_ = keeper.Close() // the keeper has the reason
		return nil, err
	}
	return v, nil
}

func openKept(r *remote, c Config) (*kept, error) {
	a, err := r.ask(&request{Ask: askOpen})
	if err != nil {
		return nil, err
	}
	if err := a.err(); err != nil {
		return nil, err
	}
	if err := r.take(a.Grant, &c); err != nil {
		return nil, err
	}
	v, err := Open(context.Background(), c)
	clear(c.Keys)
	if err != nil {
		_, _ = r.ask(&request{Ask: askOpened, Kind: errs.KindOf(err), Text: reasonOf(err)})
		return nil, err
	}
	if _, err := r.ask(&request{Ask: askOpened, Epoch: v.Epoch()}); err != nil {
		_ = v.Close(context.Background())
		return nil, err
	}
	return &kept{Volume: v, keeper: r}, nil
}

// take fills a configuration from a grant.
func (r *remote) take(g *grant, c *Config) error {
	if g == nil {
		return errs.New(errs.Invalid, "state.guest: the keeper granted nothing")
	}
	for _, k := range g.Keys {
		if len(k.Key) != len(client.StateKey{}.Key) {
			return errs.New(errs.Invalid, "state.guest: a key of %d bytes", len(k.Key))
		}
		c.Keys = append(c.Keys, client.StateKey{SVN: k.SVN, Key: [32]byte(k.Key)})
		clear(k.Key)
	}
	c.Bytes = g.Bytes
	if g.Anchored {
		r.last = mark{g.Epoch, g.Root}
		c.Anchor = r
	}
	return nil
}

// kept is a volume whose keeper is told of its end.
type kept struct {
	*Volume
	keeper *remote
}

// Close commits what is not yet, closes, and lets the keeper go.
func (k *kept) Close(ctx context.Context) error {
	err := k.Volume.Close(ctx)
	_, _ = k.keeper.ask(&request{Ask: askClosed, Epoch: k.Volume.Epoch()})
	if bad := k.keeper.conn.Close(); err == nil {
		err = bad
	}
	return err
}
