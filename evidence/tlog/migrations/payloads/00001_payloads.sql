-- +goose Up

-- The payloads, as stored: ciphertext where the record says sealed. A payload is written before
-- its record, under the index the record will have; rows past the end of the log are what a crash
-- left, and are settled when the log is opened. Rising keys make this an append-only file.
CREATE TABLE payloads (
    leaf INTEGER PRIMARY KEY, -- index of the record in the log
    body BLOB NOT NULL
);
