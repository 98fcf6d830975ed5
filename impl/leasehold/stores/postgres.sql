-- The PostgreSQL store: its tables, its functions, and the reads that are one plain statement. leasehold/stores/postgres.py says
-- what each is for. "leasehold." stands for the schema, whatever it is called.
--
-- Several stores share the tables: store_id is the first column of every key. Times are integer milliseconds since the epoch. JSON
-- is compact ASCII text, so it comes back as it was given. A lane without a lease, or a batch without a claim, has NULL in every
-- column of it but the fencing token, which survives.
--
-- One operation that writes is one call of one function, so one statement, one transaction, one round trip. It runs in READ
-- COMMITTED: each statement inside has a snapshot of its own, so what is read after the lock is what the last holder left.
--   Locks, always in this order: lane (by session_id, if two), head, store.
--   lane    the session's lease, its queue
--   head    head, graph, bodies, ledger, stamps; attachments where several rows change
--   store   the order of enqueue_seq
-- The time is read after the locks, so transactions and their times are in one order.
--
-- ready and wake_at are an index, never the rule, so that claims touch what they return and no more: a batch is ready, or it waits
-- until wake_at, when it comes due or its claim expires, or earlier. lane.wake_at is the least of them, or earlier. Time alone
-- moves no row: a claim first makes ready what has come due. Every statement compares the times themselves as well.

-- name: schema
CREATE TABLE leasehold.leasehold_schema (
    record_kind text COLLATE "C" PRIMARY KEY,
    version bigint NOT NULL
);

CREATE TABLE leasehold.store (
    store_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label text COLLATE "C" NOT NULL UNIQUE
);

-- Taken while the store is locked until the end of the transaction: so a store's numbers rise in the order of its commits.
CREATE SEQUENCE leasehold.enqueue_seq;

CREATE TABLE leasehold.lane (
    store_id bigint NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    fencing_token bigint NOT NULL DEFAULT 0,
    owner_id text COLLATE "C",
    lease_token text COLLATE "C",
    claimed_at bigint,
    expires_at bigint,
    wake_at bigint NOT NULL DEFAULT 9223372036854775807,
    PRIMARY KEY (store_id, session_id)
) WITH (fillfactor = 50);

