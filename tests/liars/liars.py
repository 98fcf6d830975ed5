"""Stores that are wrong, each by one small difference from a right one, and the rules that a fair reader would say it breaks.

Most are patches of a right store's source; see `patching`. ``rules`` was decided from the contract, not from what the check says.
"""

from __future__ import annotations

from typing import Any, Literal

from attrs import field, frozen

from tests.liars import wrappers
from tests.liars.lossy import BurntLoss, HalfLoss, Loss, TwiceLoss, UndoneLoss, UnkeyedLoss, UnstampedLoss, lossy
from tests.liars.patching import Factory, File, Patch, patched


@frozen
class Liar:
    """A wrong store. Without patches it is a wrapper.

    ``needs``: what it takes to show that it is wrong, beside calls one after the other. ``target``: its name on a command line, for
    stores that another process has to open.
    """

    name: str
    why: str
    rules: tuple[str, ...]
    store: Literal["memory", "sqlite"]
    patches: tuple[Patch, ...] = ()
    wrapper: Any = field(default=None, repr=False)
    needs: Literal["", "race", "kill", "lost", "clock"] = ""
    target: str = ""

    def factory(self) -> Factory:
        """Opens such stores."""
        return patched(self.name, self.store, self.patches) if self.patches else self.wrapper


def memory(name: str, why: str, rules: str, *edits: str, file: File = "memory.py") -> Liar:
    """A memory store with edits: a fragment, then what takes its place, and so on."""
    return Liar(name, why, tuple(rules.split()), "memory", _patches(file, edits))


def sqlite(name: str, why: str, rules: str, *edits: str) -> Liar:
    """A SQLite store with edits of its code."""
    return Liar(name, why, tuple(rules.split()), "sqlite", _patches("sqlite.py", edits))


def sql(name: str, why: str, rules: str, *edits: str) -> Liar:
    """A SQLite store with edits of its statements."""
    return Liar(name, why, tuple(rules.split()), "sqlite", _patches("sqlite.sql", edits))


def lost(name: str, why: str, rules: str, kind: type[Loss]) -> Liar:
    """A memory store that loses one answer in ten, and then does something else than once or never."""
    return wrapped(name, why, rules, "memory", lossy(kind, 0.1))


def wrapped(name: str, why: str, rules: str, store: Literal["memory", "sqlite"], wrapper: Any) -> Liar:
    """A right store with something around it."""
    return Liar(name, why, tuple(rules.split()), store, wrapper=wrapper)


def _patches(file: File, edits: tuple[str, ...]) -> tuple[Patch, ...]:
    return tuple(Patch(file, old, new) for old, new in zip(edits[0::2], edits[1::2], strict=True))


_GRANT_IF = "if lease is None or not _live(lease.expires_at_epoch_ms, now):\n                return self._grant("
_RENEW_IF = (
    "lease = self._held_lease(fence)\n"
    "            if lease is None or not _live(lease.expires_at_epoch_ms, now):\n"
    "                raise"
)
_FENCE_IF = "lease = self._held_lease(fence)\n            if lease is not None and _live(lease.expires_at_epoch_ms, now):\n"
_FENCE_CALL = "            self._check_fence(commit.session_id, commit.session_execution_lease, now)\n"
_RELEASE = (
    "        if completion is not None and self._held_lease(completion) is not None:\n"
    "            del self._state.leases[completion.session_id]\n"
)
_REPLAY = "                self._release(commit.release_session_execution_lease)\n                return stamped\n"
_SATURATE = "return min(now + ttl, MAX_MS)"
_RENEW_CLAIM_IF = "            if held is None or not all(batch.batch_id in held.entries for batch in claim.batches):\n"
_REMOVE = "                queue.remove(queue.entries[batch_id])\n"
_COMPLETE = "        self._complete(commit.session_id, commit.completed_queue_claims)\n"
_BY_IDS = (
    "            if [entry.batch.batch_id for entry in run] != list(batch_ids):\n"
    "                return None\n"
    "            return self._claim(session_id, owner_id, run, lease_ttl_ms, now)\n"
)

