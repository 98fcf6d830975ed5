-- Every statement of the SQLite store, by name. leasehold/stores/sqlite.py says what each is for.
--
-- Times are integer milliseconds since the epoch. JSON is compact text. A lane without a lease, or a batch without a claim, has NULL
-- in every column of it but the fencing token, which survives. A column that a WHERE compares has a CHECK, so that no damaged value
-- can make a row fall out of sight: a row that is read back is checked in any case.
--
-- A batch has a state, so that claims and lists touch what they return and no more:
--   0  ready: due and not live-claimed when last looked at; wake_at is 0, so that the index yields these by enqueue_seq
--   1  not claimed, and not due before wake_at (= available_at)
--   2  claimed until wake_at (= claim_expires_at)
-- Time alone moves no row: a claim first makes ready what has come due (batch_wake). The state is an index, never the rule: every
-- statement compares the times themselves with now, so a clock that steps back is met as well.

-- name: schema
CREATE TABLE leasehold_schema (
    record_kind TEXT NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL
);

CREATE TABLE lane (
    session_id TEXT NOT NULL PRIMARY KEY,
    fencing_token INTEGER NOT NULL,
    owner_id TEXT,
    lease_token TEXT,
    claimed_at INTEGER,
    expires_at INTEGER
) WITHOUT ROWID;

CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    session_id TEXT NOT NULL,
    head_revision INTEGER NOT NULL,
    config TEXT NOT NULL,
    agent_frames TEXT NOT NULL,
    current_agent_frame_id TEXT NOT NULL,
    checkpoint_ref TEXT NOT NULL,
    manifest TEXT NOT NULL,
    leaf_node_id TEXT
);

CREATE TABLE node (
    node_seq INTEGER PRIMARY KEY,
    node_id TEXT NOT NULL UNIQUE,
    parent_node_id TEXT,
    agent_frame_id TEXT,
    timestamp TEXT NOT NULL,
    content TEXT NOT NULL,
    tombstoned INTEGER NOT NULL DEFAULT 0 CHECK (tombstoned IN (0, 1))
);
CREATE INDEX node_tombstoned ON node (node_seq) WHERE tombstoned = 1;

CREATE TABLE body (
    ref TEXT NOT NULL PRIMARY KEY,
    body BLOB NOT NULL
);

-- Totals are integers, or decimal text beyond 64 bits: the columns have no type, so that nothing is rounded.
CREATE TABLE usage (
    usage_seq INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    model TEXT NOT NULL,
    input_tokens NOT NULL,
    output_tokens NOT NULL,
    cached_input_tokens NOT NULL,
    reasoning_tokens NOT NULL,
    UNIQUE (source, model)
);

CREATE TABLE stamp (
    session_id TEXT NOT NULL,
    turn_id TEXT NOT NULL,
    turn_commit_hash TEXT NOT NULL,
    head_revision INTEGER NOT NULL,
    checkpoint_ref TEXT NOT NULL,
    manifest TEXT NOT NULL,
    PRIMARY KEY (session_id, turn_id)
) WITHOUT ROWID;

-- AUTOINCREMENT: an enqueue_seq, and the batch id made of it, is never given twice, not even after the newest batch is gone.
CREATE TABLE batch (
    enqueue_seq INTEGER PRIMARY KEY AUTOINCREMENT,
    session_id TEXT NOT NULL,
    source_key TEXT,
    delivery_policy TEXT NOT NULL,
    slot_policy TEXT NOT NULL,
    merge_key TEXT NOT NULL,
    available_at INTEGER NOT NULL CHECK (typeof(available_at) = 'integer'),
    enqueued_at INTEGER NOT NULL,
    payloads TEXT NOT NULL,
    fencing_token INTEGER NOT NULL DEFAULT 0,
    claim_id TEXT,
    claim_owner_id TEXT,
    claim_token TEXT,
    claimed_at INTEGER,
    claim_expires_at INTEGER CHECK (typeof(claim_expires_at) IN ('integer', 'null')),
    state INTEGER NOT NULL CHECK (state IN (0, 1, 2)),
    wake_at INTEGER NOT NULL CHECK (typeof(wake_at) = 'integer')
);
CREATE INDEX batch_state ON batch (session_id, state, wake_at);
CREATE UNIQUE INDEX batch_source_key ON batch (session_id, source_key) WHERE source_key IS NOT NULL;
CREATE INDEX batch_claim ON batch (claim_id) WHERE claim_id IS NOT NULL;

