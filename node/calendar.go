package node

import (
	"context"
	"log/slog"
	"sync/atomic"

	"surety/base/clock"
	"surety/base/errs"
	"surety/lending/store"
	"surety/sys/wallclock"
)

// settingBusinessDate is where the records keep the business date.
const settingBusinessDate = "business_date"

// calendar is the business date and what moves it. With a time-lapse a business day is shorter than
// a day of the machine's clock; without one it is the UTC date. It never goes back and never skips
// a date: the work of each is done before the next begins, so a node that was off for a week, or
// that cannot keep up with the lapse, does the days one by one.
type calendar struct {
	records *store.Store
	clock   wallclock.Clock
	log     *slog.Logger
	// day is the length of a business day; zero follows the UTC date.
	day    clock.Duration
	today  atomic.Int64
	dayEnd func(ctx context.Context, on clock.Date) (int, error)
}

// pollUTC is how often the calendar looks whether the UTC date has changed.
const pollUTC = 10 * clock.Second

// openCalendar takes up the date that the records have reached.
func openCalendar(ctx context.Context, records *store.Store, wall wallclock.Clock, log *slog.Logger,
	daysPerMinute int64) (*calendar, error) {
	c := &calendar{records: records, clock: wall, log: log}
	if daysPerMinute > 0 {
		c.day = clock.Minute / clock.Duration(daysPerMinute)
	}
	text, err := records.Setting(ctx, settingBusinessDate)
	if err != nil {
		return nil, err
	}
	date := wall.Now().Date()
	if text != "" {
		if date, err = clock.ParseDate(text); err != nil {
			return nil, errs.As(errs.Corrupt, err, "node.calendar")
		}
	}
	c.today.Store(int64(date))
	return c, nil
}

// Today returns the business date.
func (c *calendar) Today() clock.Date { return clock.Date(c.today.Load()) }

// run moves the date until ctx ends. The first day's work is done at once: a crash may have cut it
// short.
func (c *calendar) run(ctx context.Context) {
	c.work(ctx, c.Today())
	for {
		timer := c.clock.NewTimer(c.pause())
		select {
		case <-timer.C():
		case <-ctx.Done():
			timer.Stop()
			return
		}
		for c.day == 0 && c.Today() < c.clock.Now().Date() && ctx.Err() == nil {
			c.advance(ctx)
		}
		if c.day > 0 {
			c.advance(ctx)
		}
	}
}

func (c *calendar) pause() clock.Duration {
	if c.day > 0 {
		return c.day
	}
	return pollUTC
}

// advance begins the next date and does its work.
func (c *calendar) advance(ctx context.Context) {
	next := c.Today() + 1
	if err := c.records.Commit(ctx, store.PutSetting(settingBusinessDate,
		next.String())); err != nil {
		if ctx.Err() == nil {
			c.log.Error("the business date cannot move on", "date", next.String(), "error", err)
		}
		return
	}
	c.today.Store(int64(next))
	c.work(ctx, next)
}

func (c *calendar) work(ctx context.Context, on clock.Date) {
	if _, err := c.dayEnd(ctx, on); err != nil && ctx.Err() == nil {
		c.log.Error("the work of a business date is not done", "date", on.String(), "error", err)
	}
}
