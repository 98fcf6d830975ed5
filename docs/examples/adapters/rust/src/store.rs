//! A store in memory. It knows the contract (docs/reference.md), whose rules are cited by number, and nothing of the protocol.
//!
//! Every operation makes all its checks before its first change, so a refused one changes nothing (LAW-1).
//!
//! Where the contract lets a store choose, this one is strict about time: a claim is live or it is gone, so an expired one is
//! neither renewed nor completed (P-RENEW-EXPIRED refuse, P-COMPLETE-EXPIRED refuse). Elsewhere it does what is recommended.

use crate::records::*;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

type Outcome<T> = Result<T, Refusal>;

#[derive(Default)]
struct Lane {
    /// The last token granted. It outlives the lease (LAW-3).
    fencing: i64,
    lease: Option<Lease>,
}

struct Head {
    session_id: String,
    revision: i64,
    content: HeadContent,
    leaf: Option<String>,
    checkpoint_ref: String,
    manifest: Checkpoint,
}

#[derive(Clone)]
struct StoredNode {
    node: Node,
    hidden: bool,
}

struct Entry {
    batch: Batch,
    /// Of the last claim that included the batch. It outlives the claim (LAW-4).
    fencing: i64,
    hold: Option<Hold>,
}

pub struct Store {
    now: Box<dyn Fn() -> i64>,
    minted: u64,
    enqueued: i64,
    lanes: HashMap<String, Lane>,
    head: Option<Head>,
    nodes: Vec<StoredNode>,
    bodies: HashMap<String, Value>,
    ledger: Vec<UsageRow>,
    stamps: HashMap<(String, String), (String, CommitResult)>,
    queues: HashMap<String, Vec<Entry>>,
    manifest: BTreeMap<(String, String), Intent>,
    meta: Option<Value>,
}

fn live(expires_at: i64, now: i64) -> bool {
    expires_at > now
}

fn due(at: i64, now: i64) -> bool {
    at <= now
}

fn invalid<T>(field: &str, message: impl Into<String>) -> Outcome<T> {
    Err(Refusal::InvalidRequest { field: field.into(), message: message.into() })
}

fn claim_expired<T>(session_id: &str, claim_id: &str) -> Outcome<T> {
    Err(Refusal::QueuedWorkClaimExpired { session_id: session_id.into(), claim_id: claim_id.into() })
}

fn natural(field: &str, number: i64) -> Outcome<()> {
    if number < 0 {
        return invalid(field, format!("{number} is negative"));
    }
    Ok(())
}

fn named(field: &str, id: &str) -> Outcome<()> {
    if id.is_empty() {
        return invalid(field, "it is empty");
    }
    Ok(())
}

impl Entry {
    /// What the batch is held under, if that is live.
    fn held(&self, now: i64) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| live(hold.expires_at_epoch_ms, now))
    }
}

fn joins(first: &Work, next: &Work) -> bool {
    next.slot_policy == SlotPolicy::Join && next.delivery_policy == first.delivery_policy && next.merge_key == first.merge_key
}

impl Store {
    /// An empty store. `now`: milliseconds since the epoch.
    pub fn new(now: impl Fn() -> i64 + 'static) -> Store {
        Store {
            now: Box::new(now),
            minted: 0,
            enqueued: 0,
            lanes: HashMap::new(),
            head: None,
            nodes: Vec::new(),
            bodies: HashMap::new(),
            ledger: Vec::new(),
            stamps: HashMap::new(),
            queues: HashMap::new(),
            manifest: BTreeMap::new(),
            meta: None,
        }
    }

    fn mint(&mut self, kind: &str) -> String {
        self.minted += 1;
        format!("{kind}-{}", self.minted)
    }

    // ---- leases