CREATE TABLE attachment (
    attachment_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    canonical_uri TEXT NOT NULL,
    intent_at INTEGER NOT NULL CHECK (typeof(intent_at) = 'integer'),
    committed_at INTEGER,
    PRIMARY KEY (attachment_id, session_id)
) WITHOUT ROWID;
CREATE INDEX attachment_uncommitted ON attachment (intent_at) WHERE committed_at IS NULL;

CREATE TABLE session_meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    session_id TEXT NOT NULL,
    session_name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    model TEXT NOT NULL,
    cwd TEXT,
    relation TEXT NOT NULL
);

-- name: schema_row_put
INSERT INTO leasehold_schema (record_kind, version) VALUES (?, ?)

-- name: schema_row_get
SELECT version FROM leasehold_schema WHERE record_kind = ?

-- name: table_count
SELECT count(*) FROM sqlite_master

-- name: lane_get
SELECT fencing_token, owner_id, lease_token, claimed_at, expires_at FROM lane WHERE session_id = ?

-- name: lane_grant
INSERT OR REPLACE INTO lane (session_id, owner_id, lease_token, fencing_token, claimed_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)

-- name: lane_set_expiry
UPDATE lane SET expires_at = ? WHERE session_id = ?

-- name: lane_release
UPDATE lane SET owner_id = NULL, lease_token = NULL, claimed_at = NULL, expires_at = NULL WHERE session_id = ?

-- name: commit_view
SELECT head.session_id, head.head_revision,
       lane.fencing_token, lane.owner_id, lane.lease_token, lane.claimed_at, lane.expires_at,
       stamp.turn_commit_hash, stamp.head_revision, stamp.checkpoint_ref, stamp.manifest
FROM (SELECT 1) AS one_row LEFT JOIN head ON head.id = 1 LEFT JOIN lane ON lane.session_id = ?
     LEFT JOIN stamp ON stamp.session_id = ? AND stamp.turn_id = ?

-- name: head_put
INSERT OR REPLACE INTO head (
    id, session_id, head_revision, config, agent_frames, current_agent_frame_id, checkpoint_ref, manifest, leaf_node_id
) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: head_get
SELECT session_id, head_revision, config, agent_frames, current_agent_frame_id, checkpoint_ref, manifest, leaf_node_id
FROM head WHERE id = 1

-- name: stamp_put
INSERT INTO stamp (session_id, turn_id, turn_commit_hash, head_revision, checkpoint_ref, manifest) VALUES (?, ?, ?, ?, ?, ?)

-- name: body_put
INSERT INTO body (ref, body) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: body_exists
SELECT 1 FROM body WHERE ref = ?

-- name: bodies_get
SELECT ref, body FROM body WHERE ref IN (?, ?, ?)

-- name: bodies_keep
DELETE FROM body WHERE ref NOT IN (?, ?, ?)

-- name: bodies_count
SELECT count(*) FROM body

-- name: usage_get
SELECT source, model, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens FROM usage WHERE source = ? AND model = ?

