-- +goose Up

-- How much of the log the tables below know. They hold nothing that the log does not say.
CREATE TABLE progress (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL -- records indexed: all with a smaller index
);
INSERT INTO progress (one, size) VALUES (1, 0);

-- The sources, and the sequence number up to which each has no gap.
CREATE TABLE sources (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last INTEGER NOT NULL
);

CREATE TABLE sequences (
    source INTEGER NOT NULL REFERENCES sources (id),
    seq    INTEGER NOT NULL,
    leaf   INTEGER NOT NULL, -- index of the record in the log
    PRIMARY KEY (source, seq)
) WITHOUT ROWID;

-- Which records name an id, as a subject or as their trace.
CREATE TABLE subjects (
    id   BLOB NOT NULL, -- 16 bytes
    leaf INTEGER NOT NULL,
    PRIMARY KEY (id, leaf)
) WITHOUT ROWID;
