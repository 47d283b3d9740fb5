-- +goose Up
CREATE TABLE customers (
  id BLOB NOT NULL PRIMARY KEY,           -- 16 bytes, derived with a secret key from the id number
  phone BLOB NOT NULL,                    -- 16 bytes, derived likewise
  created_at BIGINT NOT NULL              -- ns since 1970
);
CREATE TABLE applications (
  id BLOB NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL UNIQUE,          -- order of arrival, from 1
  trace BLOB NOT NULL,
  customer BLOB NOT NULL,
  phone BLOB NOT NULL,
  idempotency_key VARCHAR(64) NOT NULL UNIQUE,
  form_digest BLOB NOT NULL,              -- SHA-256 of key and form: another form is refused
  sealed_form BLOB NOT NULL,              -- readable until the subject is erased
  origin VARCHAR(16) NOT NULL,
  status VARCHAR(16) NOT NULL,
  received_at BIGINT NOT NULL,
  business_date INTEGER NOT NULL,
  product VARCHAR(64) NOT NULL,
  currency VARCHAR(3) NOT NULL,
  requested BIGINT NOT NULL,
  term INTEGER NOT NULL,
  inputs BLOB NOT NULL,                   -- all that the decision is computed from
  outcome VARCHAR(16) NOT NULL,           -- empty until decided
  decision BLOB,                          -- what was decided, in full
  decided_at BIGINT NOT NULL,
  micros BIGINT NOT NULL,
  loan BLOB,
  review_requested INTEGER NOT NULL,
  cancelled_reason VARCHAR(256) NOT NULL
);
CREATE INDEX applications_customer ON applications (customer, business_date);
CREATE INDEX applications_phone ON applications (phone, business_date);
CREATE INDEX applications_outcome ON applications (outcome, number);
CREATE INDEX applications_undecided ON applications (number) WHERE outcome = '';
CREATE TABLE loans (
  id BLOB NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL UNIQUE,
  application BLOB NOT NULL,
  customer BLOB NOT NULL,
  trace BLOB NOT NULL,
  product VARCHAR(64) NOT NULL,
  currency VARCHAR(3) NOT NULL,
  origin VARCHAR(16) NOT NULL,
  status VARCHAR(16) NOT NULL,
  contract BLOB NOT NULL,
  contract_digest BLOB NOT NULL,
  contract_event BLOB NOT NULL,
  state BLOB NOT NULL,
  next_action INTEGER NOT NULL,           -- business date on which day-end must look at it
  oldest_due INTEGER NOT NULL,            -- date of the oldest unpaid instalment that is due; 0 for none
  disbursed_at BIGINT NOT NULL,
  true_pd_ppm INTEGER NOT NULL            -- of a simulated borrower; -1 for a real one
);
CREATE INDEX loans_action ON loans (next_action) WHERE status = 'active';
CREATE INDEX loans_late ON loans (oldest_due) WHERE status = 'active' AND oldest_due > 0;
CREATE INDEX loans_status ON loans (status, number);
CREATE INDEX loans_customer ON loans (customer);
CREATE TABLE repayments (
  reference VARCHAR(64) NOT NULL PRIMARY KEY,
  loan BLOB NOT NULL,
  amount BIGINT NOT NULL,
  event BLOB NOT NULL,
  result BLOB NOT NULL
);
CREATE TABLE instructions (               -- money to move: written before, removed after
  event BLOB NOT NULL PRIMARY KEY,
  number BIGINT NOT NULL UNIQUE,
  kind VARCHAR(32) NOT NULL,
  application BLOB NOT NULL,
  loan BLOB NOT NULL,
  body BLOB NOT NULL,                     -- the accounts and transfers, 128 bytes each
  undo BLOB                               -- how to take the act back where the ledger refuses it
);
CREATE INDEX instructions_application ON instructions (application, number);
CREATE TABLE outbox (
  seq BIGINT NOT NULL PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  subject BLOB NOT NULL,                  -- loan, or application where there is no loan yet
  body BLOB NOT NULL
);
CREATE INDEX outbox_subject ON outbox (subject, seq);
CREATE TABLE artefacts (                  -- models, policies and products that decisions name
  digest BLOB NOT NULL PRIMARY KEY,
  kind VARCHAR(32) NOT NULL,
  body BLOB NOT NULL
);
CREATE TABLE settings (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value VARCHAR(1024) NOT NULL
);
