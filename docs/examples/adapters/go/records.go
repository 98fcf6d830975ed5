package main

// The records of the contract. Their JSON is what the journal holds; what no rule looks into stays the text that came.

import (
	"bytes"
	"encoding/json"
)

type Fence struct {
	SessionID    string `json:"session_id"`
	OwnerID      string `json:"owner_id"`
	LeaseToken   string `json:"lease_token"`
	FencingToken int64  `json:"fencing_token"`
}

type Lease struct {
	Fence
	ClaimedAt int64 `json:"claimed_at_epoch_ms"`
	ExpiresAt int64 `json:"expires_at_epoch_ms"`
}

type ClaimLease struct {
	SessionID string `json:"session_id"`
	OwnerID   string `json:"owner_id"`
	TTL       int64  `json:"lease_ttl_ms"`
}

type RenewLease struct {
	Fence Fence `json:"fence"`
	TTL   int64 `json:"lease_ttl_ms"`
}

type ReleaseLease struct {
	Completion Fence `json:"completion"`
}

// MergeKey is a word ("never", "payload_default") or the name of a group.
type MergeKey struct{ Word, Group string }

func (k MergeKey) MarshalJSON() ([]byte, error) {
	if k.Word != "" {
		return json.Marshal(k.Word)
	}
	return json.Marshal(map[string]string{"group": k.Group})
}

func (k *MergeKey) UnmarshalJSON(text []byte) error {
	*k = MergeKey{}
	if text[0] == '"' {
		return json.Unmarshal(text, &k.Word)
	}
	return json.Unmarshal(text, &struct {
		Group *string `json:"group"`
	}{&k.Group})
}

// Work is what a draft and a stored batch have in common.
type Work struct {
	SessionID      string   `json:"session_id"`
	SourceKey      *string  `json:"source_key"`
	DeliveryPolicy string   `json:"delivery_policy"`
	SlotPolicy     string   `json:"slot_policy"`
	MergeKey       MergeKey `json:"merge_key"`
	AvailableAt    int64    `json:"available_at_ms"`
}

type Draft struct {
	Work
	Payloads []json.RawMessage `json:"payloads"`
}

type Item struct {
	ItemID  string          `json:"item_id"`
	Payload json.RawMessage `json:"payload"`
}

type Batch struct {
	Work
	BatchID    string `json:"batch_id"`
	EnqueueSeq int64  `json:"enqueue_seq"`
	EnqueuedAt int64  `json:"enqueued_at_ms"`
	Items      []Item `json:"items"`
}

type Enqueue struct {
	Batch Draft `json:"batch"`
}

type ClaimReady struct {
	SessionID string `json:"session_id"`
	Fence     Fence  `json:"session_execution_lease"`
	OwnerID   string `json:"owner_id"`
	Boundary  string `json:"boundary"`
	TTL       int64  `json:"lease_ttl_ms"`
	Max       int64  `json:"max_batches"`
}

type ClaimByIDs struct {
	ClaimReady
	BatchIDs []string `json:"batch_ids"`
}

// Hold is a claim without its batches: what each of them is held under.
type Hold struct {
	SessionID    string `json:"session_id"`
	ClaimID      string `json:"claim_id"`
	OwnerID      string `json:"owner_id"`
	LeaseToken   string `json:"lease_token"`
	FencingToken int64  `json:"fencing_token"`
	ClaimedAt    int64  `json:"claimed_at_epoch_ms"`
	ExpiresAt    int64  `json:"expires_at_epoch_ms"`
}

type Claim struct {
	Hold
	Batches []Batch `json:"batches"`
}

type RenewClaim struct {
	Claim Claim `json:"claim"`
	TTL   int64 `json:"lease_ttl_ms"`
}

type AbandonClaim struct {
	Claim Claim `json:"claim"`
}

type BatchOf struct {
	SessionID string `json:"session_id"`
	BatchID   string `json:"batch_id"`
}

type Completion struct {
	SessionID  string   `json:"session_id"`
	ClaimID    string   `json:"claim_id"`
	LeaseToken string   `json:"lease_token"`
	BatchIDs   []string `json:"batch_ids"`
}

// Node is the whole object as it came, and the two members that rules look at.
type Node struct {
	ID, Parent string
	text       json.RawMessage
}

func (n Node) MarshalJSON() ([]byte, error) { return n.text, nil }

func (n *Node) UnmarshalJSON(text []byte) error {
	n.text = bytes.Clone(text)
	return json.Unmarshal(text, &struct {
		ID     *string `json:"node_id"`
		Parent *string `json:"parent_node_id"`
	}{&n.ID, &n.Parent})
}

type Nodes struct {
	Nodes []Node `json:"nodes"`
	Leaf  string `json:"leaf_node_id"` // "": none
}

// Delta has exactly one member.
type Delta struct {
	Unchanged   *Nodes `json:"Unchanged,omitempty"`
	Append      *Nodes `json:"Append,omitempty"`
	ReplaceFull *Nodes `json:"ReplaceFull,omitempty"`
}