    pub fn try_claim_lease(&mut self, session_id: String, owner_id: String, ttl: i64) -> Outcome<Option<Lease>> {
        named("session_id", &session_id)?;
        named("owner_id", &owner_id)?;
        natural("lease_ttl_ms", ttl)?;
        let now = (self.now)();
        let expires_at = now.saturating_add(ttl); // LAW-14
        let lease_token = self.mint("lease");
        let lane = self.lanes.entry(session_id.clone()).or_default();
        match lane.lease.as_mut().filter(|lease| live(lease.expires_at_epoch_ms, now)) {
            Some(lease) if lease.fence.owner_id != owner_id => Ok(None), // LEASE-3
            Some(lease) => {
                lease.expires_at_epoch_ms = lease.expires_at_epoch_ms.max(expires_at); // LEASE-2, P-REENTRY extend-only
                Ok(Some(lease.clone()))
            }
            None => {
                lane.fencing += 1; // LEASE-1
                let fence = Fence { session_id, owner_id, lease_token, fencing_token: lane.fencing };
                lane.lease = Some(Lease { fence, claimed_at_epoch_ms: now, expires_at_epoch_ms: expires_at });
                Ok(lane.lease.clone())
            }
        }
    }

    pub fn renew_lease(&mut self, fence: Fence, ttl: i64) -> Outcome<Lease> {
        natural("lease_ttl_ms", ttl)?;
        let now = (self.now)();
        let lease = self.live_lease(&fence.session_id, Some(&fence), now)?; // LEASE-5
        lease.expires_at_epoch_ms = now.saturating_add(ttl);
        Ok(lease.clone())
    }

    pub fn release_lease(&mut self, fence: &Fence) {
        if let Some(lane) = self.lanes.get_mut(&fence.session_id) {
            lane.lease = lane.lease.take().filter(|lease| lease.fence != *fence); // LEASE-6, LEASE-7
        }
    }

    /// The session's lease, if the fence names it and it is live; else refused (COMMIT-5, QUEUE-4).
    fn live_lease(&mut self, session_id: &str, fence: Option<&Fence>, now: i64) -> Outcome<&mut Lease> {
        let lease = self.lanes.get_mut(session_id).and_then(|lane| lane.lease.as_mut());
        lease
            .filter(|lease| Some(&lease.fence) == fence && live(lease.expires_at_epoch_ms, now))
            .ok_or_else(|| Refusal::SessionExecutionLeaseExpired { session_id: session_id.into() })
    }

    // ---- the commit

    pub fn commit(&mut self, commit: Commit) -> Outcome<CommitResult> {
        let session_id = &commit.session_id.clone();
        named("session_id", session_id)?;
        let now = (self.now)();
        let actual = self.head.as_ref().map_or(0, |head| head.revision);
        if let Some(head) = self.head.as_ref().filter(|head| head.session_id != *session_id) {
            let bound_session_id = head.session_id.clone();
            return Err(Refusal::SessionBindingMismatch { bound_session_id, attempted_session_id: session_id.clone() }); // COMMIT-1
        }
        if let Some(stamp) = &commit.turn_commit {
            let known = self.stamps.get(&(session_id.clone(), stamp.turn_id.clone()));
            let same_hash = known.map_or(true, |(hash, _)| *hash == stamp.turn_commit_hash);
            if stamp.session_id != *session_id || !same_hash {
                let (session_id, turn_id) = (stamp.session_id.clone(), stamp.turn_id.clone());
                return Err(Refusal::RuntimeTurnCommitConflict { session_id, turn_id }); // COMMIT-2, COMMIT-3
            }
            if let Some((_, result)) = known.cloned() {
                commit.release_session_execution_lease.iter().for_each(|fence| self.release_lease(fence));
                return Ok(result); // COMMIT-4
            }
        }
        self.live_lease(session_id, commit.session_execution_lease.as_ref(), now)?; // COMMIT-5
        if let Some(expected) = commit.expected_head_revision.filter(|expected| *expected != actual) {
            return Err(Refusal::HeadRevisionConflict { expected, actual }); // COMMIT-6
        }
        let done = self.check_completions(session_id, &commit.completed_queue_claims, now)?;
        let (nodes, leaf) = self.with_delta(commit.graph)?;
        let ledger = self.with_usage(commit.usage_deltas)?;
        self.check_references(&commit.checkpoint)?;

        // COMMIT-8: nothing is refused from here on.
        let manifest = self.keep_bodies(commit.checkpoint);
        let result = CommitResult { head_revision: actual + 1, checkpoint_ref: self.mint("checkpoint"), manifest };
        self.head = Some(Head {
            session_id: session_id.clone(),
            revision: result.head_revision,
            content: commit.content,
            leaf,
            checkpoint_ref: result.checkpoint_ref.clone(),
            manifest: result.manifest.clone(),
        });
        self.nodes = nodes;
        self.ledger = ledger;
        self.queues.entry(session_id.clone()).or_default().retain(|entry| !done.contains(&entry.batch.batch_id));
        self.commit_refs(session_id, &commit.committed_attachment_ids);
        if let Some(stamp) = commit.turn_commit {
            self.stamps.insert((stamp.session_id, stamp.turn_id), (stamp.turn_commit_hash, result.clone()));
        }
        commit.release_session_execution_lease.iter().for_each(|fence| self.release_lease(fence));
        Ok(result)
    }

