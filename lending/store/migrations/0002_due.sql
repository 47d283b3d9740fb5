-- +goose Up
-- A loan that was written off may have a last act to come: the rest of its deferred fee.
CREATE INDEX loans_due ON loans (next_action, id) WHERE status IN ('active', 'written_off');
DROP INDEX loans_action;
-- Loans put off for good before that was known, and before a close that a crash had cut off was
-- taken up, are looked at once more.
UPDATE loans SET next_action = 0 WHERE status IN ('active', 'written_off') AND next_action > 1000000;