// Checkpoint is also the manifest: then it is without the bodies. ExecutionState stays JSON: a []byte would become base64.
type Checkpoint struct {
	TurnState              json.RawMessage `json:"turn_state"`
	ToolState              json.RawMessage `json:"tool_state,omitempty"`
	ToolStateRef           *string         `json:"tool_state_ref"`
	PluginSnapshot         json.RawMessage `json:"plugin_snapshot,omitempty"`
	PluginSnapshotRef      *string         `json:"plugin_snapshot_ref"`
	PluginSnapshotRevision *int64          `json:"plugin_snapshot_revision"`
	ExecutionState         json.RawMessage `json:"execution_state,omitempty"`
	ExecutionStateRef      *string         `json:"execution_state_ref"`
}

type part struct {
	name string
	body *json.RawMessage
	ref  **string
}

func (c *Checkpoint) parts() []part {
	return []part{
		{"tool_state", &c.ToolState, &c.ToolStateRef},
		{"plugin_snapshot", &c.PluginSnapshot, &c.PluginSnapshotRef},
		{"execution_state", &c.ExecutionState, &c.ExecutionStateRef},
	}
}

type Tokens struct {
	Input       int64 `json:"input_tokens"`
	Output      int64 `json:"output_tokens"`
	CachedInput int64 `json:"cached_input_tokens"`
	Reasoning   int64 `json:"reasoning_tokens"`
}

type UsageRow struct {
	Source string `json:"source"`
	Model  string `json:"model"`
	Usage  Tokens `json:"usage"`
}

type Stamp struct {
	SessionID string `json:"session_id"`
	TurnID    string `json:"turn_id"`
	Hash      string `json:"turn_commit_hash"`
}

type Commit struct {
	SessionID      string          `json:"session_id"`
	Expected       *int64          `json:"expected_head_revision"`
	Fence          *Fence          `json:"session_execution_lease"`
	Release        *Fence          `json:"release_session_execution_lease"`
	Config         json.RawMessage `json:"config"`
	AgentFrames    json.RawMessage `json:"agent_frames"`
	CurrentFrame   string          `json:"current_agent_frame_id"`
	Graph          Delta           `json:"graph"`
	Checkpoint     Checkpoint      `json:"checkpoint"`
	Usage          []UsageRow      `json:"usage_deltas"`
	Stamp          *Stamp          `json:"turn_commit"`
	Completions    []Completion    `json:"completed_queue_claims"`
	AttachmentsIDs []string        `json:"committed_attachment_ids"`
}

type CommitState struct {
	Commit Commit `json:"commit"`
}

type CommitResult struct {
	HeadRevision  int64      `json:"head_revision"`
	CheckpointRef string     `json:"checkpoint_ref"`
	Manifest      Checkpoint `json:"manifest"`
}

type Load struct {
	Scope struct {
		ActivePath *struct {
			Leaf string `json:"leaf_node_id"`
		} `json:"active_path"`
	} `json:"scope"`
}

type LoadNode struct {
	NodeID string `json:"node_id"`
}

type Graph struct {
	Nodes []Node  `json:"nodes"`
	Leaf  *string `json:"leaf_node_id"`
}

type Read struct {
	SessionID     string          `json:"session_id"`
	HeadRevision  int64           `json:"head_revision"`
	Config        json.RawMessage `json:"config"`
	AgentFrames   json.RawMessage `json:"agent_frames"`
	CurrentFrame  string          `json:"current_agent_frame_id"`
	Graph         Graph           `json:"graph"`
	CheckpointRef string          `json:"checkpoint_ref"`
	Checkpoint    Checkpoint      `json:"checkpoint"`
	Ledger        []UsageRow      `json:"token_ledger"`
}

type Tombstone struct {
	IDs []string `json:"ids"`
}

type Vacuumed struct {
	Removed int `json:"removed_node_count"`
}

type Collected struct {
	Roots    int `json:"root_count"`
	Retained int `json:"retained_blob_count"`
	Deleted  int `json:"deleted_blob_count"`
}

type Intent struct {
	AttachmentID string `json:"attachment_id"`
	SessionID    string `json:"session_id"`
	URI          string `json:"canonical_uri"`
	IntentAt     int64  `json:"intent_at_epoch_ms"`
	CommittedAt  *int64 `json:"committed_at_epoch_ms,omitempty"`
}

type RecordIntent struct {
	Intent Intent `json:"intent"`
}

type CommitRefs struct {
	SessionID     string   `json:"session_id"`
	AttachmentIDs []string `json:"attachment_ids"`
}

type OlderThan struct {
	OlderThan int64 `json:"older_than_epoch_ms"`
}

type Forget struct {
	AttachmentID string `json:"attachment_id"`
}

type SaveMeta struct {
	Meta json.RawMessage `json:"meta"`
}

type OfSession struct {
	SessionID string `json:"session_id"`
}

// Nothing is what an operation without arguments takes, and what one without a result returns (then nil).
type Nothing struct{}
