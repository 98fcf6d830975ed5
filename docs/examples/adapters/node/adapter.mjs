// The adapter: leasehold's protocol on standard input and output, in front of the store beside it. Run it with
//
//   leasehold check -- node adapter.mjs

import { createInterface } from "node:readline";
import { LATEST, MemoryStore, Refusal } from "./store.mjs";

let now = 0; // the virtual clock: only the command `clock` moves it
const stores = new Map(); // label -> store
const handles = new Map(); // handle -> store; in memory, several handles are one object

/** One line for each operation: which method it is, and its arguments in order. */
const operations = {
  load_session: (s, a) => s.loadSession(a.scope),
  load_node: (s, a) => s.loadNode(a.node_id),
  commit_runtime_state: (s, a) => s.commit(a.commit),
  try_claim_session_execution_lease: (s, a) => s.tryClaimLease(a.session_id, a.owner_id, a.lease_ttl_ms),
  renew_session_execution_lease: (s, a) => s.renewLease(a.fence, a.lease_ttl_ms),
  release_session_execution_lease: (s, a) => s.releaseLease(a.completion),
  enqueue_queued_work: (s, a) => s.enqueue(a.batch),
  claim_ready_queued_work: (s, a) =>
    s.claimReady(a.session_id, a.session_execution_lease, a.owner_id, a.boundary, a.lease_ttl_ms, a.max_batches),
  claim_ready_queued_work_by_batch_ids: (s, a) =>
    s.claimReadyByIds(a.session_id, a.session_execution_lease, a.owner_id, a.boundary, a.lease_ttl_ms, a.batch_ids),
  renew_queued_work_claim: (s, a) => s.renewClaim(a.claim, a.lease_ttl_ms),
  abandon_queued_work_claim: (s, a) => s.abandonClaim(a.claim),
  cancel_queued_work_batch: (s, a) => s.cancel(a.session_id, a.batch_id),
  list_queued_work: (s, a) => s.list(a.session_id),
  list_pending_queued_work: (s, a) => s.listPending(a.session_id),
  save_session_meta: (s, a) => s.saveMeta(a.meta),
  load_session_meta: (s) => s.loadMeta(),
  tombstone_nodes: (s, a) => s.tombstoneNodes(a.ids),
  vacuum: (s) => s.vacuum(),
  gc_unreachable: (s) => s.collectGarbage(),
  record_intent: (s, a) => s.recordIntent(a.intent),
  commit_refs: (s, a) => s.commitRefs(a.session_id, a.attachment_ids),
  list_uncommitted: (s, a) => s.listUncommitted(a.older_than_epoch_ms),
  forget: (s, a) => s.forget(a.attachment_id),
};

const capabilities = {
  tier: "inline",
  manifest: "persistent",
  clock: "virtual",
  handles: 8,
  reopen: false,
  kill: false,
  concurrent: false,
  max_integer: LATEST, // 2^53 - 1: larger ones are not carried exactly by a JavaScript number
  ops: Object.keys(operations),
};

const commands = {
  hello: ({ protocol }) => {
    if (protocol.min > 1 || protocol.max < 1) throw new Error(`protocol 1 is spoken here, not ${protocol.min} to ${protocol.max}`);
    return { ok: { protocol: 1, name: "example-node", version: "1.0.0", language: "javascript", capabilities } };
  },
  create: ({ store }) => {
    stores.set(store, new MemoryStore(() => now));
    return { ok: {} };
  },
  open: ({ store, handle }) => {
    handles.set(handle, found(stores, store));
    return { ok: {} };
  },
  close: ({ handle }) => {
    handles.delete(handle);
    return { ok: {} };
  },
  drop: ({ store }) => {
    stores.delete(store);
    return { ok: {} };
  },
  clock: ({ now_ms }) => {
    now = now_ms;
    return { ok: {} };
  },
  call: ({ handle, op, args }) => {
    const store = found(handles, handle);
    if (!Object.hasOwn(operations, op)) return { skip: { reason: `this store has no ${op}` } };
    try {
      return { ok: operations[op](store, args) ?? null };
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return { err: { code: error.code, message: error.message, ...error.details } };
    }
  },
  bye: () => ({ ok: {} }),
};

function found(map, label) {
  if (!map.has(label)) throw new Error(`nothing is called ${label}`);
  return map.get(label);
}

function answer(request) {
  try {
    return commands[request.cmd](request);
  } catch (error) {
    // Whatever fails here is this program's fault, not the store's answer. A store over a network would have a case before
    // this one: a lost connection or a timeout in the middle of a call is { unknown: { message } }.
    return { fault: { message: String(error), trace: error.stack } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  process.stdout.write(JSON.stringify({ seq: request.seq, ...answer(request) }) + "\n");
  if (request.cmd === "bye") break;
}
process.stdin.destroy(); // an open pipe would keep the process alive