LEASES = (
    memory(
        "grants-too-late",
        "at the instant of expiry a lane still counts as held",
        "LEASE-1 LAW-4",
        _GRANT_IF,
        "if lease is None or lease.expires_at_epoch_ms < now:\n                return self._grant(",
    ),
    memory(
        "grants-too-early",
        "a lane counts as free a second before its lease expires",
        "LEASE-3 LAW-2 LEASE-2",
        _GRANT_IF,
        "if lease is None or not _live(lease.expires_at_epoch_ms - 1_000, now):\n                return self._grant(",
    ),
    memory(
        "shares-lane",
        "a stranger is let in when the lease was claimed a minute ago or more",
        "LEASE-3 LAW-2",
        "            if lease.owner_id == owner_id:\n                return self._reenter(",
        "            if lease.owner_id == owner_id or now - lease.claimed_at_epoch_ms >= 60_000:\n"
        "                return self._reenter(",
    ),
    memory(
        "busy-is-an-error",
        "a live lane of another owner is an error instead of None",
        "LEASE-3",
        "            return None  # LEASE-3\n",
        "            raise SessionExecutionLeaseExpired(session_id=session_id)\n",
    ),
    memory(
        "renews-expired",
        "a renewal looks at the tokens and not at the expiry",
        "LEASE-5",
        _RENEW_IF,
        "lease = self._held_lease(fence)\n            if lease is None:\n                raise",
    ),
    memory(
        "renews-any-fence",
        "a renewal looks at the lane's lease and not at the fence",
        "LEASE-5",
        _RENEW_IF,
        "lease = self._state.leases.get(fence.session_id)\n"
        "            if lease is None or not _live(lease.expires_at_epoch_ms, now):\n                raise",
    ),
    memory(
        "failed-renewal-extends",
        "a renewal with a stale fence is refused, but extends the live lease",
        "LAW-1 LEASE-5",
        "                raise SessionExecutionLeaseExpired(session_id=fence.session_id)\n",
        "                current = self._state.leases.get(fence.session_id)\n"
        "                if current is not None and _live(current.expires_at_epoch_ms, now):\n"
        "                    self._set_expiry(current, max(current.expires_at_epoch_ms, _expiry(now, lease_ttl_ms)))\n"
        "                raise SessionExecutionLeaseExpired(session_id=fence.session_id)\n",
    ),
    memory(
        "renewal-never-shortens",
        "a renewal keeps the later expiry, as a re-entry may",
        "LEASE-4",
        "            return self._set_expiry(lease, _expiry(now, lease_ttl_ms))\n",
        "            return self._set_expiry(lease, max(lease.expires_at_epoch_ms, _expiry(now, lease_ttl_ms)))\n",
    ),
    memory(
        "renewal-returns-nothing",
        "a renewal that must be refused answers None",
        "LEASE-5 LAW-15",
        "                raise SessionExecutionLeaseExpired(session_id=fence.session_id)\n",
        "                return None\n",
    ),
    memory(
        "rotates-on-reentry",
        "a re-entry is a fresh grant",
        "LEASE-2",
        "        return self._set_expiry(lease, max(lease.expires_at_epoch_ms, _expiry(now, ttl)))\n",
        "        return self._grant(lease.session_id, lease.owner_id, ttl, now)\n",
    ),
    memory(
        "reentry-adds-up",
        "a re-entry adds its ttl to the old expiry: none of the options of P-REENTRY",
        "LEASE-2",
        "        return self._set_expiry(lease, max(lease.expires_at_epoch_ms, _expiry(now, ttl)))\n",
        "        return self._set_expiry(lease, _expiry(lease.expires_at_epoch_ms, ttl))\n",
    ),
    memory(
        "reentry-flips",
        "a re-entry extends only, but may shorten when less than an hour is left",
        "LEASE-2",
        "        return self._set_expiry(lease, max(lease.expires_at_epoch_ms, _expiry(now, ttl)))\n",
        "        left = lease.expires_at_epoch_ms - now\n"
        "        return self._set_expiry(lease, max(lease.expires_at_epoch_ms * (left > 3_600_000), _expiry(now, ttl)))\n",
    ),
    memory(
        "releases-by-owner",
        "a release looks at the owner only, so an old one clears a newer lease",
        "LEASE-7 COMMIT-8 COMMIT-4",
        "self._held_lease(completion) is not None:\n            del",
        "getattr(self._state.leases.get(completion.session_id), 'owner_id', None) == completion.owner_id:\n            del",
    ),
    memory(
        "fencing-reset-on-release",
        "the fencing counter goes with the lease",
        "LAW-3 LEASE-6",
        _RELEASE,
        _RELEASE + "            del self._state.lane_fencing[completion.session_id]\n",
    ),
    memory(
        "fencing-kept-on-takeover",
        "who takes over an expired lease gets its fencing token too",
        "LAW-3 LEASE-1",
        "fencing_token = state.lane_fencing.get(session_id, 0) + 1\n",
        "fencing_token = max(1, state.lane_fencing.get(session_id, 0) + (session_id not in state.leases))\n",
    ),
    memory(
        "times-wrap",
        "now + ttl wraps around in 64 signed bits",
        "LAW-14",
        _SATURATE,
        "return (now + ttl + 2**63) % 2**64 - 2**63",
    ),
    memory("times-are-floats", "now + ttl goes through a double", "LAW-14", _SATURATE, "return min(int(float(now + ttl)), MAX_MS)"),
    memory(
        "ttl-in-32-bits",
        "a ttl beyond 32 bits loses its upper part",
        "LAW-14 LEASE-1 QUEUE-8",
        _SATURATE,
        "return min(now + (ttl & 0xFFFFFFFF), MAX_MS)",
    ),
)