    /// The ids of the batches that are done (COMMIT-7). Every claim has to be completed whole, and once.
    fn check_completions(&self, session_id: &str, completions: &[Completion], now: i64) -> Outcome<HashSet<String>> {
        let mut done = HashSet::new();
        for completion in completions {
            let Completion { claim_id, lease_token, batch_ids, .. } = completion;
            let held: Vec<&str> = self.under(session_id, claim_id, lease_token, now).map(|e| e.batch.batch_id.as_str()).collect();
            if completion.session_id != session_id || !batch_ids.iter().all(|id| held.contains(&id.as_str())) {
                return claim_expired(&completion.session_id, claim_id);
            }
            if batch_ids.is_empty() || batch_ids.len() < held.len() {
                return invalid("batch_ids", format!("every batch of claim {claim_id} has to be named"));
            }
            if let Some(twice) = batch_ids.iter().find(|id| !done.insert(id.to_string())) {
                return invalid("completed_queue_claims", format!("{twice} is completed twice"));
            }
        }
        Ok(done)
    }

    /// The nodes and the leaf after the delta (GRAPH-1, GRAPH-8).
    fn with_delta(&self, delta: Delta) -> Outcome<(Vec<StoredNode>, Option<String>)> {
        let (mut nodes, more, leaf) = match delta {
            Delta::Unchanged { leaf_node_id } => (self.nodes.clone(), Vec::new(), leaf_node_id),
            Delta::Append { nodes, leaf_node_id } => (self.nodes.clone(), nodes, leaf_node_id),
            Delta::ReplaceFull { nodes, leaf_node_id } => (Vec::new(), nodes, leaf_node_id),
        };
        for node in more {
            if nodes.iter().any(|known: &StoredNode| known.node.node_id == node.node_id) {
                return invalid("node_id", format!("{} exists", node.node_id));
            }
            nodes.push(StoredNode { node, hidden: false });
        }
        match leaf {
            Some(leaf) if find(&nodes, &leaf).is_none() => invalid("leaf_node_id", format!("{leaf} names no visible node")),
            leaf => Ok((nodes, leaf)),
        }
    }

    /// The ledger with these rows added (LAW-8).
    fn with_usage(&self, rows: Vec<UsageRow>) -> Outcome<Vec<UsageRow>> {
        let mut ledger = self.ledger.clone();
        for row in rows {
            match ledger.iter_mut().find(|known| known.source == row.source && known.model == row.model) {
                None => ledger.push(row),
                Some(known) => match known.usage.checked_add(row.usage) {
                    None => return invalid("usage_deltas", format!("the sum for {} does not fit 64 bits", row.model)),
                    Some(sum) => known.usage = sum,
                },
            }
        }
        Ok(ledger)
    }

    /// COMMIT-10, P-DANGLING-REF refuse: a reference without a body names one that is stored.
    fn check_references(&self, checkpoint: &Checkpoint) -> Outcome<()> {
        for (name, body, reference) in checkpoint.clone().parts() {
            if let (None, Some(reference)) = (body, reference) {
                if !self.bodies.contains_key(reference) {
                    return invalid(name, format!("{reference} names nothing"));
                }
            }
        }
        Ok(())
    }

