-- +goose Up
CREATE TABLE breaches (
  id BLOB NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL UNIQUE,          -- order of detection, from 1
  rule INTEGER NOT NULL,
  class INTEGER NOT NULL,
  ledger INTEGER NOT NULL,
  at_risk VARCHAR(40) NOT NULL,           -- minor units
  event BLOB NOT NULL,
  event_kind VARCHAR(32) NOT NULL,
  event_body BLOB,                        -- the event as the outbox has it
  application BLOB NOT NULL,
  loan BLOB NOT NULL,
  customer BLOB NOT NULL,
  trace BLOB NOT NULL,
  product VARCHAR(64) NOT NULL,
  transfer BLOB NOT NULL,
  expected BLOB NOT NULL,                 -- JSON
  found BLOB NOT NULL,
  differing VARCHAR(512) NOT NULL,        -- names with commas
  first_seen BIGINT NOT NULL,             -- ns since 1970
  decidable_at BIGINT NOT NULL,
  detected_at BIGINT NOT NULL,
  resolved_at BIGINT NOT NULL,
  state VARCHAR(16) NOT NULL,
  note VARCHAR(1024) NOT NULL,
  decided_by BLOB NOT NULL
);
CREATE INDEX breaches_state ON breaches (state, number);
CREATE INDEX breaches_loan ON breaches (loan, number);
CREATE INDEX breaches_application ON breaches (application, number);
CREATE INDEX breaches_customer ON breaches (customer, number);
CREATE INDEX breaches_event ON breaches (event, number);
CREATE TABLE stops (
  freeze BLOB NOT NULL PRIMARY KEY,
  breach BLOB NOT NULL,
  number INTEGER NOT NULL,                -- among the breach's stops
  text VARCHAR(256) NOT NULL,
  record BLOB NOT NULL,                   -- the ledger's freeze record, 128 bytes
  outcome VARCHAR(16) NOT NULL,
  detail VARCHAR(256) NOT NULL,
  taken_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  requested_by BLOB NOT NULL,
  requested_at BIGINT NOT NULL,
  reason VARCHAR(1024) NOT NULL,
  approved_by BLOB NOT NULL,
  ended_at BIGINT NOT NULL
);
CREATE INDEX stops_breach ON stops (breach, number);
CREATE INDEX stops_outcome ON stops (outcome);
CREATE TABLE batches (
  seq BIGINT NOT NULL PRIMARY KEY,
  at BIGINT NOT NULL,
  body BLOB NOT NULL                      -- JSON
);
CREATE TABLE settings (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value VARCHAR(1024) NOT NULL
);