COMMITS = (
    memory("commit-not-fenced", "a commit needs no lease", "COMMIT-5", _FENCE_CALL, ""),
    memory(
        "fence-without-expiry",
        "the fence of a commit or claim is compared, its expiry ignored",
        "COMMIT-5 QUEUE-4",
        _FENCE_IF,
        "lease = self._held_lease(fence)\n            if lease is not None:\n",
    ),
    memory(
        "fence-by-owner",
        "of the fence of a commit or claim only the owner is compared",
        "COMMIT-5 QUEUE-4",
        _FENCE_IF,
        "lease = self._state.leases.get(session_id)\n"
        "            if lease is not None and lease.owner_id == fence.owner_id and _live(lease.expires_at_epoch_ms, now):\n",
    ),
    memory(
        "fence-of-any-session",
        "the live lease of another session does as well",
        "COMMIT-5 QUEUE-4 LAW-9",
        "        if fence is not None and fence.session_id == session_id:\n",
        "        if fence is not None:\n",
    ),
    memory(
        "binds-when-refused",
        "the first commit binds the store, also when it is refused",
        "COMMIT-1 LAW-1",
        "        head = self._state.head\n        if head is not None and head.session_id != commit.session_id:\n"
        "            raise SessionBindingMismatch(bound_session_id=head.session_id,",
        "        bound = vars(self._state).setdefault('bound', commit.session_id)\n        if bound != commit.session_id:\n"
        "            raise SessionBindingMismatch(bound_session_id=bound,",
    ),
    memory(
        "never-binds",
        "any session may commit to the head",
        "COMMIT-1",
        "        if head is not None and head.session_id != commit.session_id:\n",
        "        if head is None and head is not None:\n",
    ),
    memory(
        "stamp-of-any-session",
        "a stamp's session is not compared with the commit's",
        "COMMIT-2",
        "        if stamp.session_id != session_id:  # COMMIT-2\n",
        "        if not stamp.session_id:\n",
    ),
    memory(
        "replay-ignores-hash",
        "a turn is known by its id, whatever its hash",
        "COMMIT-3",
        "        if stored[0] != stamp.turn_commit_hash:  # COMMIT-3\n",
        "        if not stored[0]:\n",
    ),
    memory(
        "stamp-not-stored",
        "a stamped commit is not remembered",
        "COMMIT-4 LAW-7 COMMIT-8",
        "            self._state.stamps[stamp.session_id, stamp.turn_id] = (stamp.turn_commit_hash, result)\n",
        "            pass\n",
    ),
    memory(
        "replay-needs-lease",
        "the fence is looked at before the stamp",
        "COMMIT-4 COMMIT-3 COMMIT-2",
        _FENCE_CALL,
        "",
        "            stamped = self._stamped_result(",
        _FENCE_CALL + "            stamped = self._stamped_result(",
    ),
    memory(
        "replay-keeps-lease",
        "a replay does not release the lease it names",
        "COMMIT-4 LAW-7",
        _REPLAY,
        "                return stamped\n",
    ),
    memory(
        "replay-counts-usage",
        "a replay adds its usage once more",
        "LAW-7 LAW-8 COMMIT-4",
        _REPLAY,
        "                self._add_usage(commit.usage_deltas)\n" + _REPLAY,
    ),
    memory(
        "replay-says-now",
        "a replay returns the current revision",
        "COMMIT-4 LAW-7",
        _REPLAY,
        _REPLAY.replace("return stamped", "return CommitResult(self._revision(), stamped.checkpoint_ref, stamped.manifest)"),
    ),
    memory(
        "cas-one-sided",
        "an expected revision may be ahead of the actual one",
        "COMMIT-6",
        "        if expected is not None and expected != actual:\n",
        "        if expected is not None and expected < actual:\n",
    ),
    memory(
        "no-expectation-means-zero",
        "a commit without an expected revision has to be the first",
        "COMMIT-6",
        "        if expected is not None and expected != actual:\n",
        "        if (expected or 0) != actual:\n",
    ),
    memory(
        "conflict-details-swapped",
        "a revision conflict reports expected and actual the wrong way round",
        "COMMIT-6",
        "            raise HeadRevisionConflict(expected=expected, actual=actual)\n",
        "            raise HeadRevisionConflict(expected=actual, actual=expected)\n",
    ),
    memory(
        "completion-counted",
        "a completion's batches are counted, and the claim's are completed whatever was named",
        "COMMIT-7 LAW-5",
        "not all(batch_id in held.entries for batch_id in named):",
        "len(named) > len(held.entries):",
        "            for batch_id in completion.batch_ids:\n                queue.remove(queue.entries[batch_id])\n",
        "            for entry in tuple(queue.claims[completion.claim_id].entries.values()):\n"
        "                queue.remove(entry)\n",
    ),
    memory(
        "claim-token-ignored",
        "a claim is known by its id alone",
        "COMMIT-7 QUEUE-11 QUEUE-12",
        "        return held if held is not None and held.lease_token == lease_token else None\n",
        "        return held\n",
    ),
    memory(
        "completions-one-by-one",
        "each completion is done as soon as it is checked, also when the next is refused",
        "LAW-1 COMMIT-7 LAW-11",
        "            seen.add(completion.claim_id)\n",
        "            seen.add(completion.claim_id)\n            self._complete(commit.session_id, (completion,))\n",
        _COMPLETE,
        "",
    ),
    memory(
        "completes-foreign-claims",
        "a commit may complete another session's claim",
        "COMMIT-7 LAW-9",
        "        if completion.session_id != session_id:\n            raise QueuedWorkClaimExpired(",
        "        if not completion.session_id:\n            raise QueuedWorkClaimExpired(",
        "            queue = self._state.queues[session_id]\n            for batch_id",
        "            queue = self._state.queues[completion.session_id]\n            for batch_id",
    ),
    memory(
        "completion-abandons",
        "completed batches become pending again",
        "COMMIT-8 LAW-5",
        _REMOVE,
        "                queue.free(queue.entries[batch_id], self._clock.now_ms())\n",
    ),
    memory(
        "commit-keeps-lease",
        "a commit does not release the lease it names",
        "COMMIT-8",
        "(stamp.turn_commit_hash, result)\n        self._release(commit.release_session_execution_lease)\n",
        "(stamp.turn_commit_hash, result)\n",
    ),
    memory(
        "usage-of-refused",
        "usage is added before the completions are checked",
        "LAW-1 LAW-8 LAW-11",
        "            self._check_completions(commit)\n",
        "            self._add_usage(commit.usage_deltas)\n            self._check_completions(commit)\n",
        "        self._state.bodies.update(bodies)\n        self._add_usage(commit.usage_deltas)\n",
        "        self._state.bodies.update(bodies)\n",
    ),
    memory(
        "attachments-of-refused",
        "attachments are stamped before the revision is compared",
        "LAW-1 LAW-11 ATTACH-2",
        "            self._check_revision(commit.expected_head_revision)\n",
        "            self._stamp_attachments(commit.session_id, commit.committed_attachment_ids, now)\n"
        "            self._check_revision(commit.expected_head_revision)\n",
    ),
    memory(
        "commit-leaves-attachments",
        "a commit does not stamp its attachments",
        "COMMIT-8 ATTACH-2",
        "        self._stamp_attachments(commit.session_id, commit.committed_attachment_ids, now)\n",
        "",
    ),
    memory(
        "unchanged-part-lost",
        "a reference without a body keeps nothing",
        "COMMIT-10",
        'names nothing", field=f"{kind}_ref")\n        return ref\n',
        'names nothing", field=f"{kind}_ref")\n        return None\n',
    ),
    memory(
        "revision-of-snapshot-lost",
        "the plugin snapshot's revision is not stored",
        "COMMIT-8 GRAPH-2 COMMIT-10",
        "        plugin_snapshot_revision=checkpoint.plugin_snapshot_revision,\n",
        "        plugin_snapshot_revision=None,\n",
        file="_common.py",
    ),
    memory(
        "frame-stays",
        "the current agent frame stays what it was at first",
        "COMMIT-8 GRAPH-2",
        "            commit.current_agent_frame_id,\n",
        "            commit.current_agent_frame_id if self._state.head is None else self._state.head.current_agent_frame_id,\n",
    ),
    memory(
        "usage-field-dropped",
        "sums leave out the reasoning tokens",
        "LAW-8",
        "        reasoning_tokens=total.reasoning_tokens + row.reasoning_tokens,\n",
        "        reasoning_tokens=total.reasoning_tokens,\n",
    ),
    memory(
        "usage-by-last-seen",
        "a row that is added to moves to the end of the ledger",
        "LAW-8",
        "            total = ledger.get(key)\n",
        "            total = ledger.pop(key, None)\n",
    ),
    memory(
        "usage-by-model",
        "rows are merged by model alone",
        "LAW-8",
        "            key = (row.source, row.model)\n",
        "            key = ('', row.model)\n",
    ),
)

