// A store in memory. It knows the contract (docs/reference.md), whose rules are cited by number, and nothing of the protocol.
//
// Records are plain objects with the contract's member names, never changed once they were given out. One call runs to its end
// before the next begins, so every method is atomic as long as all its checks come before its first change.
//
// Where the contract lets a store choose, this one does what a Map does: setting a key again replaces the value and keeps
// its place (P-NODE-DUPLICATE replace, P-NODE-REVIVE revive, both in-place). Elsewhere it does what is recommended.

import { createHash, randomUUID } from "node:crypto";

/** The latest time there is: the largest integer that a number carries exactly (LAW-14). */
export const LATEST = Number.MAX_SAFE_INTEGER;

const PARTS = ["tool_state", "plugin_snapshot", "execution_state"];
const TOKENS = ["input_tokens", "output_tokens", "cached_input_tokens", "reasoning_tokens"];

/** A definite refusal: nothing happened. `code` is one of the contract's. */
export class Refusal extends Error {
  constructor(code, message, details = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

const leaseExpired = (session_id) => new Refusal("session_execution_lease_expired", `no live lease on ${session_id}`, { session_id });
const claimExpired = ({ session_id, claim_id }) =>
  new Refusal("queued_work_claim_expired", `claim ${claim_id} does not hold these batches`, { session_id, claim_id });
const turnConflict = ({ session_id, turn_id }) =>
  new Refusal("runtime_turn_commit_conflict", `turn ${turn_id} was committed otherwise`, { session_id, turn_id });
const invalid = (field, message) => new Refusal("invalid_request", `${field}: ${message}`, { field });

const later = (now, ttl) => Math.min(now + ttl, LATEST);
const isLive = (held, now) => held != null && held.expires_at_epoch_ms > now;
const isDue = (at, now) => at <= now;
const sameKey = (a, b) => (a.group ?? a) === (b.group ?? b) && typeof a === typeof b;

function natural(value, field) {
  if (!Number.isSafeInteger(value) || value < 0) throw invalid(field, `an integer from 0 to ${LATEST} is due, not ${value}`);
}

function named(value, field) {
  if (typeof value !== "string" || value === "") throw invalid(field, "a text that is not empty is due");
}

export class MemoryStore {
  #now;
  #lanes = new Map(); // session_id -> { fencing, lease }; the counter outlives the lease (LAW-3)
  #head = null;
  #nodes = new Map(); // node_id -> node, in storage order, hidden ones included
  #hidden = new Set(); // tombstoned node ids
  #bodies = new Map(); // content reference -> body
  #ledger = new Map(); // [source, model] -> usage row
  #stamps = new Map(); // [session_id, turn_id] -> { hash, result }
  #queues = new Map(); // session_id -> Map of batch_id -> { batch, fencing, claim }, by enqueue_seq
  #enqueued = 0;
  #manifest = new Map(); // [session_id, attachment_id] -> manifest entry
  #meta = null;

  /** @param {() => number} now milliseconds since the epoch */
  constructor(now) {
    this.#now = now;
  }

  // ---- leases

  tryClaimLease(session_id, owner_id, ttl) {
    named(session_id, "session_id");
    named(owner_id, "owner_id");
    natural(ttl, "lease_ttl_ms");
    const now = this.#now();
    const lane = this.#lanes.get(session_id) ?? { fencing: 0, lease: null };
    const expires = later(now, ttl);
    if (!isLive(lane.lease, now)) {
      const fencing = lane.fencing + 1; // LEASE-1
      const lease = { session_id, owner_id, lease_token: randomUUID(), fencing_token: fencing };
      return this.#setLease(fencing, { ...lease, claimed_at_epoch_ms: now, expires_at_epoch_ms: expires });
    }
    if (lane.lease.owner_id !== owner_id) return null; // LEASE-3
    return this.#setLease(lane.fencing, { ...lane.lease, expires_at_epoch_ms: Math.max(lane.lease.expires_at_epoch_ms, expires) });
  }

  renewLease(fence, ttl) {
    natural(ttl, "lease_ttl_ms");
    const now = this.#now();
    const lease = this.#liveLease(fence.session_id, fence, now); // LEASE-5
    return this.#setLease(lease.fencing_token, { ...lease, expires_at_epoch_ms: later(now, ttl) });
  }

  releaseLease(fence) {
    const lane = this.#lanes.get(fence.session_id);
    if (this.#names(fence, lane?.lease)) lane.lease = null; // LEASE-6; else LEASE-7: nothing
  }

  #setLease(fencing, lease) {
    this.#lanes.set(lease.session_id, { fencing, lease });
    return lease;
  }

  #names(fence, lease) {
    return lease != null && ["owner_id", "lease_token", "fencing_token"].every((member) => fence[member] === lease[member]);
  }

  /** The session's lease if the fence names it and it is live; else refused (COMMIT-5, QUEUE-4). */
  #liveLease(session_id, fence, now) {
    const lease = this.#lanes.get(session_id)?.lease;
    if (fence?.session_id !== session_id || !this.#names(fence, lease) || !isLive(lease, now)) throw leaseExpired(session_id);
    return lease;
  }

  // ---- the commit

  commit(commit) {
    const { session_id, turn_commit: stamp, graph, checkpoint } = commit;
    named(session_id, "session_id");
    const now = this.#now();
    if (this.#head && this.#head.session_id !== session_id) {
      const details = { bound_session_id: this.#head.session_id, attempted_session_id: session_id }; // COMMIT-1
      throw new Refusal("session_binding_mismatch", `this store is bound to ${this.#head.session_id}`, details);
    }
    const known = stamp && this.#stamps.get(JSON.stringify([session_id, stamp.turn_id]));
    if (stamp && stamp.session_id !== session_id) throw turnConflict(stamp); // COMMIT-2
    if (known && known.hash !== stamp.turn_commit_hash) throw turnConflict(stamp); // COMMIT-3
    if (known) {
      if (commit.release_session_execution_lease) this.releaseLease(commit.release_session_execution_lease);
      return known.result; // COMMIT-4
    }
    this.#liveLease(session_id, commit.session_execution_lease, now); // COMMIT-5
    const actual = this.#head?.head_revision ?? 0;
    const expected = commit.expected_head_revision ?? actual;
    if (expected !== actual) {
      throw new Refusal("head_revision_conflict", `expected revision ${expected}, it is ${actual}`, { expected, actual }); // COMMIT-6
    }
    const done = this.#checkCompletions(session_id, commit.completed_queue_claims); // COMMIT-7
    const nodes = this.#checkGraph(graph);
    const ledger = this.#addUp(commit.usage_deltas);
    const { manifest, bodies } = this.#resolve(checkpoint);

    // COMMIT-8: nothing is refused from here on.
    const checkpoint_ref = refOf("checkpoint", manifest);
    const { config, agent_frames, current_agent_frame_id } = commit;
    const { leaf_node_id = null } = Object.values(graph)[0];
    this.#head = { session_id, head_revision: actual + 1, config, agent_frames, current_agent_frame_id, leaf_node_id, checkpoint_ref, manifest };
    if (graph.ReplaceFull) {
      this.#nodes.clear();
      this.#hidden.clear();
    }
    for (const node of nodes) {
      this.#nodes.set(node.node_id, node);
      this.#hidden.delete(node.node_id);
    }
    for (const [ref, body] of bodies) this.#bodies.set(ref, body);
    this.#ledger = ledger;
    for (const batch_id of done) this.#queue(session_id).delete(batch_id);
    this.commitRefs(session_id, commit.committed_attachment_ids);
    const result = { head_revision: actual + 1, checkpoint_ref, manifest };
    if (stamp) this.#stamps.set(JSON.stringify([session_id, stamp.turn_id]), { hash: stamp.turn_commit_hash, result });
    if (commit.release_session_execution_lease) this.releaseLease(commit.release_session_execution_lease);
    return result;
  }

  /** COMMIT-7: the ids of all batches that are done. */
  #checkCompletions(session_id, completions) {
    const done = new Set();
    for (const completion of completions) {
      const ids = new Set(completion.batch_ids);
      if (completion.session_id !== session_id) throw claimExpired(completion);
      const held = this.#heldBy(completion).map((entry) => entry.batch.batch_id);
      if (![...ids].every((id) => held.includes(id))) throw claimExpired(completion);
      if (ids.size !== completion.batch_ids.length) throw invalid("batch_ids", "a batch is named twice");
      if (ids.size === 0 || ids.size < held.length) throw invalid("batch_ids", "every batch of the claim has to be named");
      if ([...ids].some((id) => done.has(id))) throw invalid("completed_queue_claims", "a claim is completed twice");
      ids.forEach((id) => done.add(id));
    }
    return done;
  }

  /** The nodes that the delta brings, if its leaf will be visible (P-LEAF-UNKNOWN refuse). */
  #checkGraph(graph) {
    const { nodes = [], leaf_node_id = null } = Object.values(graph)[0];
    const stays = !graph.ReplaceFull && this.loadNode(leaf_node_id) !== null;
    if (leaf_node_id !== null && !stays && !nodes.some((node) => node.node_id === leaf_node_id)) {
      throw invalid("leaf_node_id", `${leaf_node_id} names no visible node`);
    }
    return nodes;
  }

