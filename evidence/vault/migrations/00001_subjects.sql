-- +goose Up

-- The check value of the master key that wraps every data key below.
CREATE TABLE master (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    checked BLOB NOT NULL
);

-- One row for each subject ever sealed or erased. Exactly one of wrapped and erased is null:
-- erasing a subject destroys its wrapped data key and leaves the instant and the reason.
CREATE TABLE subjects (
    subject BLOB PRIMARY KEY CHECK (length(subject) = 16),
    wrapped BLOB,
    created INTEGER NOT NULL, -- nanoseconds since 1970
    erased  INTEGER,          -- nanoseconds since 1970
    reason  TEXT,
    CHECK ((wrapped IS NULL) <> (erased IS NULL))
) WITHOUT ROWID;