GRAPHS = (
    memory(
        "node-loads-tombstoned",
        "load_node shows what is tombstoned",
        "GRAPH-5 GRAPH-6",
        "            return self._state.nodes[node_id] if self._is_visible(node_id) else None\n",
        "            return self._state.nodes.get(node_id)\n",
    ),
    memory(
        "path-shows-tombstoned",
        "an active path shows what is tombstoned",
        "GRAPH-6 GRAPH-4",
        "node_id not in path and self._is_visible(node_id)",
        "node_id not in path and node_id in self._state.nodes",
    ),
    memory(
        "full-shows-tombstoned",
        "a full load shows what is tombstoned until the vacuum",
        "GRAPH-6 GRAPH-3",
        "for node_id, node in self._state.nodes.items() if node_id not in self._state.tombstoned)",
        "for node in self._state.nodes.values())",
    ),
    memory(
        "full-leaf-is-last",
        "a full load's leaf is the node stored last",
        "GRAPH-3",
        "        return Graph(nodes, head.leaf_node_id)\n",
        "        return Graph(nodes, nodes[-1].node_id if nodes else None)\n",
    ),
    memory(
        "unchanged-keeps-leaf",
        "a commit with an unchanged graph leaves the leaf as it was",
        "GRAPH-1 GRAPH-3",
        "            commit.graph.leaf_node_id,\n        )\n",
        "            self._state.head.leaf_node_id\n"
        "            if isinstance(commit.graph, Unchanged) and self._state.head is not None\n"
        "            else commit.graph.leaf_node_id,\n        )\n",
    ),
    memory(
        "full-sorted-by-id",
        "a full load is sorted by node id",
        "GRAPH-3",
        "        return Graph(nodes, head.leaf_node_id)\n",
        "        return Graph(tuple(sorted(nodes, key=attrgetter('node_id'))), head.leaf_node_id)\n",
    ),
    memory(
        "path-leaf-first",
        "an active path runs from the leaf to the root",
        "GRAPH-4",
        "        return Graph(tuple(reversed(path.values())), leaf)\n",
        "        return Graph(tuple(path.values()), leaf)\n",
    ),
    memory(
        "path-ignores-leaf",
        "an active path leads to the head's leaf, whichever was asked for",
        "GRAPH-4",
        "        leaf = head.leaf_node_id if leaf_node_id is None else leaf_node_id\n",
        "        leaf = head.leaf_node_id or leaf_node_id\n",
    ),
    memory(
        "path-needs-parents",
        "an active path with a missing parent is an error",
        "GRAPH-4 LAW-13",
        "            node_id = node.parent_node_id\n        return Graph(",
        "            node_id = node.parent_node_id\n"
        "            if node_id is not None and node_id not in self._state.nodes:\n"
        "                raise Backend('a parent is missing')\n        return Graph(",
    ),
    memory(
        "cycle-hangs",
        "an active path through a cycle never ends",
        "LAW-13",
        "node_id not in path and self._is_visible(node_id)",
        "self._is_visible(node_id)",
    ),
    memory(
        "replace-merges",
        "replace_full leaves the other nodes where they are",
        "GRAPH-1",
        "            state.nodes = {}\n            state.tombstoned = set()\n",
        "            state.tombstoned = set()\n",
    ),
    memory(
        "vacuum-counts-again",
        "a vacuum counts what earlier ones removed",
        "GRAPH-7",
        "            return VacuumReport(len(tombstoned))\n",
        "            vars(self._state)['removed'] = vars(self._state).get('removed', 0) + len(tombstoned)\n"
        "            return VacuumReport(vars(self._state)['removed'])\n",
    ),
    memory(
        "vacuum-takes-children",
        "a vacuum removes the children of tombstoned nodes too",
        "GRAPH-7",
        "                del self._state.nodes[node_id]\n",
        "                del self._state.nodes[node_id]\n"
        "            for child in [node for node in self._state.nodes.values() if node.parent_node_id in tombstoned]:\n"
        "                del self._state.nodes[child.node_id]\n",
    ),
    memory(
        "tombstone-raises-revision",
        "hiding nodes raises the head revision",
        "LAW-6 GRAPH-6",
        "            self._state.tombstoned.update(",
        "            if self._state.head is not None:\n"
        "                self._state.head.head_revision += 1\n"
        "            self._state.tombstoned.update(",
    ),
    memory(
        "duplicates-in-append",
        "a node that exists is refused, one given twice in an append replaces itself: two options of P-NODE-DUPLICATE",
        "GRAPH-8",
        '        if repeated is not None:\n            raise InvalidRequest(f"node {repeated!r} is given twice"',
        '        if repeated is not None and not repeated:\n            raise InvalidRequest(f"node {repeated!r} is given twice"',
    ),
    memory(
        "gc-takes-live-parts",
        "garbage collection does not know the execution state",
        "GRAPH-9",
        "    return (manifest.tool_state_ref, manifest.plugin_snapshot_ref, manifest.execution_state_ref)\n",
        "    return (manifest.tool_state_ref, manifest.plugin_snapshot_ref)\n",
        "        return None if ref is None else self._state.bodies[ref]\n",
        "        return self._state.bodies.get(ref)\n",
    ),
)