    /// COMMIT-10: stores the bodies, each under a reference of its own, and gives the manifest.
    fn keep_bodies(&mut self, mut checkpoint: Checkpoint) -> Checkpoint {
        for (name, body, reference) in checkpoint.parts() {
            if let Some(body) = body.take() {
                let minted = self.mint(name);
                self.bodies.insert(minted.clone(), body);
                *reference = Some(minted);
            }
        }
        checkpoint
    }

    // ---- graph and loads

    pub fn load_session(&self, scope: Scope) -> Option<Read> {
        let head = self.head.as_ref()?; // GRAPH-2
        let mut checkpoint = head.manifest.clone();
        for (_, body, reference) in checkpoint.parts() {
            *body = reference.as_ref().and_then(|reference| self.bodies.get(reference)).cloned();
        }
        let graph = match scope {
            Scope::ActivePath { leaf_node_id } => self.path(leaf_node_id.or_else(|| head.leaf.clone())),
            Scope::FullGraph {} => Graph {
                nodes: self.nodes.iter().filter(|stored| !stored.hidden).map(|stored| stored.node.clone()).collect(), // GRAPH-3
                leaf_node_id: head.leaf.clone(),
            },
        };
        Some(Read {
            session_id: head.session_id.clone(),
            head_revision: head.revision,
            content: head.content.clone(),
            graph,
            checkpoint_ref: head.checkpoint_ref.clone(),
            checkpoint,
            token_ledger: self.ledger.clone(),
        })
    }

    /// From the leaf to its root (GRAPH-4). There are no more steps than nodes, so a cycle ends too (LAW-13).
    fn path(&self, leaf_node_id: Option<String>) -> Graph {
        let start = leaf_node_id.as_deref().and_then(|leaf| find(&self.nodes, leaf));
        let upwards = std::iter::successors(start, |node| find(&self.nodes, node.parent_node_id.as_deref()?));
        let mut nodes: Vec<Node> = upwards.take(self.nodes.len()).cloned().collect();
        nodes.reverse();
        Graph { nodes, leaf_node_id }
    }

    pub fn load_node(&self, node_id: &str) -> Option<Node> {
        find(&self.nodes, node_id).cloned() // GRAPH-5
    }

    pub fn tombstone_nodes(&mut self, ids: &[String]) {
        for stored in &mut self.nodes {
            stored.hidden |= ids.contains(&stored.node.node_id); // GRAPH-6
        }
    }

    pub fn vacuum(&mut self) -> Vacuumed {
        let before = self.nodes.len(); // GRAPH-7
        self.nodes.retain(|stored| !stored.hidden);
        Vacuumed { removed_node_count: before - self.nodes.len() }
    }

    pub fn collect_garbage(&mut self) -> Collected {
        let mut manifest = self.head.as_ref().map(|head| head.manifest.clone()).unwrap_or_default(); // GRAPH-9
        let kept: Vec<String> = manifest.parts().into_iter().filter_map(|(_, _, reference)| reference.take()).collect();
        let before = self.bodies.len();
        self.bodies.retain(|reference, _| kept.contains(reference));
        let retained = self.bodies.len();
        Collected {
            root_count: self.head.iter().count(),
            retained_blob_count: retained,
            deleted_blob_count: before - retained,
        }
    }

    // ---- queued work

    pub fn enqueue(&mut self, draft: Draft) -> Outcome<Batch> {
        named("session_id", &draft.work.session_id)?;
        natural("available_at_ms", draft.work.available_at_ms)?;
        let queue = self.queues.entry(draft.work.session_id.clone()).or_default();
        let same_key = |entry: &&Entry| draft.work.source_key.is_some() && entry.batch.work.source_key == draft.work.source_key;
        if let Some(known) = queue.iter().find(same_key) {
            return Ok(known.batch.clone()); // QUEUE-2
        }
        self.enqueued += 1; // QUEUE-1
        let batch_id = format!("batch-{}", self.enqueued);
        let number = |(index, payload)| Item { item_id: format!("{batch_id}.{index}"), payload };
        let items = draft.payloads.into_iter().enumerate().map(number).collect();
        let batch = Batch { enqueue_seq: self.enqueued, enqueued_at_ms: (self.now)(), items, work: draft.work, batch_id };
        queue.push(Entry { batch: batch.clone(), fencing: 0, hold: None });
        Ok(batch)
    }