  /** LAW-8: the ledger with these rows added. */
  #addUp(rows) {
    const ledger = new Map(this.#ledger);
    for (const { source, model, usage } of rows) {
      const key = JSON.stringify([source, model]);
      const before = ledger.get(key)?.usage;
      const sum = Object.fromEntries(TOKENS.map((name) => [name, (before?.[name] ?? 0) + usage[name]]));
      if (!Object.values(sum).every(Number.isSafeInteger)) throw invalid("usage_deltas", "the sum cannot be kept exactly");
      ledger.set(key, { source, model, usage: sum });
    }
    return ledger;
  }

  /** COMMIT-10: a body gets a reference; a reference alone keeps its body. */
  #resolve(checkpoint) {
    const { turn_state, plugin_snapshot_revision = null } = checkpoint;
    const manifest = { turn_state, plugin_snapshot_revision };
    const bodies = [];
    for (const part of PARTS) {
      const body = checkpoint[part] ?? null;
      const ref = body === null ? (checkpoint[`${part}_ref`] ?? null) : refOf(part, body);
      if (body !== null) bodies.push([ref, body]);
      else if (ref !== null && !this.#bodies.has(ref)) throw invalid(`${part}_ref`, `${ref} names nothing`);
      manifest[`${part}_ref`] = ref;
    }
    return { manifest, bodies };
  }