QUEUES = (
    memory(
        "source-key-global",
        "a source key is looked up in every session",
        "QUEUE-2 LAW-9",
        "                known = queue.by_source_key.get(batch.source_key)\n",
        "                every = (q.by_source_key.get(batch.source_key) for q in self._state.queues.values())\n"
        "                known = next((entry for entry in every if entry is not None), None)\n",
    ),
    memory(
        "source-key-free-when-claimed",
        "the source key of a claimed batch is free",
        "QUEUE-2",
        "                if known is not None:  # QUEUE-2\n",
        "                if known is not None and known.claim is None:\n",
        "            del self.by_source_key[batch.source_key]\n",
        "            self.by_source_key.pop(batch.source_key, None)\n",
    ),
    memory(
        "source-key-updates",
        "a repeated enqueue stores its payload under the first one's ids",
        "QUEUE-2",
        "                    return known.batch\n",
        "                    b = known.batch\n"
        "                    items = tuple([Item(f'{b.batch_id}.{i}', payload) for i, payload in enumerate(batch.payloads)])\n"
        "                    values = {name: getattr(b, name) for name in Batch.__slots__ if name[0] != '_'}\n"
        "                    known.batch = Batch(**(values | {'items': items}))\n"
        "                    return known.batch\n",
    ),
    memory(
        "source-key-flips",
        "a source key is free after a cancellation, but remembered after a completion: two options of P-SOURCE-KEY-REUSE",
        "QUEUE-2",
        _REMOVE,
        "                done = queue.entries[batch_id]\n" + _REMOVE + "                if done.batch.source_key is not None:\n"
        "                    queue.by_source_key[done.batch.source_key] = done\n",
        "            del self.by_source_key[batch.source_key]\n",
        "            self.by_source_key.pop(batch.source_key, None)\n",
    ),
    memory(
        "wakes-repeat",
        "process wakes are queued again and again",
        "QUEUE-14 QUEUE-2",
        "                if known is not None:  # QUEUE-2\n",
        "                if known is not None and not batch.source_key.startswith('process:'):\n",
        "            del self.by_source_key[batch.source_key]\n",
        "            self.by_source_key.pop(batch.source_key, None)\n",
    ),
    memory(
        "callers-time",
        "enqueued_at is the caller's available_at where there is one",
        "QUEUE-1",
        "            enqueued_at_ms=now,\n",
        "            enqueued_at_ms=draft.available_at_ms or now,\n",
    ),
    memory(
        "pending-means-due",
        "what is not yet available is not listed as pending",
        "QUEUE-3",
        "tuple([entry.batch for entry in queue.pending(now)])",
        "tuple([entry.batch for entry in queue.pending(now) if _due(entry.batch.available_at_ms, now)])",
    ),
    memory(
        "pending-forgets-expired",
        "batches of an expired claim are not listed as pending",
        "QUEUE-3 QUEUE-9",
        "        return sorted(chain(self.unclaimed, entries), key=_by_seq) if entries else self.unclaimed\n",
        "        return self.unclaimed\n",
    ),
    memory(
        "boundary-ignored",
        "every boundary is the idle one",
        "QUEUE-6",
        '        if boundary == "active_turn_checkpoint" and',
        '        if boundary == "nowhere" and',
    ),
    memory(
        "boundary-skips",
        "at a checkpoint, work for later is passed over for what follows it",
        "QUEUE-6",
        "        head = next(candidates, None)\n",
        '        if boundary == "active_turn_checkpoint":\n'
        '            candidates = (e for e in candidates if e.batch.delivery_policy == "earliest_safe_boundary")\n'
        "        head = next(candidates, None)\n",
    ),
    memory(
        "exclusive-head-joined",
        "an exclusive batch takes the joining ones behind it along",
        "QUEUE-7",
        '        if head.batch.slot_policy == "exclusive":\n            return run\n',
        "",
    ),
    memory(
        "exclusive-joins",
        "an exclusive batch joins the run before it",
        "QUEUE-7",
        '        return batch.slot_policy == "join" and batch.delivery_policy',
        "        return batch.delivery_policy",
    ),
    memory(
        "merge-key-ignored",
        "batches join across merge keys",
        "QUEUE-7",
        " and batch.merge_key == head.merge_key\n",
        "\n",
    ),
    memory(
        "delivery-ignored",
        "batches join across delivery policies",
        "QUEUE-7",
        " and batch.delivery_policy == head.delivery_policy and",
        " and",
    ),
    memory(
        "never-joins-never",
        "never is not equal to never",
        "QUEUE-7",
        " and batch.merge_key == head.merge_key\n",
        ' and batch.merge_key == head.merge_key != "never"\n',
    ),
    memory(
        "one-too-many",
        "a claim takes one batch more than it may",
        "QUEUE-7",
        "            if len(run) == limit or not",
        "            if len(run) == limit + 1 or not",
    ),
    memory(
        "join-gap-flips",
        "claimed work ends a run, work that is not due does not: two options of P-JOIN-GAP",
        "QUEUE-7",
        "            if len(run) == limit or not",
        "            between = (e.claim for e in queue.everything if run[-1].seq < e.seq < entry.seq)\n"
        "            if any(claim and _live(claim.expires_at, now) for claim in between):\n"
        "                break\n"
        "            if len(run) == limit or not",
    ),
    memory(
        "claim-fence-lowest",
        "a claim's fencing token is above the lowest counter of its batches",
        "LAW-4 QUEUE-8",
        "        fencing_token = max(entry.fencing for entry in run) + 1\n",
        "        fencing_token = min(entry.fencing for entry in run) + 1\n",
    ),
    memory(
        "abandon-resets-fencing",
        "the fencing counter goes when a claim is abandoned",
        "LAW-4 QUEUE-12",
        "        entry.claim = None\n        self.unclaimed.add(entry)\n",
        "        entry.claim = None\n        entry.fencing = 0\n        self.unclaimed.add(entry)\n",
    ),
    memory(
        "claims-too-early",
        "work is claimed before it is due",
        "QUEUE-5",
        "        available_at = entry.batch.available_at_ms\n        return available_at if",
        "        available_at = 0\n        return available_at if",
    ),
    memory(
        "claim-within-lease",
        "a claim ends with the session lease it was taken under",
        "QUEUE-8 QUEUE-9",
        "fencing_token, now, _expiry(now, ttl), {})\n",
        "fencing_token, now, min(_expiry(now, ttl), self._state.leases[session_id].expires_at_epoch_ms), {})\n",
    ),
    memory(
        "release-frees-claims",
        "with the session lease go the claims of that session",
        "QUEUE-9",
        _RELEASE,
        _RELEASE + "            queue = self._state.queues.get(completion.session_id)\n"
        "            for held in tuple(queue.claims.values()) if queue is not None else ():\n"
        "                for entry in tuple(held.entries.values()):\n"
        "                    queue.free(entry, self._clock.now_ms())\n",
    ),
    memory(
        "claim-by-holder-only",
        "only the session lease's owner may claim work",
        "QUEUE-4",
        "            run = self._run(session_id, boundary, max_batches, now)\n",
        "            if owner_id != session_execution_lease.owner_id:\n"
        "                raise SessionExecutionLeaseExpired(session_id=session_id)\n"
        "            run = self._run(session_id, boundary, max_batches, now)\n",
    ),
    memory(
        "dead-lease-no-work",
        "a claim under a dead lease is told that there is no work",
        "QUEUE-4 LAW-15",
        "            self._check_fence(session_id, session_execution_lease, now)\n"
        "            run = self._run(session_id, boundary, max_batches, now)\n",
        "            try:\n"
        "                self._check_fence(session_id, session_execution_lease, now)\n"
        "            except SessionExecutionLeaseExpired:\n"
        "                return None\n"
        "            run = self._run(session_id, boundary, max_batches, now)\n",
    ),
    memory(
        "by-ids-any-order",
        "a claim by ids takes them in any order",
        "QUEUE-10",
        "            if [entry.batch.batch_id for entry in run] != list(batch_ids):\n",
        "            if {entry.batch.batch_id for entry in run} != set(batch_ids):\n",
    ),
    memory(
        "by-ids-holds-what-it-refuses",
        "a claim by ids that is not granted holds the batches all the same",
        "LAW-1 QUEUE-10",
        _BY_IDS,
        "            claim = self._claim(session_id, owner_id, run, lease_ttl_ms, now) if run else None\n"
        "            return claim if [entry.batch.batch_id for entry in run] == list(batch_ids) else None\n",
    ),
    memory(
        "by-ids-anywhere",
        "a claim by ids takes work from behind the front of the queue",
        "QUEUE-10",
        _BY_IDS,
        "            queue = self._state.queues[session_id]\n"
        "            ready = {entry.batch.batch_id: entry for entry in queue.candidates(now)}\n"
        "            if not all(batch_id in ready for batch_id in batch_ids):\n"
        "                return None\n"
        "            run = [ready[batch_id] for batch_id in dict.fromkeys(batch_ids)]\n"
        "            return self._claim(session_id, owner_id, run, lease_ttl_ms, now)\n",
    ),
    memory(
        "failed-claim-renewal-extends",
        "a renewal of a claim that lost a batch is refused, but extends what it still holds",
        "LAW-1 QUEUE-11",
        _RENEW_CLAIM_IF,
        "            if held is not None:\n"
        "                self._state.queues[claim.session_id].extend(held, _expiry(now, lease_ttl_ms), now)\n" + _RENEW_CLAIM_IF,
    ),
    memory(
        "renews-what-is-left",
        "a claim that lost a batch is renewed for the rest",
        "QUEUE-11",
        _RENEW_CLAIM_IF,
        "            if held is None:\n",
    ),
    memory(
        "renewal-flips",
        "an expired claim is renewed if it has one batch only: two options of P-RENEW-EXPIRED",
        "QUEUE-11",
        _RENEW_CLAIM_IF,
        "            if held is not None and len(held.entries) > 1 and not _live(held.expires_at, now):\n"
        "                held = None\n" + _RENEW_CLAIM_IF,
    ),
    memory(
        "renewal-crashes",
        "a renewal of a claim that is gone raises what is no refusal",
        "LAW-15 QUEUE-11",
        "                raise QueuedWorkClaimExpired(session_id=claim.session_id, claim_id=claim.claim_id)\n"
        "            self._state",
        "                raise KeyError(claim.claim_id)\n            self._state",
    ),
    memory(
        "abandons-what-others-hold",
        "an old claim, abandoned, frees its batches from whoever holds them now",
        "QUEUE-12",
        "            if held is None:\n                return\n            queue = self._state.queues[claim.session_id]\n"
        "            for entry in tuple(held.entries.values()):\n",
        "            queue = self._state.queues.get(claim.session_id, _Queue())\n"
        "            for entry in [queue.entries[b.batch_id] for b in claim.batches if b.batch_id in queue.entries]:\n"
        "                if entry.claim is None:\n"
        "                    continue\n",
    ),
    memory(
        "cancels-claimed",
        "a live claim does not protect its batches from being cancelled",
        "QUEUE-13",
        "            if entry.claim is not None and _live(entry.claim.expires_at, now):\n"
        "                return None\n            queue.remove",
        "            queue.remove",
    ),
    memory(
        "cancel-keeps-expired",
        "a batch under an expired claim cannot be cancelled",
        "QUEUE-13 QUEUE-9",
        "            if entry.claim is not None and _live(entry.claim.expires_at, now):\n"
        "                return None\n            queue.remove",
        "            if entry.claim is not None:\n                return None\n            queue.remove",
    ),
)

