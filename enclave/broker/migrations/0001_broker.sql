-- +goose Up
CREATE TABLE settings (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  value BLOB NOT NULL
);
CREATE TABLE tenants (
  name VARCHAR(64) NOT NULL PRIMARY KEY,
  token BLOB UNIQUE,                      -- SHA-256 of the administrator's token; null: none
  created_at BIGINT NOT NULL              -- ns since 1970, as every time here
);
CREATE TABLE secrets (
  tenant VARCHAR(64) NOT NULL,
  kind VARCHAR(64) NOT NULL,
  tag VARCHAR(64) NOT NULL,
  sealed BLOB NOT NULL,                   -- AES-256-GCM under the master key, bound to the name
  stored_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, kind, tag)
);
CREATE TABLE policies (
  tenant VARCHAR(64) NOT NULL,
  pattern VARCHAR(129) NOT NULL,          -- KIND/TAG, each a name or *
  body BLOB NOT NULL,                     -- JSON
  stored_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, pattern)
);
CREATE TABLE approvals (
  tenant VARCHAR(64) NOT NULL,
  pattern VARCHAR(129) NOT NULL,
  measure BLOB NOT NULL,
  owner BLOB NOT NULL,                    -- Ed25519 public key
  signature BLOB NOT NULL,
  stored_at BIGINT NOT NULL,
  PRIMARY KEY (tenant, pattern, measure, owner)
);
CREATE TABLE uses (
  tenant VARCHAR(64) NOT NULL,
  resource VARCHAR(129) NOT NULL,
  policy BLOB NOT NULL,                   -- SHA-256 of its body
  day INTEGER NOT NULL,                   -- days since 1970, UTC
  count BIGINT NOT NULL,
  PRIMARY KEY (tenant, resource, policy, day)
);
CREATE TABLE outcomes (
  seq INTEGER NOT NULL PRIMARY KEY,       -- from 1 without gaps: rows are never deleted
  id BLOB NOT NULL UNIQUE,
  at BIGINT NOT NULL,
  tenant VARCHAR(64) NOT NULL,
  measure BLOB NOT NULL,
  trace BLOB NOT NULL,
  act VARCHAR(32) NOT NULL,
  body BLOB NOT NULL                      -- JSON
);
CREATE INDEX outcomes_tenant ON outcomes (tenant, seq);
CREATE TABLE states (
  id INTEGER NOT NULL PRIMARY KEY,
  tenant VARCHAR(64) NOT NULL,
  signer BLOB NOT NULL,
  product VARCHAR(64) NOT NULL,
  instance VARCHAR(64) NOT NULL,
  name VARCHAR(64) NOT NULL,
  variant INTEGER NOT NULL,               -- 1: simulated, 2: debug
  secret BLOB NOT NULL,                   -- sealed; its keys are derived from it
  epoch BIGINT NOT NULL,                  -- of the last commit; 0: none
  root BLOB NOT NULL,
  svn BLOB NOT NULL,                      -- of the last commit, 8 bytes, most significant first
  fence BIGINT NOT NULL,                  -- of the last lease
  lease BLOB,                             -- id of the present lease; null: none
  lease_svn BLOB NOT NULL,
  asked VARCHAR(128) NOT NULL,            -- the request that the lease answered
  mac BLOB NOT NULL,                      -- sealed
  until BIGINT NOT NULL,
  renewals BIGINT NOT NULL,
  UNIQUE (tenant, signer, product, instance, name, variant)
);
CREATE UNIQUE INDEX states_lease ON states (lease);
CREATE TABLE state_svns (
  state BIGINT NOT NULL,
  svn BLOB NOT NULL,
  PRIMARY KEY (state, svn)
);