  // ---- graph and loads

  /** @param {{full_graph: object} | {active_path: {leaf_node_id?: string}}} scope */
  loadSession(scope) {
    if (this.#head === null) return null; // GRAPH-2
    const { manifest, leaf_node_id, ...head } = this.#head;
    const checkpoint = { ...manifest };
    for (const part of PARTS) checkpoint[part] = this.#bodies.get(manifest[`${part}_ref`]) ?? null;
    return { ...head, graph: this.#graph(scope, leaf_node_id), checkpoint, token_ledger: [...this.#ledger.values()] };
  }

  #graph(scope, head_leaf) {
    if (!scope.active_path) {
      const nodes = [...this.#nodes.values()].filter((node) => !this.#hidden.has(node.node_id));
      return { nodes, leaf_node_id: head_leaf }; // GRAPH-3
    }
    const leaf_node_id = scope.active_path.leaf_node_id ?? head_leaf; // GRAPH-4
    const path = new Set();
    let node = this.loadNode(leaf_node_id);
    while (node && !path.has(node)) {
      path.add(node);
      node = this.loadNode(node.parent_node_id);
    }
    return { nodes: [...path].reverse(), leaf_node_id };
  }

  loadNode(node_id) {
    return this.#hidden.has(node_id) ? null : (this.#nodes.get(node_id) ?? null); // GRAPH-5
  }

  tombstoneNodes(ids) {
    for (const id of ids) if (this.#nodes.has(id)) this.#hidden.add(id); // GRAPH-6
  }

  vacuum() {
    const removed_node_count = this.#hidden.size; // GRAPH-7
    for (const id of this.#hidden) this.#nodes.delete(id);
    this.#hidden.clear();
    return { removed_node_count };
  }

  collectGarbage() {
    const before = this.#bodies.size; // GRAPH-9
    const kept = new Set(PARTS.map((part) => this.#head?.manifest[`${part}_ref`]));
    for (const ref of [...this.#bodies.keys()]) if (!kept.has(ref)) this.#bodies.delete(ref);
    const left = this.#bodies.size;
    return { root_count: this.#head ? 1 : 0, retained_blob_count: left, deleted_blob_count: before - left };
  }

  // ---- queued work

  enqueue(draft) {
    named(draft.session_id, "session_id");
    natural(draft.available_at_ms, "available_at_ms");
    const queue = this.#queue(draft.session_id);
    const source_key = draft.source_key ?? null;
    const known = [...queue.values()].find(({ batch }) => source_key !== null && batch.source_key === source_key);
    if (known) return known.batch; // QUEUE-2
    const { payloads, ...rest } = draft;
    const items = payloads.map((payload) => ({ item_id: randomUUID(), payload }));
    const enqueue_seq = ++this.#enqueued; // QUEUE-1
    const batch = { ...rest, source_key, batch_id: randomUUID(), enqueue_seq, enqueued_at_ms: this.#now(), items };
    queue.set(batch.batch_id, { batch, fencing: 0, claim: null });
    return batch;
  }

  claimReady(session_id, fence, owner_id, boundary, ttl, max) {
    natural(max, "max_batches");
    natural(ttl, "lease_ttl_ms");
    if (max === 0) return null; // P-ZERO-BEFORE-LEASE none-first
    const now = this.#now();
    this.#liveLease(session_id, fence, now);
    return this.#grant(session_id, owner_id, ttl, now, this.#ready(session_id, boundary, max, now));
  }

  claimReadyByIds(session_id, fence, owner_id, boundary, ttl, batch_ids) {
    natural(ttl, "lease_ttl_ms");
    if (batch_ids.length === 0) return null;
    const now = this.#now();
    this.#liveLease(session_id, fence, now);
    const run = this.#ready(session_id, boundary, batch_ids.length, now);
    const same = run.length === batch_ids.length && run.every(({ batch }, index) => batch.batch_id === batch_ids[index]);
    return same ? this.#grant(session_id, owner_id, ttl, now, run) : null; // QUEUE-10
  }

  /** What a claim takes now: QUEUE-5 to QUEUE-7, P-JOIN-GAP skip. */
  #ready(session_id, boundary, max, now) {
    const candidates = [...this.#queue(session_id).values()].filter(
      ({ batch, claim }) => isDue(batch.available_at_ms, now) && !isLive(claim, now),
    );
    if (candidates.length === 0) return [];
    const head = candidates[0].batch;
    if (boundary === "active_turn_checkpoint" && head.delivery_policy !== "earliest_safe_boundary") return [];
    if (head.slot_policy === "exclusive") return [candidates[0]];
    const joins = ({ batch }) =>
      batch.slot_policy === "join" && batch.delivery_policy === head.delivery_policy && sameKey(batch.merge_key, head.merge_key);
    const end = candidates.findIndex((entry) => !joins(entry));
    return candidates.slice(0, Math.min(max, end === -1 ? candidates.length : end));
  }

  #grant(session_id, owner_id, ttl, now, run) {
    if (run.length === 0) return null;
    const fencing_token = Math.max(...run.map((entry) => entry.fencing)) + 1; // QUEUE-8, P-CLAIM-FENCE max
    const ids = { session_id, claim_id: randomUUID(), owner_id, lease_token: randomUUID(), fencing_token };
    const claim = { ...ids, claimed_at_epoch_ms: now, expires_at_epoch_ms: later(now, ttl) };
    for (const entry of run) Object.assign(entry, { claim, fencing: fencing_token });
    return { ...claim, batches: run.map((entry) => entry.batch) };
  }

  /** The entries that are still held under a claim, live or expired. */
  #heldBy({ session_id, claim_id, lease_token }) {
    const entries = [...this.#queue(session_id).values()];
    return entries.filter(({ claim }) => claim?.claim_id === claim_id && claim.lease_token === lease_token);
  }

  renewClaim(claim, ttl) {
    natural(ttl, "lease_ttl_ms");
    const held = this.#heldBy(claim);
    const ids = new Set(held.map((entry) => entry.batch.batch_id));
    if (held.length === 0 || !claim.batches.every((batch) => ids.has(batch.batch_id))) throw claimExpired(claim); // QUEUE-11
    const renewed = { ...held[0].claim, expires_at_epoch_ms: later(this.#now(), ttl) };
    for (const entry of held) entry.claim = renewed;
    return { ...renewed, batches: held.map((entry) => entry.batch) };
  }

  abandonClaim(claim) {
    for (const entry of this.#heldBy(claim)) entry.claim = null; // QUEUE-12
  }

  cancel(session_id, batch_id) {
    const entry = this.#queue(session_id).get(batch_id);
    if (!entry || isLive(entry.claim, this.#now())) return null; // QUEUE-13
    this.#queue(session_id).delete(batch_id);
    return entry.batch;
  }

  list(session_id) {
    return [...this.#queue(session_id).values()].map((entry) => entry.batch); // QUEUE-3
  }

  listPending(session_id) {
    const now = this.#now();
    return [...this.#queue(session_id).values()].filter(({ claim }) => !isLive(claim, now)).map((entry) => entry.batch);
  }

  #queue(session_id) {
    if (!this.#queues.has(session_id)) this.#queues.set(session_id, new Map());
    return this.#queues.get(session_id);
  }

  // ---- attachments and metadata

  recordIntent(intent) {
    const key = JSON.stringify([intent.session_id, intent.attachment_id]);
    if (!this.#manifest.has(key)) this.#manifest.set(key, { ...intent, committed_at_epoch_ms: null }); // ATTACH-1, first-wins
  }

  commitRefs(session_id, attachment_ids) {
    const now = this.#now();
    for (const attachment_id of attachment_ids) {
      const key = JSON.stringify([session_id, attachment_id]);
      const row = this.#manifest.get(key);
      if (row && row.committed_at_epoch_ms === null) this.#manifest.set(key, { ...row, committed_at_epoch_ms: now }); // ATTACH-2
    }
  }

  listUncommitted(older_than) {
    const rows = [...this.#manifest.values()];
    return rows.filter((row) => row.committed_at_epoch_ms === null && isDue(row.intent_at_epoch_ms, older_than)); // ATTACH-3
  }

  forget(attachment_id) {
    for (const [key, row] of [...this.#manifest]) if (row.attachment_id === attachment_id) this.#manifest.delete(key); // ATTACH-4
  }

  saveMeta(meta) {
    this.#meta = meta;
  }

  loadMeta() {
    return this.#meta;
  }
}

function refOf(kind, content) {
  return `${kind}:${createHash("sha256").update(JSON.stringify(content)).digest("hex")}`;
}