REST = (
    memory(
        "stamps-others-rows",
        "commit_refs stamps the rows of every session",
        "ATTACH-2 LAW-9",
        "        for attachment_id in attachment_ids:\n"
        "            row = self._state.uncommitted.pop((attachment_id, session_id), None)\n",
        "        pairs = [(a, s) for a in attachment_ids for s in self._state.manifest.get(a, ())]\n"
        "        for attachment_id, session_id in pairs:\n"
        "            row = self._state.uncommitted.pop((attachment_id, session_id), None)\n",
    ),
    memory(
        "steals-rows",
        "another session's intent takes the row over: neither key of P-MANIFEST-KEY",
        "ATTACH-1",
        "            row = _manifest_entry(intent, None)\n            rows[intent.session_id] = row\n",
        "            for other in tuple(rows):\n"
        "                del rows[other]\n"
        "                self._state.uncommitted.pop((intent.attachment_id, other), None)\n"
        "            row = _manifest_entry(intent, None)\n            rows[intent.session_id] = row\n",
    ),
    memory(
        "uncommitted-before",
        "intents of exactly that time are not listed",
        "ATTACH-3",
        "tuple([row for row in rows if _due(row.intent_at_epoch_ms, older_than_epoch_ms)])",
        "tuple([row for row in rows if row.intent_at_epoch_ms < older_than_epoch_ms])",
    ),
    memory(
        "forget-keeps-uncommitted",
        "what is not committed cannot be forgotten",
        "ATTACH-4",
        "                self._state.uncommitted.pop((attachment_id, session_id), None)\n\n\ndef _sum_of",
        "                pass\n\n\ndef _sum_of",
    ),
    memory(
        "forget-unknown-fails",
        "to forget an unknown id is an error",
        "ATTACH-4",
        "            for session_id in self._state.manifest.pop(attachment_id, ()):\n",
        "            if attachment_id not in self._state.manifest:\n"
        "                raise InvalidRequest('no such attachment', field='attachment_id')\n"
        "            for session_id in self._state.manifest.pop(attachment_id, ()):\n",
    ),
    memory(
        "meta-first-save-wins",
        "metadata is saved once",
        "META-1",
        "            self._state.meta = meta\n",
        "            self._state.meta = self._state.meta or meta\n",
    ),
    memory(
        "says-durable",
        "the tier reported is not the one declared",
        "TIER-1",
        '        return "inline"\n',
        '        return "durable"\n',
    ),
)