    pub fn claim_ready(&mut self, fence: Fence, asked: Asked, max: i64) -> Outcome<Option<Claim>> {
        natural("max_batches", max)?;
        self.claim(fence, asked, max, |_| true)
    }

    /// QUEUE-10: exactly these batches in this order, or none.
    pub fn claim_ready_by_ids(&mut self, fence: Fence, asked: Asked, batch_ids: &[String]) -> Outcome<Option<Claim>> {
        self.claim(fence, asked, batch_ids.len() as i64, |run| run.iter().map(|e| &e.batch.batch_id).eq(batch_ids))
    }

    fn claim(&mut self, fence: Fence, asked: Asked, max: i64, wanted: impl Fn(&[&mut Entry]) -> bool) -> Outcome<Option<Claim>> {
        named("owner_id", &asked.owner_id)?;
        natural("lease_ttl_ms", asked.lease_ttl_ms)?;
        if max == 0 {
            return Ok(None); // P-ZERO-BEFORE-LEASE none-first
        }
        let now = (self.now)();
        self.live_lease(&asked.session_id, Some(&fence), now)?;
        let (claim_id, lease_token) = (self.mint("claim"), self.mint("token"));
        let mut run = ready(self.queues.entry(asked.session_id.clone()).or_default(), asked.boundary, max, now);
        if run.is_empty() || !wanted(&run) {
            return Ok(None);
        }
        let highest = run.iter().map(|entry| entry.fencing).max().unwrap_or(0); // QUEUE-8, P-CLAIM-FENCE max
        let hold = Hold {
            session_id: asked.session_id,
            claim_id,
            owner_id: asked.owner_id,
            lease_token,
            fencing_token: highest + 1,
            claimed_at_epoch_ms: now,
            expires_at_epoch_ms: now.saturating_add(asked.lease_ttl_ms),
        };
        for entry in &mut run {
            entry.fencing = hold.fencing_token;
            entry.hold = Some(hold.clone());
        }
        Ok(Some(Claim { hold, batches: run.iter().map(|entry| entry.batch.clone()).collect() }))
    }

