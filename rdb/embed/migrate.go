package embed

import (
	"context"
	"database/sql"
	"io/fs"

	"github.com/pressly/goose/v3"

	"surety/base/errs"
)

// migrate brings the schema to the newest of the migrations. A schema that is newer than all of
// them is refused: an older program would not know what it must keep true.
func migrate(ctx context.Context, pool *sql.DB, migrations fs.FS) error {
	if migrations == nil {
		return nil
	}
	provider, err := newProvider(pool, migrations)
	if err != nil {
		return err
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return errs.Wrap(classify(err), "migrate: read version")
	}
	if current > target {
		return errs.New(errs.Invalid, "migrate: schema is at version %d, this program knows up to %d",
			current, target)
	}
	if current == target {
		return nil
	}
	if _, err := provider.Up(ctx); err != nil {
		return errs.Wrap(classify(err), "migrate: from version %d to %d", current, target)
	}
	return nil
}

func newProvider(pool *sql.DB, migrations fs.FS) (*goose.Provider, error) {
	provider, err := goose.NewProvider(goose.DialectSQLite3, pool, migrations,
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	return provider, errs.As(errs.Invalid, err, "migrate: migrations")
}

// requireCurrent checks that the schema, which cannot be changed here, is the newest one.
func requireCurrent(ctx context.Context, pool *sql.DB, migrations fs.FS) error {
	if migrations == nil {
		return nil
	}
	provider, err := newProvider(pool, migrations)
	if err != nil {
		return err
	}
	target := int64(0)
	for _, source := range provider.ListSources() {
		target = max(target, source.Version)
	}
	var current int64
	const newest = "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied"
	if err := pool.QueryRowContext(ctx, newest).Scan(&current); err != nil {
		if errs.Is(err, errs.Internal) { // no such table: something else made this file
			return errs.As(errs.Invalid, err, "migrate: schema has no version")
		}
		return err
	}
	if current != target {
		return errs.New(errs.Invalid, "migrate: schema is at version %d, this program needs %d",
			current, target)
	}
	return nil
}