SQLITE = (
    sql(
        "sql-list-of-all-sessions",
        "the list's WHERE does not name the session",
        "LAW-9 QUEUE-3",
        "FROM batch WHERE session_id = ?\n\n-- name: batch_list_pending",
        "FROM batch WHERE ? IS NOT NULL\n\n-- name: batch_list_pending",
    ),
    sql(
        "sql-order-by-availability",
        "candidates come by available_at, not by enqueue_seq",
        "QUEUE-5 QUEUE-8 QUEUE-7",
        "ORDER BY enqueue_seq\n",
        "ORDER BY available_at, enqueue_seq\n",
    ),
    sql(
        "sql-limit-before-filter",
        "only the first fifty batches are read, and the claimed ones among them left out then",
        "QUEUE-5 QUEUE-7",
        "FROM batch\nWHERE session_id = ? AND state = 0",
        "FROM (SELECT * FROM batch WHERE session_id = ? ORDER BY enqueue_seq LIMIT 50)\nWHERE state = 0",
    ),
    sql(
        "sql-source-key-steals",
        "source keys are unique over all sessions, and INSERT OR REPLACE deletes the other's batch",
        "QUEUE-2 LAW-9 LAW-5",
        "ON batch (session_id, source_key) WHERE",
        "ON batch (source_key) WHERE",
        "INSERT INTO batch (",
        "INSERT OR REPLACE INTO batch (",
    ),
    sql(
        "sql-attachment-stolen",
        "the manifest's key is the id alone, and a conflict moves the row to the other session",
        "ATTACH-1 ATTACH-2",
        "    PRIMARY KEY (attachment_id, session_id)\n",
        "    PRIMARY KEY (attachment_id)\n",
        "intent_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        "intent_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET session_id = excluded.session_id",
    ),
    sqlite(
        "sql-times-wrap",
        "now + ttl wraps around in 64 signed bits",
        "LAW-14",
        _SATURATE,
        "return (now + ttl + 2**63) % 2**64 - 2**63",
    ),
    sql(
        "sql-available-in-32-bits",
        "available_at is compared in 32 bits of seconds, so the far future is past",
        "LAW-14 QUEUE-5",
        "state = 0 AND wake_at = 0 AND available_at <= ?",
        "(state = 0 OR available_at >= 2147483648000) AND (available_at / 1000) % 2147483648 * 1000 <= ?",
    ),
    sql(
        "sql-ids-reused",
        "without AUTOINCREMENT the number of a batch that is gone is given again",
        "QUEUE-1 LAW-5",
        "INTEGER PRIMARY KEY AUTOINCREMENT",
        "INTEGER PRIMARY KEY",
    ),
    sqlite(
        "sql-stamp-before-commit",
        "the stamp is written in a transaction of its own, before the commit is checked",
        "LAW-11 LAW-1 COMMIT-4",
        "            self._check_fence(commit.session_id, view.lease, commit.session_execution_lease, now)\n"
        "            if commit.expected",
        "            if (early := commit.turn_commit) is not None:\n"
        "                result = (view.revision + 1, stored.checkpoint_ref, stored.manifest_text)\n"
        '                db.execute(_SQL["stamp_put"], (early.session_id, early.turn_id, early.turn_commit_hash, *result))\n'
        '                db.execute("COMMIT")\n'
        '                db.execute("BEGIN IMMEDIATE")\n'
        "            self._check_fence(commit.session_id, view.lease, commit.session_execution_lease, now)\n"
        "            if commit.expected",
        "        if stamp is not None:\n            db.execute(\n",
        "        if stamp is not None and not stamp.turn_id:\n            db.execute(\n",
    ),
    sqlite(
        "sql-no-rollback",
        "a commit that is refused late is not rolled back",
        "LAW-1 LAW-11",
        '            if error is None:\n                cursor.execute("COMMIT")\n',
        '            cursor.execute("COMMIT")\n',
    ),
    sql(
        "sql-release-every-lane",
        "a release clears the lanes of all sessions",
        "LAW-9 LEASE-6 LEASE-3",
        "claimed_at = NULL, expires_at = NULL WHERE session_id = ?\n",
        "claimed_at = NULL, expires_at = NULL WHERE ? IS NOT NULL\n",
    ),
    sql(
        "sql-abandon-without-token",
        "an abandon looks at the claim id only",
        "QUEUE-12",
        "    state = 1, wake_at = available_at\nWHERE claim_id = ? AND session_id = ? AND claim_token = ?\n",
        "    state = 1, wake_at = available_at\nWHERE claim_id = ? AND session_id = ? AND ? IS NOT NULL\n",
    ),
    sql(
        "sql-usage-by-name",
        "the ledger is sorted by name, not by what was seen first",
        "LAW-8",
        "FROM usage ORDER BY usage_seq",
        "FROM usage ORDER BY source, model",
    ),
    sql(
        "sql-path-through-tombstones",
        "the recursive part of the path does not look for tombstones",
        "GRAPH-6 GRAPH-4",
        "ON node.node_id = path.parent_node_id\n    WHERE node.tombstoned = 0\n",
        "ON node.node_id = path.parent_node_id\n",
    ),
    sql(
        "sql-nodes-by-timestamp",
        "a full load is sorted by the nodes' timestamps",
        "GRAPH-3",
        "FROM node WHERE tombstoned = 0 ORDER BY node_seq",
        "FROM node WHERE tombstoned = 0 ORDER BY timestamp",
    ),
    sql(
        "sql-cancel-across-sessions",
        "a cancellation's WHERE does not name the session",
        "QUEUE-13 LAW-9",
        "FROM batch WHERE enqueue_seq = ? AND session_id = ?\n",
        "FROM batch WHERE enqueue_seq = ? AND ? IS NOT NULL\n",
    ),
    sql(
        "sql-completes-by-owner",
        "completed are all batches that the claim's owner holds",
        "LAW-5 COMMIT-8 COMMIT-7",
        "DELETE FROM batch WHERE claim_id = ?\n",
        "DELETE FROM batch WHERE claim_owner_id = (SELECT claim_owner_id FROM batch WHERE claim_id = ?)\n",
    ),
    sql(
        "sql-vacuum-of-nothing",
        "a vacuum counts and keeps the tombstoned nodes",
        "GRAPH-7 GRAPH-8",
        "DELETE FROM node WHERE tombstoned = 1\n",
        "UPDATE node SET tombstoned = 1 WHERE tombstoned = 1\n",
    ),
)