CREATE TABLE leasehold.head (
    store_id bigint NOT NULL PRIMARY KEY,
    session_id text COLLATE "C",
    head_revision bigint NOT NULL DEFAULT 0,
    config text COLLATE "C",
    agent_frames text COLLATE "C",
    current_agent_frame_id text COLLATE "C",
    checkpoint_ref text COLLATE "C",
    manifest text COLLATE "C",
    leaf_node_id text COLLATE "C",
    tool_state_ref text COLLATE "C",
    plugin_snapshot_ref text COLLATE "C",
    execution_state_ref text COLLATE "C",
    node_seq bigint NOT NULL DEFAULT 0,
    usage_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE leasehold.node (
    store_id bigint NOT NULL,
    node_id text COLLATE "C" NOT NULL,
    node_seq bigint NOT NULL,
    parent_node_id text COLLATE "C",
    agent_frame_id text COLLATE "C",
    "timestamp" text COLLATE "C" NOT NULL,
    content text COLLATE "C" NOT NULL,
    tombstoned boolean NOT NULL DEFAULT false,
    PRIMARY KEY (store_id, node_id)
);
CREATE INDEX node_tombstoned ON leasehold.node (store_id) WHERE tombstoned;

CREATE TABLE leasehold.body (
    store_id bigint NOT NULL,
    ref text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (store_id, ref)
);

-- Totals are exact beyond 64 bits.
CREATE TABLE leasehold.usage (
    store_id bigint NOT NULL,
    source text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    usage_seq bigint NOT NULL,
    input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    cached_input_tokens numeric NOT NULL,
    reasoning_tokens numeric NOT NULL,
    PRIMARY KEY (store_id, source, model)
) WITH (fillfactor = 50);

CREATE TABLE leasehold.stamp (
    store_id bigint NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    turn_id text COLLATE "C" NOT NULL,
    turn_commit_hash text COLLATE "C" NOT NULL,
    head_revision bigint NOT NULL,
    checkpoint_ref text COLLATE "C" NOT NULL,
    manifest text COLLATE "C" NOT NULL,
    PRIMARY KEY (store_id, session_id, turn_id)
);

CREATE TABLE leasehold.batch (
    store_id bigint NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    enqueue_seq bigint NOT NULL,
    source_key text COLLATE "C",
    delivery_policy text COLLATE "C" NOT NULL,
    slot_policy text COLLATE "C" NOT NULL,
    merge_key text COLLATE "C" NOT NULL,
    available_at bigint NOT NULL,
    enqueued_at bigint NOT NULL,
    payloads text COLLATE "C" NOT NULL,
    fencing_token bigint NOT NULL DEFAULT 0,
    claim_id text COLLATE "C",
    claim_owner_id text COLLATE "C",
    claim_token text COLLATE "C",
    claimed_at bigint,
    claim_expires_at bigint,
    ready boolean NOT NULL,
    wake_at bigint NOT NULL,
    PRIMARY KEY (store_id, session_id, enqueue_seq)
);
-- + 0: no other index has this order, so a claim takes this one, whatever the planner thinks of how many rows are ready.
CREATE INDEX batch_ready ON leasehold.batch (store_id, session_id, (enqueue_seq + 0)) WHERE ready;
CREATE INDEX batch_waiting ON leasehold.batch (store_id, session_id, wake_at) WHERE NOT ready;
CREATE UNIQUE INDEX batch_source_key ON leasehold.batch (store_id, session_id, source_key) WHERE source_key IS NOT NULL;

CREATE TABLE leasehold.attachment (
    store_id bigint NOT NULL,
    attachment_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    canonical_uri text COLLATE "C" NOT NULL,
    intent_at bigint NOT NULL,
    committed_at bigint,
    PRIMARY KEY (store_id, attachment_id, session_id)
);
CREATE INDEX attachment_uncommitted ON leasehold.attachment (store_id, intent_at) WHERE committed_at IS NULL;

CREATE TABLE leasehold.session_meta (
    store_id bigint NOT NULL PRIMARY KEY,
    session_id text COLLATE "C" NOT NULL,
    session_name text COLLATE "C" NOT NULL,
    created_at text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    cwd text COLLATE "C",
    relation text COLLATE "C" NOT NULL
);

CREATE FUNCTION leasehold.now_ms() RETURNS bigint LANGUAGE sql VOLATILE AS
$$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- LAW-14: saturates at the latest time there is.
CREATE FUNCTION leasehold.expiry(p_now bigint, p_ttl bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN p_now > 0 AND p_ttl > 9223372036854775807 - p_now THEN 9223372036854775807 ELSE p_now + p_ttl END $$;

-- The store of a label, made if there is none.
CREATE FUNCTION leasehold.open_store(p_label text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_store bigint;
BEGIN
    SELECT store_id INTO v_store FROM leasehold.store WHERE label = p_label;
    IF FOUND THEN
        RETURN v_store;
    END IF;
    INSERT INTO leasehold.store (label) VALUES (p_label) ON CONFLICT DO NOTHING RETURNING store_id INTO v_store;
    IF FOUND THEN
        INSERT INTO leasehold.head (store_id) VALUES (v_store);
    ELSE
        SELECT store_id INTO STRICT v_store FROM leasehold.store WHERE label = p_label;
    END IF;
    RETURN v_store;
END $$;

-- The store's data goes. That need not be on the disk at once.
CREATE FUNCTION leasehold.drop_store(p_store bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    DELETE FROM leasehold.lane WHERE store_id = p_store;
    DELETE FROM leasehold.head WHERE store_id = p_store;
    DELETE FROM leasehold.store WHERE store_id = p_store;
    DELETE FROM leasehold.node WHERE store_id = p_store;
    DELETE FROM leasehold.body WHERE store_id = p_store;
    DELETE FROM leasehold.usage WHERE store_id = p_store;
    DELETE FROM leasehold.stamp WHERE store_id = p_store;
    DELETE FROM leasehold.batch WHERE store_id = p_store;
    DELETE FROM leasehold.attachment WHERE store_id = p_store;
    DELETE FROM leasehold.session_meta WHERE store_id = p_store;
END $$;

-- LEASE-1 to LEASE-3. No lease: r_token is NULL.
CREATE FUNCTION leasehold.lease_claim(
    p_store bigint, p_session text, p_owner text, p_ttl bigint, p_token text, p_now bigint,
    OUT r_token text, OUT r_fencing_token bigint, OUT r_claimed_at bigint, OUT r_expires_at bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_owner text;
    v_token text;
    v_fencing_token bigint;
    v_claimed_at bigint;
    v_expires_at bigint;
    v_now bigint;
BEGIN
    SELECT owner_id, lease_token, fencing_token, claimed_at, expires_at
    INTO v_owner, v_token, v_fencing_token, v_claimed_at, v_expires_at
    FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO leasehold.lane (store_id, session_id) VALUES (p_store, p_session) ON CONFLICT DO NOTHING;
        SELECT owner_id, lease_token, fencing_token, claimed_at, expires_at
        INTO STRICT v_owner, v_token, v_fencing_token, v_claimed_at, v_expires_at
        FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    END IF;
    v_now := coalesce(p_now, leasehold.now_ms());
    IF v_expires_at > v_now THEN
        IF v_owner <> p_owner THEN -- LEASE-3
            RETURN;
        END IF;
        r_token := v_token; -- LEASE-2, P-REENTRY extend-only
        r_fencing_token := v_fencing_token;
        r_claimed_at := v_claimed_at;
        r_expires_at := greatest(v_expires_at, leasehold.expiry(v_now, p_ttl));
        UPDATE leasehold.lane SET expires_at = r_expires_at WHERE store_id = p_store AND session_id = p_session;
    ELSE
        r_token := p_token; -- LEASE-1
        r_fencing_token := v_fencing_token + 1;
        r_claimed_at := v_now;
        r_expires_at := leasehold.expiry(v_now, p_ttl);
        UPDATE leasehold.lane SET
            owner_id = p_owner, lease_token = p_token, fencing_token = r_fencing_token, claimed_at = v_now,
            expires_at = r_expires_at
        WHERE store_id = p_store AND session_id = p_session;
    END IF;
END $$;

-- LEASE-4, LEASE-5. Expired: r_claimed_at is NULL.
CREATE FUNCTION leasehold.lease_renew(
    p_store bigint, p_session text, p_owner text, p_token text, p_fencing_token bigint, p_ttl bigint, p_now bigint,
    OUT r_claimed_at bigint, OUT r_expires_at bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_owner text;
    v_token text;
    v_fencing_token bigint;
    v_claimed_at bigint;
    v_expires_at bigint;
    v_now bigint;
BEGIN
    SELECT owner_id, lease_token, fencing_token, claimed_at, expires_at
    INTO v_owner, v_token, v_fencing_token, v_claimed_at, v_expires_at
    FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    v_now := coalesce(p_now, leasehold.now_ms());
    IF v_owner = p_owner AND v_token = p_token AND v_fencing_token = p_fencing_token
       AND v_expires_at > v_now THEN
        r_claimed_at := v_claimed_at;
        r_expires_at := leasehold.expiry(v_now, p_ttl);
        UPDATE leasehold.lane SET expires_at = r_expires_at WHERE store_id = p_store AND session_id = p_session;
    END IF;
END $$;

-- QUEUE-1, QUEUE-2. Of a batch that was queued already every column is given, of a new one the number and the time.
CREATE FUNCTION leasehold.enqueue(
    p_store bigint, p_session text, p_source_key text, p_delivery_policy text, p_slot_policy text, p_merge_key text,
    p_available_at bigint, p_payloads text, p_now bigint,
    OUT r_enqueue_seq bigint, OUT r_source_key text, OUT r_delivery_policy text, OUT r_slot_policy text, OUT r_merge_key text,
    OUT r_available_at bigint, OUT r_enqueued_at bigint, OUT r_payloads text
) LANGUAGE plpgsql AS $$
DECLARE
    v_wake_at bigint;
BEGIN
    SELECT l.wake_at INTO v_wake_at FROM leasehold.lane AS l, leasehold.store AS s -- locked in this order
    WHERE l.store_id = p_store AND l.session_id = p_session AND s.store_id = p_store FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        INSERT INTO leasehold.lane (store_id, session_id) VALUES (p_store, p_session) ON CONFLICT DO NOTHING;
        SELECT l.wake_at INTO v_wake_at FROM leasehold.lane AS l, leasehold.store AS s
        WHERE l.store_id = p_store AND l.session_id = p_session AND s.store_id = p_store FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the store is gone' USING ERRCODE = 'LH001';
        END IF;
    END IF;
    IF p_source_key IS NOT NULL THEN
        SELECT enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads
        INTO r_enqueue_seq, r_source_key, r_delivery_policy, r_slot_policy, r_merge_key, r_available_at, r_enqueued_at, r_payloads
        FROM leasehold.batch WHERE store_id = p_store AND session_id = p_session AND source_key = p_source_key;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    r_enqueue_seq := nextval('leasehold.enqueue_seq'::regclass);
    r_enqueued_at := coalesce(p_now, leasehold.now_ms());
    INSERT INTO leasehold.batch (
        store_id, session_id, enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
        ready, wake_at
    ) VALUES (
        p_store, p_session, r_enqueue_seq, p_source_key, p_delivery_policy, p_slot_policy, p_merge_key, p_available_at,
        r_enqueued_at, p_payloads, p_available_at <= r_enqueued_at, p_available_at
    );
    IF p_available_at > r_enqueued_at AND p_available_at < v_wake_at THEN
        UPDATE leasehold.lane SET wake_at = p_available_at WHERE store_id = p_store AND session_id = p_session;
    END IF;
END $$;

-- QUEUE-4 to QUEUE-10. The claim's batches. No row: nothing to claim.
CREATE FUNCTION leasehold.queue_claim(
    p_store bigint, p_session text, p_fence_owner text, p_fence_token text, p_fence_fencing_token bigint,
    p_owner text, p_active boolean, p_ttl bigint, p_limit bigint, p_only bigint[], p_token text, p_now bigint
) RETURNS TABLE (
    r_enqueue_seq bigint, r_source_key text, r_delivery_policy text, r_slot_policy text, r_merge_key text,
    r_available_at bigint, r_enqueued_at bigint, r_payloads text,
    r_claim_id text, r_fencing_token bigint, r_claimed_at bigint, r_expires_at bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_lane_owner text;
    v_lane_token text;
    v_lane_fencing_token bigint;
    v_lane_expires_at bigint;
    v_lane_wake_at bigint;
    v_now bigint;
    v_wake_at bigint;
    v_first record;
    v_next record;
    v_run bigint[] := '{}';
    v_fencing_token bigint := 0;
    v_expires_at bigint;
BEGIN
    SELECT owner_id, lease_token, fencing_token, expires_at, wake_at
    INTO v_lane_owner, v_lane_token, v_lane_fencing_token, v_lane_expires_at, v_lane_wake_at
    FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    v_now := coalesce(p_now, leasehold.now_ms());
    IF (v_lane_owner = p_fence_owner AND v_lane_token = p_fence_token AND v_lane_fencing_token = p_fence_fencing_token
        AND v_lane_expires_at > v_now) IS NOT TRUE THEN
        RETURN NEXT; -- a row without a claim: QUEUE-4
        RETURN;
    END IF;
    v_wake_at := v_lane_wake_at;
    IF v_wake_at <= v_now THEN
        UPDATE leasehold.batch SET
            ready = coalesce(claim_expires_at, available_at) <= v_now, wake_at = coalesce(claim_expires_at, available_at)
        WHERE store_id = p_store AND session_id = p_session AND NOT ready AND wake_at <= v_now;
        SELECT coalesce(min(wake_at), 9223372036854775807) INTO v_wake_at FROM leasehold.batch
        WHERE store_id = p_store AND session_id = p_session AND NOT ready;
    END IF;
    v_expires_at := leasehold.expiry(v_now, p_ttl);
    IF p_limit = 1 THEN -- as below, in one statement
        RETURN QUERY
        UPDATE leasehold.batch SET
            fencing_token = fencing_token + 1,
            claim_id = 'claim-' || enqueue_seq || '-' || enqueue_seq || '-' || (fencing_token + 1),
            claim_owner_id = p_owner, claim_token = p_token, claimed_at = v_now, claim_expires_at = v_expires_at,
            ready = false, wake_at = v_expires_at
        WHERE store_id = p_store AND session_id = p_session AND enqueue_seq = (
            SELECT CASE WHEN p_active AND delivery_policy <> 'earliest_safe_boundary' OR p_only[1] <> enqueue_seq THEN NULL
                        ELSE enqueue_seq END AS first
            FROM leasehold.batch
            WHERE store_id = p_store AND session_id = p_session AND ready AND available_at <= v_now
              AND (claim_expires_at IS NULL OR claim_expires_at <= v_now)
            ORDER BY enqueue_seq + 0 LIMIT 1
        )
        RETURNING enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
                  claim_id, fencing_token, claimed_at, claim_expires_at;
        IF FOUND THEN
            v_wake_at := least(v_wake_at, v_expires_at);
        END IF;
    ELSE
        FOR v_next IN
            SELECT enqueue_seq, delivery_policy, slot_policy, merge_key, fencing_token FROM leasehold.batch
            WHERE store_id = p_store AND session_id = p_session AND ready AND available_at <= v_now
              AND (claim_expires_at IS NULL OR claim_expires_at <= v_now)
            ORDER BY enqueue_seq + 0 LIMIT p_limit
        LOOP -- P-JOIN-GAP skip: what is no candidate does not end the run
            IF v_run = '{}' THEN
                EXIT WHEN p_active AND v_next.delivery_policy <> 'earliest_safe_boundary'; -- QUEUE-6
                v_first := v_next;
            ELSE -- QUEUE-7
                EXIT WHEN v_next.slot_policy <> 'join' OR v_next.delivery_policy <> v_first.delivery_policy
                    OR v_next.merge_key <> v_first.merge_key;
            END IF;
            v_run := v_run || v_next.enqueue_seq;
            v_fencing_token := greatest(v_fencing_token, v_next.fencing_token);
            EXIT WHEN v_first.slot_policy = 'exclusive';
        END LOOP;
        IF v_run <> '{}' AND (p_only IS NULL OR p_only = v_run) THEN -- QUEUE-8, P-CLAIM-FENCE max; QUEUE-10
            v_fencing_token := v_fencing_token + 1;
            v_wake_at := least(v_wake_at, v_expires_at);
            RETURN QUERY
            UPDATE leasehold.batch SET
                fencing_token = v_fencing_token,
                claim_id = 'claim-' || v_run[1] || '-' || v_run[cardinality(v_run)] || '-' || v_fencing_token,
                claim_owner_id = p_owner, claim_token = p_token, claimed_at = v_now, claim_expires_at = v_expires_at,
                ready = false, wake_at = v_expires_at
            WHERE store_id = p_store AND session_id = p_session AND enqueue_seq BETWEEN v_run[1] AND v_run[cardinality(v_run)]
              AND enqueue_seq = ANY (v_run)
            RETURNING enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads,
                      claim_id, fencing_token, claimed_at, claim_expires_at;
        END IF;
    END IF;
    IF v_wake_at <> v_lane_wake_at THEN
        UPDATE leasehold.lane SET wake_at = v_wake_at WHERE store_id = p_store AND session_id = p_session;
    END IF;
END $$;

-- QUEUE-11. A claim's id says between which numbers its batches are. Expired: r_expires_at is NULL.
CREATE FUNCTION leasehold.claim_renew(
    p_store bigint, p_session text, p_claim_id text, p_token text, p_first bigint, p_last bigint, p_named bigint[],
    p_ttl bigint, p_now bigint,
    OUT r_owner text, OUT r_fencing_token bigint, OUT r_claimed_at bigint, OUT r_expires_at bigint
) LANGUAGE plpgsql AS $$
DECLARE
    v_lane_wake_at bigint;
    v_held bigint[];
    v_now bigint;
    v_expires_at bigint;
BEGIN
    SELECT wake_at INTO v_lane_wake_at FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    v_now := coalesce(p_now, leasehold.now_ms());
    v_expires_at := leasehold.expiry(v_now, p_ttl);
    SELECT array_agg(enqueue_seq), min(claim_owner_id), min(fencing_token), min(claimed_at)
    INTO v_held, r_owner, r_fencing_token, r_claimed_at FROM leasehold.batch
    WHERE store_id = p_store AND session_id = p_session AND enqueue_seq BETWEEN p_first AND p_last
      AND claim_id = p_claim_id AND claim_token = p_token;
    IF v_held @> p_named THEN
        r_expires_at := v_expires_at;
        UPDATE leasehold.batch SET
            claim_expires_at = v_expires_at, ready = false,
            wake_at = CASE WHEN ready THEN v_expires_at ELSE least(wake_at, v_expires_at) END
        WHERE store_id = p_store AND session_id = p_session AND enqueue_seq BETWEEN p_first AND p_last AND claim_id = p_claim_id;
        IF v_expires_at < v_lane_wake_at THEN
            UPDATE leasehold.lane SET wake_at = v_expires_at WHERE store_id = p_store AND session_id = p_session;
        END IF;
    END IF;
END $$;

-- QUEUE-12. What was claimed was due, so it is ready.
CREATE FUNCTION leasehold.claim_abandon(
    p_store bigint, p_session text, p_claim_id text, p_token text, p_first bigint, p_last bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    UPDATE leasehold.batch SET
        claim_id = NULL, claim_owner_id = NULL, claim_token = NULL, claimed_at = NULL, claim_expires_at = NULL,
        ready = true, wake_at = available_at
    WHERE store_id = p_store AND session_id = p_session AND enqueue_seq BETWEEN p_first AND p_last
      AND claim_id = p_claim_id AND claim_token = p_token;
END $$;

-- QUEUE-13. Missing or live-claimed: no row.
CREATE FUNCTION leasehold.cancel(p_store bigint, p_session text, p_enqueue_seq bigint, p_now bigint) RETURNS TABLE (
    r_enqueue_seq bigint, r_source_key text, r_delivery_policy text, r_slot_policy text, r_merge_key text,
    r_available_at bigint, r_enqueued_at bigint, r_payloads text
) LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint;
BEGIN
    PERFORM 1 FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    v_now := coalesce(p_now, leasehold.now_ms());
    RETURN QUERY
    DELETE FROM leasehold.batch
    WHERE store_id = p_store AND session_id = p_session AND enqueue_seq = p_enqueue_seq
      AND (claim_expires_at IS NULL OR claim_expires_at <= v_now)
    RETURNING enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads;
END $$;

-- QUEUE-3. The answer depends on the time, so it waits its turn like a writer; but it has nothing that must be on the disk.
CREATE FUNCTION leasehold.list_pending(p_store bigint, p_session text, p_now bigint) RETURNS TABLE (
    r_enqueue_seq bigint, r_source_key text, r_delivery_policy text, r_slot_policy text, r_merge_key text,
    r_available_at bigint, r_enqueued_at bigint, r_payloads text
) LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM 1 FROM leasehold.lane WHERE store_id = p_store AND session_id = p_session FOR NO KEY UPDATE;
    v_now := coalesce(p_now, leasehold.now_ms());
    RETURN QUERY
    SELECT enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads
    FROM leasehold.batch
    WHERE store_id = p_store AND session_id = p_session AND (claim_expires_at IS NULL OR claim_expires_at <= v_now)
    ORDER BY enqueue_seq;
END $$;

-- COMMIT-1 to COMMIT-10. r_code says what was decided, r_which the completion or reference that it is about. Rows come as one array
-- each, one after the other: every array that a function is given costs as much as a statement.
CREATE FUNCTION leasehold.commit_state(
    p_store bigint, p_session text, p_expected numeric,
    p_fence_owner text, p_fence_token text, p_fence_fencing_token bigint,
    p_release_session text, p_release_owner text, p_release_token text, p_release_fencing_token bigint,
    p_turn_session text, p_turn text, p_hash text,
    p_config text, p_agent_frames text, p_current_agent_frame_id text, p_checkpoint_ref text, p_manifest text, p_leaf text,
    p_tool_state_ref text, p_plugin_snapshot_ref text, p_execution_state_ref text,
    p_bodies text[], -- 2: ref, body in hex
    p_kept_refs text[], p_replace boolean,
    p_nodes text[], -- 5: id, parent, frame, timestamp, content
    p_is_leaf_new boolean,
    p_usage text[], -- 6: source, model, input, output, cached, reasoning
    p_claims text[], -- 5: id, token, between which numbers its batches are, the batches as an array
    p_is_single boolean,
    p_attachments text[], p_now bigint,
    OUT r_code text, OUT r_which bigint, OUT r_bound_to text, OUT r_head_revision bigint, OUT r_checkpoint_ref text,
    OUT r_manifest text
) LANGUAGE plpgsql AS $$
DECLARE
    v_lane_owner text;
    v_lane_token text;
    v_lane_fencing_token bigint;
    v_lane_expires_at bigint;
    v_bound_to text;
    v_revision bigint;
    v_node_seq bigint;
    v_usage_seq bigint;
    v_now bigint;
    v_hash text;
    v_tool_state_ref text;
    v_plugin_snapshot_ref text;
    v_execution_state_ref text;
    v_claim text[];
    v_named bigint[];
    v_held bigint[];
    v_completed text[];
    v_row text[];
    v_attachment text;
BEGIN
    IF p_release_session <> p_session THEN
        PERFORM 1 FROM leasehold.lane WHERE store_id = p_store AND session_id IN (p_session, p_release_session)
        ORDER BY session_id FOR NO KEY UPDATE;
    END IF;
    SELECT l.owner_id, l.lease_token, l.fencing_token, l.expires_at, h.session_id, h.head_revision, h.node_seq, h.usage_seq,
           h.tool_state_ref, h.plugin_snapshot_ref, h.execution_state_ref
    INTO v_lane_owner, v_lane_token, v_lane_fencing_token, v_lane_expires_at, v_bound_to, v_revision, v_node_seq, v_usage_seq,
         v_tool_state_ref, v_plugin_snapshot_ref, v_execution_state_ref
    FROM leasehold.lane AS l, leasehold.head AS h -- locked in this order, and read as they are then
    WHERE l.store_id = p_store AND l.session_id = p_session AND h.store_id = p_store FOR NO KEY UPDATE;
    IF NOT FOUND THEN -- there is no lane, so no lease
        SELECT session_id, head_revision INTO v_bound_to, v_revision
        FROM leasehold.head WHERE store_id = p_store FOR NO KEY UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the store is gone' USING ERRCODE = 'LH001';
        END IF;
    END IF;
    v_now := coalesce(p_now, leasehold.now_ms());

    IF v_bound_to <> p_session THEN -- COMMIT-1, P-BINDING at-first-commit
        r_code := 'bound';
        r_bound_to := v_bound_to;
        RETURN;
    END IF;
    IF p_turn IS NOT NULL THEN
        IF p_turn_session <> p_session THEN -- COMMIT-2
            r_code := 'turn';
            RETURN;
        END IF;
        SELECT turn_commit_hash, head_revision, checkpoint_ref, manifest
        INTO v_hash, r_head_revision, r_checkpoint_ref, r_manifest FROM leasehold.stamp
        WHERE store_id = p_store AND session_id = p_session AND turn_id = p_turn;
        IF FOUND THEN
            IF v_hash <> p_hash THEN -- COMMIT-3
                r_code := 'turn';
                RETURN;
            END IF;
            r_code := 'replay'; -- COMMIT-4
            UPDATE leasehold.lane SET owner_id = NULL, lease_token = NULL, claimed_at = NULL, expires_at = NULL
            WHERE store_id = p_store AND session_id = p_release_session AND owner_id = p_release_owner
              AND lease_token = p_release_token AND fencing_token = p_release_fencing_token;
            RETURN;
        END IF;
    END IF;
    IF (v_lane_owner = p_fence_owner AND v_lane_token = p_fence_token AND v_lane_fencing_token = p_fence_fencing_token
        AND v_lane_expires_at > v_now) IS NOT TRUE THEN -- COMMIT-5
        r_code := 'lease';
        RETURN;
    END IF;
    IF p_expected <> v_revision THEN -- COMMIT-6
        r_code := 'revision';
        r_head_revision := v_revision;
        RETURN;
    END IF;
    IF p_is_single THEN -- COMMIT-7 for one batch, with nothing left to refuse: COMMIT-8 at once
        DELETE FROM leasehold.batch
        WHERE store_id = p_store AND session_id = p_session AND enqueue_seq = p_claims[3]::bigint AND claim_id = p_claims[1]
          AND claim_token = p_claims[2];
        IF NOT FOUND THEN
            r_code := 'claim';
            r_which := 1;
            RETURN;
        END IF;
    ELSIF p_claims IS NOT NULL THEN -- COMMIT-7
        FOR v_number IN 1 .. cardinality(p_claims) / 5 LOOP
            r_which := v_number;
            v_claim := p_claims[5 * v_number - 4 : 5 * v_number];
            IF v_claim[3] IS NULL THEN -- another session's
                r_code := 'claim';
                RETURN;
            END IF;
            v_named := v_claim[5];
            IF v_named = '{}' THEN -- P-COMPLETE-EMPTY refuse
                r_code := 'empty';
                RETURN;
            END IF;
            SELECT array_agg(enqueue_seq) INTO v_held FROM leasehold.batch
            WHERE store_id = p_store AND session_id = p_session AND enqueue_seq BETWEEN v_claim[3]::bigint AND v_claim[4]::bigint
              AND claim_id = v_claim[1] AND claim_token = v_claim[2];
            IF (v_held @> v_named) IS NOT TRUE THEN
                r_code := 'claim';
                RETURN;
            END IF;
            IF (v_named @> v_held) IS NOT TRUE OR cardinality(v_named) <> cardinality(v_held) THEN
                r_code := 'other'; -- P-COMPLETE-SUBSET refuse, P-COMPLETE-DUPLICATE refuse
                RETURN;
            END IF;
            IF v_claim[1] = ANY (v_completed) THEN -- P-COMPLETE-TWICE refuse
                r_code := 'twice';
                RETURN;
            END IF;
            v_completed := v_completed || v_claim[1];
        END LOOP;
    END IF;
    IF p_leaf IS NOT NULL AND NOT p_is_leaf_new THEN -- P-LEAF-UNKNOWN refuse
        IF NOT p_replace THEN
            PERFORM 1 FROM leasehold.node WHERE store_id = p_store AND node_id = p_leaf AND NOT tombstoned;
        END IF;
        IF p_replace OR NOT FOUND THEN
            r_code := 'leaf';
            RETURN;
        END IF;
    END IF;
    IF p_kept_refs IS NOT NULL THEN
        FOR v_number IN 1 .. cardinality(p_kept_refs) LOOP
            r_which := v_number;
            IF NOT EXISTS (SELECT FROM leasehold.body WHERE store_id = p_store AND ref = p_kept_refs[r_which]) THEN
                r_code := 'dangling'; -- P-DANGLING-REF refuse
                RETURN;
            END IF;
        END LOOP;
    END IF;

    -- COMMIT-8. Nothing is refused from here on, but for a node id that exists: a unique violation, which undoes it all.
    IF p_claims IS NOT NULL AND NOT p_is_single THEN
        FOR v_number IN 1 .. cardinality(p_claims) / 5 LOOP
            DELETE FROM leasehold.batch
            WHERE store_id = p_store AND session_id = p_session AND claim_id = p_claims[5 * v_number - 4]
              AND enqueue_seq BETWEEN p_claims[5 * v_number - 2]::bigint AND p_claims[5 * v_number - 1]::bigint;
        END LOOP;
    END IF;
    IF p_replace THEN
        DELETE FROM leasehold.node WHERE store_id = p_store;
    END IF;
    IF cardinality(p_nodes) = 5 THEN -- the usual case, without a set
        INSERT INTO leasehold.node (store_id, node_id, node_seq, parent_node_id, agent_frame_id, "timestamp", content)
        VALUES (p_store, p_nodes[1], v_node_seq + 1, p_nodes[2], p_nodes[3], p_nodes[4], p_nodes[5]);
    ELSIF p_nodes IS NOT NULL THEN
        INSERT INTO leasehold.node (store_id, node_id, node_seq, parent_node_id, agent_frame_id, "timestamp", content)
        SELECT p_store, p_nodes[n * 5 - 4], v_node_seq + n, p_nodes[n * 5 - 3], p_nodes[n * 5 - 2], p_nodes[n * 5 - 1], p_nodes[n * 5]
        FROM generate_series(1, cardinality(p_nodes) / 5) AS n;
    END IF;
    FOR v_number IN 1 .. coalesce(cardinality(p_bodies), 0) / 2 LOOP
        CONTINUE WHEN p_bodies[2 * v_number - 1] IN (v_tool_state_ref, v_plugin_snapshot_ref, v_execution_state_ref);
        INSERT INTO leasehold.body (store_id, ref, body)
        VALUES (p_store, p_bodies[2 * v_number - 1], decode(p_bodies[2 * v_number], 'hex'))
        ON CONFLICT DO NOTHING;
    END LOOP;
    FOR v_number IN 1 .. coalesce(cardinality(p_usage), 0) / 6 LOOP
        v_row := p_usage[6 * v_number - 5 : 6 * v_number];
        UPDATE leasehold.usage SET
            input_tokens = input_tokens + v_row[3]::numeric, output_tokens = output_tokens + v_row[4]::numeric,
            cached_input_tokens = cached_input_tokens + v_row[5]::numeric, reasoning_tokens = reasoning_tokens + v_row[6]::numeric
        WHERE store_id = p_store AND source = v_row[1] AND model = v_row[2];
        IF NOT FOUND THEN
            INSERT INTO leasehold.usage (
                store_id, source, model, usage_seq, input_tokens, output_tokens, cached_input_tokens, reasoning_tokens
            ) VALUES (
                p_store, v_row[1], v_row[2], v_usage_seq + v_number, v_row[3]::numeric, v_row[4]::numeric, v_row[5]::numeric,
                v_row[6]::numeric
            );
        END IF;
    END LOOP;
    IF p_attachments IS NOT NULL THEN
        FOREACH v_attachment IN ARRAY p_attachments LOOP
            UPDATE leasehold.attachment SET committed_at = v_now
            WHERE store_id = p_store AND attachment_id = v_attachment AND session_id = p_session AND committed_at IS NULL;
        END LOOP;
    END IF;
    r_head_revision := v_revision + 1;
    UPDATE leasehold.head SET
        session_id = p_session, head_revision = r_head_revision, config = p_config, agent_frames = p_agent_frames,
        current_agent_frame_id = p_current_agent_frame_id, checkpoint_ref = p_checkpoint_ref, manifest = p_manifest,
        leaf_node_id = p_leaf, tool_state_ref = p_tool_state_ref, plugin_snapshot_ref = p_plugin_snapshot_ref,
        execution_state_ref = p_execution_state_ref, node_seq = v_node_seq + coalesce(cardinality(p_nodes), 0) / 5,
        usage_seq = v_usage_seq + coalesce(cardinality(p_usage), 0) / 6
    WHERE store_id = p_store;
    IF p_turn IS NOT NULL THEN
        INSERT INTO leasehold.stamp (store_id, session_id, turn_id, turn_commit_hash, head_revision, checkpoint_ref, manifest)
        VALUES (p_store, p_session, p_turn, p_hash, r_head_revision, p_checkpoint_ref, p_manifest);
    END IF;
    IF p_release_session IS NOT NULL THEN
        UPDATE leasehold.lane SET owner_id = NULL, lease_token = NULL, claimed_at = NULL, expires_at = NULL
        WHERE store_id = p_store AND session_id = p_release_session AND owner_id = p_release_owner
          AND lease_token = p_release_token AND fencing_token = p_release_fencing_token;
    END IF;
END $$;

-- GRAPH-6
CREATE FUNCTION leasehold.tombstone(p_store bigint, p_node_ids text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_node text;
BEGIN
    PERFORM 1 FROM leasehold.head WHERE store_id = p_store FOR NO KEY UPDATE;
    FOREACH v_node IN ARRAY coalesce(p_node_ids, '{}') LOOP
        UPDATE leasehold.node SET tombstoned = true WHERE store_id = p_store AND node_id = v_node AND NOT tombstoned;
    END LOOP;
END $$;

-- GRAPH-7
CREATE FUNCTION leasehold.vacuum_nodes(p_store bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_removed bigint;
BEGIN
    PERFORM 1 FROM leasehold.head WHERE store_id = p_store FOR NO KEY UPDATE;
    DELETE FROM leasehold.node WHERE store_id = p_store AND tombstoned;
    GET DIAGNOSTICS v_removed = ROW_COUNT;
    RETURN v_removed;
END $$;

-- GRAPH-9: only what the current checkpoint refers to is kept.
CREATE FUNCTION leasehold.collect_bodies(p_store bigint, OUT r_roots bigint, OUT r_retained bigint, OUT r_deleted bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_head leasehold.head;
BEGIN
    SELECT * INTO v_head FROM leasehold.head WHERE store_id = p_store FOR NO KEY UPDATE;
    r_roots := num_nonnulls(v_head.session_id);
    DELETE FROM leasehold.body WHERE store_id = p_store
      AND ref IS DISTINCT FROM v_head.tool_state_ref AND ref IS DISTINCT FROM v_head.plugin_snapshot_ref
      AND ref IS DISTINCT FROM v_head.execution_state_ref;
    GET DIAGNOSTICS r_deleted = ROW_COUNT;
    SELECT count(*) INTO r_retained FROM leasehold.body WHERE store_id = p_store;
END $$;

-- ATTACH-2: the first stamp stays; what is not recorded for this session is ignored.
CREATE FUNCTION leasehold.commit_refs(p_store bigint, p_session text, p_attachments text[], p_now bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint;
    v_attachment text;
BEGIN
    PERFORM 1 FROM leasehold.head WHERE store_id = p_store FOR NO KEY UPDATE;
    v_now := coalesce(p_now, leasehold.now_ms());
    FOREACH v_attachment IN ARRAY coalesce(p_attachments, '{}') LOOP
        UPDATE leasehold.attachment SET committed_at = v_now
        WHERE store_id = p_store AND attachment_id = v_attachment AND session_id = p_session AND committed_at IS NULL;
    END LOOP;
END $$;

-- ATTACH-4: the rows of every session.
CREATE FUNCTION leasehold.forget(p_store bigint, p_attachment text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM leasehold.head WHERE store_id = p_store FOR NO KEY UPDATE;
    DELETE FROM leasehold.attachment WHERE store_id = p_store AND attachment_id = p_attachment;
END $$;

-- name: create_schema
DO $$ BEGIN
    IF to_regnamespace(SCHEMA_LITERAL) IS NULL THEN
        CREATE SCHEMA SCHEMA_NAME;
    END IF;
    IF to_regclass(SCHEMA_LITERAL || '.leasehold_schema') IS NOT NULL THEN
        RAISE EXCEPTION 'made by another' USING ERRCODE = 'LH002';
    END IF;
END $$

-- name: schema_version
SELECT version, current_setting('server_encoding'), current_setting('transaction_isolation')
FROM leasehold.leasehold_schema WHERE record_kind = 'postgres_store'

-- name: lease_release
UPDATE leasehold.lane SET owner_id = NULL, lease_token = NULL, claimed_at = NULL, expires_at = NULL
WHERE store_id = $1 AND session_id = $2 AND owner_id = $3 AND lease_token = $4 AND fencing_token = $5

-- name: load_full
WITH h AS MATERIALIZED (SELECT * FROM leasehold.head WHERE store_id = $1 AND session_id IS NOT NULL)
SELECT 0, h.head_revision, h.session_id, h.config, h.agent_frames, h.current_agent_frame_id, h.checkpoint_ref, h.manifest,
       h.leaf_node_id, NULL::bytea
FROM h
UNION ALL
SELECT 1, n.node_seq, n.node_id, n.parent_node_id, n.agent_frame_id, n."timestamp", n.content, NULL, NULL, NULL
FROM h JOIN leasehold.node AS n ON n.store_id = h.store_id
WHERE NOT n.tombstoned
UNION ALL
SELECT 2, u.usage_seq, u.source, u.model, u.input_tokens::text, u.output_tokens::text, u.cached_input_tokens::text,
       u.reasoning_tokens::text, NULL, NULL
FROM h JOIN leasehold.usage AS u ON u.store_id = h.store_id
UNION ALL
SELECT 3, 0, b.ref, NULL, NULL, NULL, NULL, NULL, NULL, b.body
FROM h JOIN leasehold.body AS b
     ON b.store_id = h.store_id AND b.ref = ANY (ARRAY[h.tool_state_ref, h.plugin_snapshot_ref, h.execution_state_ref])

-- name: load_path
WITH RECURSIVE h AS MATERIALIZED (
    SELECT *, coalesce($1, leaf_node_id) AS leaf FROM leasehold.head WHERE store_id = $2 AND session_id IS NOT NULL
), path AS (
    SELECT n.store_id, n.node_seq, n.node_id, n.parent_node_id
    FROM h JOIN leasehold.node AS n ON n.store_id = h.store_id AND n.node_id = h.leaf
    WHERE NOT n.tombstoned
    UNION -- and not UNION ALL: a node comes once, so a cycle of parents ends
    SELECT n.store_id, n.node_seq, n.node_id, n.parent_node_id
    FROM path JOIN leasehold.node AS n ON n.store_id = path.store_id AND n.node_id = path.parent_node_id
    WHERE NOT n.tombstoned
)
SELECT 0, h.head_revision, h.session_id, h.config, h.agent_frames, h.current_agent_frame_id, h.checkpoint_ref, h.manifest,
       h.leaf_node_id, NULL::bytea
FROM h
UNION ALL
SELECT 1, n.node_seq, n.node_id, n.parent_node_id, n.agent_frame_id, n."timestamp", n.content, NULL, NULL, NULL
FROM path JOIN leasehold.node AS n ON n.store_id = path.store_id AND n.node_id = path.node_id
UNION ALL
SELECT 2, u.usage_seq, u.source, u.model, u.input_tokens::text, u.output_tokens::text, u.cached_input_tokens::text,
       u.reasoning_tokens::text, NULL, NULL
FROM h JOIN leasehold.usage AS u ON u.store_id = h.store_id
UNION ALL
SELECT 3, 0, b.ref, NULL, NULL, NULL, NULL, NULL, NULL, b.body
FROM h JOIN leasehold.body AS b
     ON b.store_id = h.store_id AND b.ref = ANY (ARRAY[h.tool_state_ref, h.plugin_snapshot_ref, h.execution_state_ref])

-- name: load_node
SELECT node_id, parent_node_id, agent_frame_id, "timestamp", content FROM leasehold.node
WHERE store_id = $1 AND node_id = $2 AND NOT tombstoned

-- name: list_queued
SELECT enqueue_seq, source_key, delivery_policy, slot_policy, merge_key, available_at, enqueued_at, payloads
FROM leasehold.batch WHERE store_id = $1 AND session_id = $2 ORDER BY enqueue_seq

-- name: meta_put
INSERT INTO leasehold.session_meta (store_id, session_id, session_name, created_at, model, cwd, relation)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (store_id) DO UPDATE SET
    session_id = excluded.session_id, session_name = excluded.session_name, created_at = excluded.created_at,
    model = excluded.model, cwd = excluded.cwd, relation = excluded.relation

-- name: meta_get
SELECT session_id, session_name, created_at, model, cwd, relation FROM leasehold.session_meta WHERE store_id = $1

-- name: record_intent
INSERT INTO leasehold.attachment (store_id, attachment_id, session_id, canonical_uri, intent_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING

-- name: list_uncommitted
SELECT attachment_id, session_id, canonical_uri, intent_at FROM leasehold.attachment
WHERE store_id = $1 AND committed_at IS NULL AND intent_at <= $2 ORDER BY intent_at