    /// The batches that are held under a live claim.
    fn under<'a>(&'a self, session_id: &str, claim_id: &'a str, token: &'a str, now: i64) -> impl Iterator<Item = &'a Entry> {
        let queue = self.queues.get(session_id).map_or(&[][..], Vec::as_slice);
        queue.iter().filter(move |e| e.held(now).map_or(false, |hold| hold.claim_id == claim_id && hold.lease_token == token))
    }

    pub fn renew_claim(&mut self, claim: Claim, ttl: i64) -> Outcome<Claim> {
        natural("lease_ttl_ms", ttl)?;
        let now = (self.now)();
        let Hold { session_id, claim_id, lease_token, .. } = &claim.hold;
        let ids = claim.batches.iter().map(|batch| &batch.batch_id);
        if claim.batches.is_empty() || !self.under(session_id, claim_id, lease_token, now).map(|e| &e.batch.batch_id).eq(ids) {
            return claim_expired(session_id, claim_id); // QUEUE-11
        }
        let mut renewed = claim;
        for entry in self.queues.get_mut(&renewed.hold.session_id).into_iter().flatten() {
            if let Some(hold) = entry.hold.as_mut().filter(|hold| hold.claim_id == renewed.hold.claim_id) {
                hold.expires_at_epoch_ms = now.saturating_add(ttl);
                renewed.hold = hold.clone();
            }
        }
        Ok(renewed)
    }

    pub fn abandon_claim(&mut self, claim: &Claim) {
        for entry in self.queues.get_mut(&claim.hold.session_id).into_iter().flatten() {
            let named = |hold: &Hold| hold.claim_id == claim.hold.claim_id && hold.lease_token == claim.hold.lease_token;
            entry.hold = entry.hold.take().filter(|hold| !named(hold)); // QUEUE-12
        }
    }

    pub fn cancel(&mut self, session_id: &str, batch_id: &str) -> Option<Batch> {
        let now = (self.now)();
        let queue = self.queues.get_mut(session_id)?;
        let place = queue.iter().position(|entry| entry.batch.batch_id == batch_id && entry.held(now).is_none())?;
        Some(queue.remove(place).batch) // QUEUE-13
    }

    pub fn list(&self, session_id: &str) -> Vec<Batch> {
        self.queues.get(session_id).into_iter().flatten().map(|entry| entry.batch.clone()).collect() // QUEUE-3
    }

    pub fn list_pending(&self, session_id: &str) -> Vec<Batch> {
        let now = (self.now)();
        let pending = self.queues.get(session_id).into_iter().flatten().filter(|entry| entry.held(now).is_none());
        pending.map(|entry| entry.batch.clone()).collect()
    }

    // ---- attachments and metadata

    pub fn record_intent(&mut self, intent: Intent) {
        let key = (intent.session_id.clone(), intent.attachment_id.clone());
        self.manifest.entry(key).or_insert(intent); // ATTACH-1, P-INTENT-REPEAT first-wins
    }

    pub fn commit_refs(&mut self, session_id: &str, attachment_ids: &[String]) {
        let now = (self.now)();
        for id in attachment_ids {
            if let Some(row) = self.manifest.get_mut(&(session_id.to_string(), id.clone())) {
                row.committed_at_epoch_ms.get_or_insert(now); // ATTACH-2: the first stamp stays
            }
        }
    }

    pub fn list_uncommitted(&self, older_than: i64) -> Vec<Intent> {
        let old = |row: &&Intent| row.committed_at_epoch_ms.is_none() && due(row.intent_at_epoch_ms, older_than);
        self.manifest.values().filter(old).cloned().collect() // ATTACH-3
    }

    pub fn forget(&mut self, attachment_id: &str) {
        self.manifest.retain(|(_, id), _| id != attachment_id); // ATTACH-4
    }

    pub fn save_meta(&mut self, meta: Value) {
        self.meta = Some(meta);
    }

    pub fn load_meta(&self) -> Option<Value> {
        self.meta.clone()
    }
}

/// Who asks for a claim, of what, when in a turn, and for how long.
#[derive(serde::Deserialize)]
pub struct Asked {
    pub session_id: String,
    pub owner_id: String,
    pub boundary: Boundary,
    pub lease_ttl_ms: i64,
}

/// What a claim takes now: QUEUE-5 to QUEUE-7. What is no candidate does not end a run (P-JOIN-GAP skip).
fn ready(queue: &mut [Entry], boundary: Boundary, max: i64, now: i64) -> Vec<&mut Entry> {
    let is_candidate = |entry: &&mut Entry| due(entry.batch.work.available_at_ms, now) && entry.held(now).is_none();
    let mut candidates = queue.iter_mut().filter(is_candidate);
    let head = match candidates.next() {
        Some(head) => head,
        None => return Vec::new(),
    };
    let first = head.batch.work.clone();
    if boundary == Boundary::ActiveTurnCheckpoint && first.delivery_policy != DeliveryPolicy::EarliestSafeBoundary {
        return Vec::new();
    }
    let mut run = vec![head];
    if first.slot_policy == SlotPolicy::Join {
        let rest = usize::try_from(max - 1).unwrap_or(usize::MAX);
        run.extend(candidates.take_while(|entry| joins(&first, &entry.batch.work)).take(rest));
    }
    run
}

fn find<'a>(nodes: &'a [StoredNode], id: &str) -> Option<&'a Node> {
    nodes.iter().find(|stored| stored.node.node_id == id && !stored.hidden).map(|stored| &stored.node)
}