WRAPPERS = (
    wrapped(
        "leases-of-a-handle",
        "a handle that never claimed a lane believes that it is free",
        "LAW-2 LEASE-2 LEASE-3 LEASE-8",
        "memory",
        wrappers.LeasesOfAHandle,
    ),
    wrapped(
        "loads-of-a-handle",
        "a handle that loaded once shows the same until it commits itself",
        "GRAPH-2 LAW-6 LAW-12",
        "memory",
        wrappers.LoadsOfAHandle,
    ),
    wrapped(
        "keys-of-a-handle",
        "each handle knows its own source keys only",
        "QUEUE-2",
        "memory",
        wrappers.KeysOfAHandle,
    ),
    wrapped(
        "reopen-forgets-stamps", "stamps live in memory", "LAW-10 COMMIT-4", "sqlite", wrappers.forgetting("DELETE FROM stamp")
    ),
    wrapped(
        "reopen-forgets-fencing",
        "the fencing counter of a released lane lives in memory",
        "LAW-3 LAW-10",
        "sqlite",
        wrappers.forgetting("DELETE FROM lane WHERE owner_id IS NULL"),
    ),
    wrapped(
        "reopen-frees-claims",
        "recovery gives claimed work back at once",
        "LAW-10 QUEUE-9",
        "sqlite",
        wrappers.forgetting(
            "UPDATE batch SET claim_id = NULL, claim_token = NULL, claim_expires_at = NULL, state = 1, wake_at = available_at"
        ),
    ),
    wrapped(
        "reopen-forgets-keys",
        "source keys live in memory",
        "LAW-10 QUEUE-2",
        "sqlite",
        wrappers.forgetting("UPDATE batch SET source_key = source_key || ' of old' WHERE source_key NOT LIKE '% of old'"),
    ),
    wrapped(
        "reopen-forgets-tombstones",
        "tombstones live in memory",
        "LAW-10 GRAPH-6",
        "sqlite",
        wrappers.forgetting("UPDATE node SET tombstoned = 0"),
    ),
    wrapped(
        "reopen-counts-again",
        "the counter of batches lives in memory and starts above those that are stored",
        "LAW-10 QUEUE-1",
        "sqlite",
        wrappers.forgetting("DELETE FROM sqlite_sequence"),
    ),
    wrapped(
        "fencing-of-a-handle",
        "each handle counts fencing tokens for itself",
        "LAW-3 LEASE-1",
        "memory",
        wrappers.FencingOfAHandle,
    ),
    wrapped(
        "lists-of-a-handle",
        "a handle that listed work once shows the same until it changes the queue itself",
        "QUEUE-3 LAW-5",
        "memory",
        wrappers.ListsOfAHandle,
    ),
    wrapped(
        "revision-of-a-handle",
        "an expected revision is compared with the one that the handle saw last",
        "COMMIT-6",
        "memory",
        wrappers.RevisionOfAHandle,
    ),
    wrapped(
        "claims-of-a-handle",
        "each handle knows its own claims only",
        "QUEUE-11 QUEUE-12 COMMIT-7",
        "memory",
        wrappers.ClaimsOfAHandle,
    ),
    wrapped(
        "close-frees-lanes",
        "a handle that is closed while others are open gives up their leases too",
        "LAW-10 LEASE-3",
        "sqlite",
        wrappers.forgetting(
            "UPDATE lane SET owner_id = NULL, lease_token = NULL, claimed_at = NULL, expires_at = NULL", last=False
        ),
    ),
    wrapped(
        "reopen-forgets-meta",
        "metadata lives in memory",
        "LAW-10 META-1",
        "sqlite",
        wrappers.forgetting("DELETE FROM session_meta"),
    ),
    wrapped(
        "reopen-forgets-intents",
        "intents live in memory until they are committed",
        "LAW-10 ATTACH-3",
        "sqlite",
        wrappers.forgetting("DELETE FROM attachment WHERE committed_at IS NULL"),
    ),
    wrapped(
        "reopen-forgets-results",
        "of a stamp only the hash is stored: after a reopen a replay returns the head's revision",
        "LAW-10 LAW-7 COMMIT-4",
        "sqlite",
        wrappers.forgetting("UPDATE stamp SET head_revision = (SELECT head_revision FROM head)"),
    ),
    wrapped(
        "reopen-forgets-claim-fencing",
        "the fencing counter of work that is not claimed lives in memory",
        "LAW-4 LAW-10",
        "sqlite",
        wrappers.forgetting("UPDATE batch SET fencing_token = 0 WHERE claim_id IS NULL"),
    ),
)

NUMBERS = (
    memory(
        "revision-wraps",
        "the head revision wraps around at 16",
        "LAW-6",
        "result = CommitResult(self._revision() + 1, manifest_ref(manifest), manifest)",
        "result = CommitResult((self._revision() + 1) % 16, manifest_ref(manifest), manifest)",
    ),
    memory(
        "lane-fencing-wraps",
        "a lane's fencing counter wraps around at 16",
        "LAW-3",
        "fencing_token = state.lane_fencing.get(session_id, 0) + 1",
        "fencing_token = (state.lane_fencing.get(session_id, 0) + 1) % 16",
    ),
    memory(
        "claim-fencing-wraps",
        "a batch's fencing counter wraps around at 16",
        "LAW-4",
        "fencing_token = max(entry.fencing for entry in run) + 1",
        "fencing_token = (max(entry.fencing for entry in run) + 1) % 16",
    ),
    memory("times-end-early", "now + ttl saturates at 2^53", "LAW-14", _SATURATE, "return min(now + ttl, 2**53)"),
    memory(
        "usage-in-32-bits",
        "a sum of tokens wraps around in 32 bits",
        "LAW-8",
        "        input_tokens=total.input_tokens + row.input_tokens,\n",
        "        input_tokens=(total.input_tokens + row.input_tokens) % 2**32,\n",
    ),
    memory(
        "usage-through-floats",
        "a sum of tokens goes through a double",
        "LAW-8",
        "        input_tokens=total.input_tokens + row.input_tokens,\n",
        "        input_tokens=int(float(total.input_tokens) + float(row.input_tokens)),\n",
    ),
)

OPAQUE = (
    wrapped(
        "json-through-doubles",
        "tool states are parsed by a library that knows no integers",
        "GRAPH-2 COMMIT-10",
        "memory",
        wrappers.JsonThroughDoubles,
    ),
    wrapped(
        "payloads-in-latin-1",
        "payloads are kept in an encoding that not every character has",
        "QUEUE-1 QUEUE-3",
        "memory",
        wrappers.PayloadsInLatin1,
    ),
)
"""Values into which no store looks are not given back as they came."""

LOST = (
    lost("lost-and-twice", "an enqueue or commit whose answer was lost takes effect twice", "LAW-12", TwiceLoss),
    lost("lost-and-half", "of a commit whose answer was lost only the head is stored", "LAW-12 LAW-11", HalfLoss),
    lost(
        "lost-and-unstamped",
        "a commit whose answer was lost took effect unstamped: tried again, it commits twice",
        "LAW-12",
        UnstampedLoss,
    ),
    lost(
        "lost-and-unkeyed", "an enqueue whose answer was lost forgets its key: tried again, it queues twice", "LAW-12", UnkeyedLoss
    ),
    lost("lost-and-undone", "a batch whose enqueue was answered by nothing is listed, and then gone", "LAW-12", UndoneLoss),
    lost("lost-and-burnt", "a claim whose answer was lost takes its batches away for good", "LAW-12", BurntLoss),
)
"""Answers are lost: the call has to take effect once or never."""

LIARS: tuple[Liar, ...] = (*LEASES, *COMMITS, *GRAPHS, *QUEUES, *REST, *SQLITE, *WRAPPERS, *NUMBERS, *OPAQUE, *LOST)