-- name: usage_add
INSERT INTO usage (source, model, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (source, model) DO UPDATE SET
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens,
    cached_input_tokens = cached_input_tokens + excluded.cached_input_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens
WHERE typeof(input_tokens) = 'integer' AND typeof(input_tokens + excluded.input_tokens) = 'integer'
  AND typeof(output_tokens) = 'integer' AND typeof(output_tokens + excluded.output_tokens) = 'integer'
  AND typeof(cached_input_tokens) = 'integer' AND typeof(cached_input_tokens + excluded.cached_input_tokens) = 'integer'
  AND typeof(reasoning_tokens) = 'integer' AND typeof(reasoning_tokens + excluded.reasoning_tokens) = 'integer'

-- name: usage_set
UPDATE usage SET input_tokens = ?, output_tokens = ?, cached_input_tokens = ?, reasoning_tokens = ? WHERE source = ? AND model = ?

-- name: usage_list
SELECT source, model, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens FROM usage ORDER BY usage_seq

-- name: node_insert
INSERT INTO node (node_id, parent_node_id, agent_frame_id, timestamp, content) VALUES (?, ?, ?, ?, ?)

-- name: nodes_clear
DELETE FROM node

-- name: node_is_visible
SELECT 1 FROM node WHERE node_id = ? AND tombstoned = 0

-- name: node_get
SELECT node_id, parent_node_id, agent_frame_id, timestamp, content FROM node WHERE node_id = ? AND tombstoned = 0

-- name: nodes_full
SELECT node_id, parent_node_id, agent_frame_id, timestamp, content FROM node WHERE tombstoned = 0 ORDER BY node_seq

-- name: nodes_path
WITH RECURSIVE path (node_seq, parent_node_id) AS (
    SELECT node_seq, parent_node_id FROM node WHERE node_id = ? AND tombstoned = 0
    UNION -- and not UNION ALL: a node comes once, so a cycle of parents ends
    SELECT node.node_seq, node.parent_node_id FROM path CROSS JOIN node ON node.node_id = path.parent_node_id
    WHERE node.tombstoned = 0
)
SELECT node.node_id, node.parent_node_id, node.agent_frame_id, node.timestamp, node.content
FROM path CROSS JOIN node ON node.node_seq = path.node_seq

-- name: node_tombstone
UPDATE node SET tombstoned = 1 WHERE node_id = ? AND tombstoned = 0

-- name: nodes_vacuum
DELETE FROM node WHERE tombstoned = 1

-- name: batch_insert
INSERT INTO batch (
    session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads, state, wake_at
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: batch_by_source_key
SELECT enqueue_seq, session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
       fencing_token, claim_expires_at
FROM batch WHERE session_id = ? AND source_key = ?

-- name: batch_by_seq
SELECT enqueue_seq, session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
       fencing_token, claim_expires_at
FROM batch WHERE enqueue_seq = ? AND session_id = ?

-- name: batch_delete
DELETE FROM batch WHERE enqueue_seq = ?

-- name: batch_wake
UPDATE batch SET state = 0, wake_at = 0 WHERE session_id = ? AND state IN (1, 2) AND wake_at <= ?

-- name: batch_candidates
SELECT enqueue_seq, session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
       fencing_token, claim_expires_at
FROM batch
WHERE session_id = ? AND state = 0 AND wake_at = 0 AND available_at <= ? AND (claim_expires_at IS NULL OR claim_expires_at <= ?)
ORDER BY enqueue_seq

-- name: batch_claim
UPDATE batch SET
    fencing_token = ?, claim_id = ?, claim_owner_id = ?, claim_token = ?, claimed_at = ?, claim_expires_at = ?, state = 2, wake_at = ?
WHERE enqueue_seq = ?

-- name: claim_get
SELECT enqueue_seq, claim_owner_id, fencing_token, claimed_at
FROM batch WHERE claim_id = ? AND session_id = ? AND claim_token = ?

-- name: claim_set_expiry
UPDATE batch SET claim_expires_at = ?, state = 2, wake_at = ? WHERE claim_id = ?

-- name: claim_abandon
UPDATE batch SET
    claim_id = NULL, claim_owner_id = NULL, claim_token = NULL, claimed_at = NULL, claim_expires_at = NULL,
    state = 1, wake_at = available_at
WHERE claim_id = ? AND session_id = ? AND claim_token = ?

-- name: claim_complete
DELETE FROM batch WHERE claim_id = ?

-- name: batch_list
SELECT enqueue_seq, session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
       fencing_token, claim_expires_at
FROM batch WHERE session_id = ?

-- name: batch_list_pending
SELECT enqueue_seq, session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
       fencing_token, claim_expires_at
FROM batch WHERE session_id = ? AND state IN (0, 1) AND (claim_expires_at IS NULL OR claim_expires_at <= ?)
UNION ALL
SELECT enqueue_seq, session_id, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
       fencing_token, claim_expires_at
FROM batch WHERE session_id = ? AND state = 2 AND wake_at <= ?

-- name: meta_put
INSERT OR REPLACE INTO session_meta (id, session_id, session_name, created_at, model, cwd, relation) VALUES (1, ?, ?, ?, ?, ?, ?)

-- name: meta_get
SELECT session_id, session_name, created_at, model, cwd, relation FROM session_meta WHERE id = 1

-- name: attachment_intend
INSERT INTO attachment (attachment_id, session_id, canonical_uri, intent_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- name: attachment_commit
UPDATE attachment SET committed_at = ? WHERE attachment_id = ? AND session_id = ? AND committed_at IS NULL

-- name: attachment_uncommitted
SELECT attachment_id, session_id, canonical_uri, intent_at FROM attachment
WHERE committed_at IS NULL AND intent_at <= ? ORDER BY intent_at

-- name: attachment_forget
DELETE FROM attachment WHERE attachment_id = ?
