//! The records of the contract. What no rule looks into is a JSON `Value`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Fence {
    pub session_id: String,
    pub owner_id: String,
    pub lease_token: String,
    pub fencing_token: i64,
}

#[derive(Clone, Serialize)]
pub struct Lease {
    #[serde(flatten)]
    pub fence: Fence,
    pub claimed_at_epoch_ms: i64,
    pub expires_at_epoch_ms: i64,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryPolicy {
    EarliestSafeBoundary,
    AfterCurrentTurnCommit,
}

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotPolicy {
    Join,
    Exclusive,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeKey {
    Never,
    PayloadDefault,
    Group(String),
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Boundary {
    Idle,
    ActiveTurnCheckpoint,
}

/// What a draft and a stored batch have in common.
#[derive(Clone, Serialize, Deserialize)]
pub struct Work {
    pub session_id: String,
    pub source_key: Option<String>,
    pub delivery_policy: DeliveryPolicy,
    pub slot_policy: SlotPolicy,
    pub merge_key: MergeKey,
    pub available_at_ms: i64,
}

#[derive(Deserialize)]
pub struct Draft {
    #[serde(flatten)]
    pub work: Work,
    pub payloads: Vec<Value>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Item {
    pub item_id: String,
    pub payload: Value,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Batch {
    pub batch_id: String,
    pub enqueue_seq: i64,
    pub enqueued_at_ms: i64,
    pub items: Vec<Item>,
    #[serde(flatten)]
    pub work: Work,
}

/// A claim without its batches: what each of them is held under.
#[derive(Clone, Serialize, Deserialize)]
pub struct Hold {
    pub session_id: String,
    pub claim_id: String,
    pub owner_id: String,
    pub lease_token: String,
    pub fencing_token: i64,
    pub claimed_at_epoch_ms: i64,
    pub expires_at_epoch_ms: i64,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Claim {
    #[serde(flatten)]
    pub hold: Hold,
    pub batches: Vec<Batch>,
}

#[derive(Deserialize)]
pub struct Completion {
    pub session_id: String,
    pub claim_id: String,
    pub lease_token: String,
    pub batch_ids: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub struct Node {
    pub node_id: String,
    pub parent_node_id: Option<String>,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

#[derive(Deserialize)]
pub enum Delta {
    Unchanged { leaf_node_id: Option<String> },
    Append { nodes: Vec<Node>, leaf_node_id: Option<String> },
    ReplaceFull { nodes: Vec<Node>, leaf_node_id: Option<String> },
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    FullGraph {},
    ActivePath { leaf_node_id: Option<String> },
}

/// A checkpoint; without its bodies it is a manifest.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    pub turn_state: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_state: Option<Value>,
    pub tool_state_ref: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_snapshot: Option<Value>,
    pub plugin_snapshot_ref: Option<String>,
    pub plugin_snapshot_revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<Value>,
    pub execution_state_ref: Option<String>,
}

pub type Part<'a> = (&'static str, &'a mut Option<Value>, &'a mut Option<String>);

impl Checkpoint {
    /// The parts that have a body and a reference, with their names.
    pub fn parts(&mut self) -> [Part<'_>; 3] {
        [
            ("tool_state", &mut self.tool_state, &mut self.tool_state_ref),
            ("plugin_snapshot", &mut self.plugin_snapshot, &mut self.plugin_snapshot_ref),
            ("execution_state", &mut self.execution_state, &mut self.execution_state_ref),
        ]
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Tokens {
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cached_input_tokens: i64,
    pub reasoning_tokens: i64,
}

impl Tokens {
    pub fn checked_add(self, more: Tokens) -> Option<Tokens> {
        Some(Tokens {
            input_tokens: self.input_tokens.checked_add(more.input_tokens)?,
            output_tokens: self.output_tokens.checked_add(more.output_tokens)?,
            cached_input_tokens: self.cached_input_tokens.checked_add(more.cached_input_tokens)?,
            reasoning_tokens: self.reasoning_tokens.checked_add(more.reasoning_tokens)?,
        })
    }
}

#[derive(Clone, Serialize, Deserialize)]
pub struct UsageRow {
    pub source: String,
    pub model: String,
    pub usage: Tokens,
}

#[derive(Deserialize)]
pub struct Stamp {
    pub session_id: String,
    pub turn_id: String,
    pub turn_commit_hash: String,
}

#[derive(Deserialize)]
pub struct Commit {
    pub session_id: String,
    pub expected_head_revision: Option<i64>,
    pub session_execution_lease: Option<Fence>,
    pub release_session_execution_lease: Option<Fence>,
    #[serde(flatten)]
    pub content: HeadContent,
    pub graph: Delta,
    pub checkpoint: Checkpoint,
    pub usage_deltas: Vec<UsageRow>,
    pub turn_commit: Option<Stamp>,
    pub completed_queue_claims: Vec<Completion>,
    pub committed_attachment_ids: Vec<String>,
}

/// What a head keeps of a commit as it came.
#[derive(Clone, Serialize, Deserialize)]
pub struct HeadContent {
    pub config: Value,
    pub agent_frames: Vec<Value>,
    pub current_agent_frame_id: String,
}

#[derive(Clone, Serialize)]
pub struct CommitResult {
    pub head_revision: i64,
    pub checkpoint_ref: String,
    pub manifest: Checkpoint,
}

#[derive(Serialize)]
pub struct Graph {
    pub nodes: Vec<Node>,
    pub leaf_node_id: Option<String>,
}

#[derive(Serialize)]
pub struct Read {
    pub session_id: String,
    pub head_revision: i64,
    #[serde(flatten)]
    pub content: HeadContent,
    pub graph: Graph,
    pub checkpoint_ref: String,
    pub checkpoint: Checkpoint,
    pub token_ledger: Vec<UsageRow>,
}

#[derive(Serialize)]
pub struct Vacuumed {
    pub removed_node_count: usize,
}

#[derive(Serialize)]
pub struct Collected {
    pub root_count: usize,
    pub retained_blob_count: usize,
    pub deleted_blob_count: usize,
}

/// An intent; with the time of its commit, a row of the manifest.
#[derive(Clone, Serialize, Deserialize)]
pub struct Intent {
    pub attachment_id: String,
    pub session_id: String,
    pub canonical_uri: String,
    pub intent_at_epoch_ms: i64,
    pub committed_at_epoch_ms: Option<i64>,
}

/// A definite refusal, with the contract's code and details.
#[derive(Debug, Serialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Refusal {
    SessionBindingMismatch { bound_session_id: String, attempted_session_id: String },
    HeadRevisionConflict { expected: i64, actual: i64 },
    RuntimeTurnCommitConflict { session_id: String, turn_id: String },
    SessionExecutionLeaseExpired { session_id: String },
    QueuedWorkClaimExpired { session_id: String, claim_id: String },
    InvalidRequest { field: String, message: String },
}
