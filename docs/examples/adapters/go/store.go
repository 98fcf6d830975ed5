package main

// The rules of the contract (docs/reference.md), cited by number, over a state in memory. Nothing here knows of files or of
// the protocol. Given the same operations at the same times a state ends up the same, ids included: the journal rests on that.
// Every operation makes all its checks before its first change, so a refused one changes nothing (LAW-1).
// At every policy point this store does what is recommended.

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"slices"
)

// Refusal is a definite refusal. Code is one of the contract's.
type Refusal struct {
	Code    string
	Message string
	Details map[string]any
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

type details = map[string]any

func leaseExpired(session string) error {
	return &Refusal{"session_execution_lease_expired", "no live lease on " + session, details{"session_id": session}}
}

func claimExpired(session, claim string) error {
	return &Refusal{"queued_work_claim_expired", "claim " + claim + " does not hold these batches",
		details{"session_id": session, "claim_id": claim}}
}

func turnConflict(s *Stamp) error {
	return &Refusal{"runtime_turn_commit_conflict", "turn " + s.TurnID + " was committed otherwise",
		details{"session_id": s.SessionID, "turn_id": s.TurnID}}
}

func invalid(field, format string, args ...any) error {
	return &Refusal{"invalid_request", field + ": " + fmt.Sprintf(format, args...), details{"field": field}}
}

type lane struct {
	fencing int64 // the last token granted; it outlives the lease (LAW-3)
	lease   *Lease
}

type head struct {
	sessionID, currentFrame, leaf, checkpointRef string
	revision                                     int64
	config, agentFrames                          json.RawMessage
	manifest                                     Checkpoint
}

type storedNode struct {
	Node
	hidden bool
}

type turn struct{ session, id string }

type stamped struct {
	hash   string
	result *CommitResult
}

type entry struct {
	batch   Batch
	fencing int64 // of the last claim that included the batch; it outlives the claim (LAW-4)
	hold    *Hold
}

type attachment struct{ session, id string }

type state struct {
	minted   int64 // tokens and claim ids given out
	enqueued int64
	lanes    map[string]*lane
	head     *head
	nodes    []*storedNode // in storage order
	bodies   map[string]json.RawMessage
	ledger   []UsageRow
	stamps   map[turn]stamped
	queues   map[string][]*entry // by enqueue_seq
	manifest map[attachment]Intent
	meta     json.RawMessage
}

func newState() *state {
	return &state{
		lanes:    map[string]*lane{},
		bodies:   map[string]json.RawMessage{},
		stamps:   map[turn]stamped{},
		queues:   map[string][]*entry{},
		manifest: map[attachment]Intent{},
	}
}

func (s *state) mint(kind string) string {
	s.minted++
	return fmt.Sprintf("%s-%d", kind, s.minted)
}

func live(expiresAt, now int64) bool { return expiresAt > now }

func due(at, now int64) bool { return at <= now }

// later saturates at the latest time there is (LAW-14).
func later(now, ttl int64) int64 {
	if ttl > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + ttl
}

// ---- leases

func (s *state) claimLease(now int64, a ClaimLease) (*Lease, error) {
	if a.SessionID == "" || a.OwnerID == "" || a.TTL < 0 {
		return nil, invalid("lease", "a session, an owner and a ttl from 0 up are due")
	}
	l := s.lanes[a.SessionID]
	if l == nil {
		l = &lane{}
		s.lanes[a.SessionID] = l
	}
	if l.lease == nil || !live(l.lease.ExpiresAt, now) { // LEASE-1
		l.fencing++
		l.lease = &Lease{Fence{a.SessionID, a.OwnerID, s.mint("lease"), l.fencing}, now, later(now, a.TTL)}
	} else if l.lease.OwnerID != a.OwnerID { // LEASE-3
		return nil, nil
	} else { // LEASE-2, P-REENTRY extend-only
		l.lease.ExpiresAt = max(l.lease.ExpiresAt, later(now, a.TTL))
	}
	granted := *l.lease
	return &granted, nil
}

func (s *state) renewLease(now int64, a RenewLease) (*Lease, error) {
	if a.TTL < 0 {
		return nil, invalid("lease_ttl_ms", "%d is negative", a.TTL)
	}
	if err := s.checkFence(a.Fence.SessionID, &a.Fence, now); err != nil { // LEASE-5
		return nil, err
	}
	l := s.lanes[a.Fence.SessionID]
	l.lease.ExpiresAt = later(now, a.TTL)
	renewed := *l.lease
	return &renewed, nil
}

func (s *state) releaseLease(_ int64, a ReleaseLease) (*Nothing, error) {
	s.release(&a.Completion)
	return nil, nil
}

func (s *state) release(f *Fence) {
	if f != nil && s.held(f) != nil { // LEASE-6; else LEASE-7
		s.lanes[f.SessionID].lease = nil
	}
}

// held is the lease that the fence names, live or not.
func (s *state) held(f *Fence) *Lease {
	l := s.lanes[f.SessionID]
	if l == nil || l.lease == nil || l.lease.Fence != *f {
		return nil
	}
	return l.lease
}

// checkFence: the fence is this session's, and its lease is live (COMMIT-5, QUEUE-4).
func (s *state) checkFence(session string, f *Fence, now int64) error {
	if f == nil || f.SessionID != session {
		return leaseExpired(session)
	}
	if lease := s.held(f); lease == nil || !live(lease.ExpiresAt, now) {
		return leaseExpired(session)
	}
	return nil
}

// ---- the commit

func (s *state) commit(now int64, a CommitState) (*CommitResult, error) {
	c := a.Commit
	if c.SessionID == "" {
		return nil, invalid("session_id", "it is empty")
	}
	revision := int64(0)
	if s.head != nil {
		revision = s.head.revision
		if s.head.sessionID != c.SessionID { // COMMIT-1
			return nil, &Refusal{"session_binding_mismatch", "this store is bound to " + s.head.sessionID,
				details{"bound_session_id": s.head.sessionID, "attempted_session_id": c.SessionID}}
		}
	}
	if c.Stamp != nil {
		known, found := s.stamps[turn{c.SessionID, c.Stamp.TurnID}]
		if c.Stamp.SessionID != c.SessionID || found && known.hash != c.Stamp.Hash { // COMMIT-2, COMMIT-3
			return nil, turnConflict(c.Stamp)
		}
		if found { // COMMIT-4
			s.release(c.Release)
			return known.result, nil
		}
	}
	if err := s.checkFence(c.SessionID, c.Fence, now); err != nil { // COMMIT-5
		return nil, err
	}
	if c.Expected != nil && *c.Expected != revision { // COMMIT-6
		return nil, &Refusal{"head_revision_conflict", fmt.Sprintf("expected %d, it is %d", *c.Expected, revision),
			details{"expected": *c.Expected, "actual": revision}}
	}
	done, err := s.checkCompletions(c.SessionID, c.Completions)
	if err != nil {
		return nil, err
	}
	nodes, leaf, err := s.withDelta(c.Graph)
	if err != nil {
		return nil, err
	}
	ledger, err := s.withUsage(c.Usage)
	if err != nil {
		return nil, err
	}
	manifest, bodies, err := s.resolve(c.Checkpoint)
	if err != nil {
		return nil, err
	}

	// COMMIT-8: nothing is refused from here on.
	result := &CommitResult{revision + 1, refOf("checkpoint", asJSON(manifest)), manifest}
	s.head = &head{
		sessionID: c.SessionID, revision: revision + 1, config: c.Config, agentFrames: c.AgentFrames,
		currentFrame: c.CurrentFrame, leaf: leaf, checkpointRef: result.CheckpointRef, manifest: manifest,
	}
	s.nodes, s.ledger = nodes, ledger
	for ref, body := range bodies {
		s.bodies[ref] = body
	}
	s.queues[c.SessionID] = slices.DeleteFunc(s.queues[c.SessionID], func(e *entry) bool { return done[e.batch.BatchID] })
	s.stampAttachments(c.SessionID, c.AttachmentsIDs, now)
	if c.Stamp != nil {
		s.stamps[turn{c.SessionID, c.Stamp.TurnID}] = stamped{c.Stamp.Hash, result}
	}
	s.release(c.Release)
	return result, nil
}

// checkCompletions gives the batches that are done (COMMIT-7). Every claim has to be completed whole and once.
func (s *state) checkCompletions(session string, completions []Completion) (map[string]bool, error) {
	done := map[string]bool{}
	for _, c := range completions {
		held := s.under(session, c.ClaimID, c.LeaseToken)
		for _, id := range c.BatchIDs {
			if c.SessionID != session || !slices.ContainsFunc(held, func(e *entry) bool { return e.batch.BatchID == id }) {
				return nil, claimExpired(c.SessionID, c.ClaimID)
			}
			if done[id] {
				return nil, invalid("completed_queue_claims", "%s is completed twice", id)
			}
			done[id] = true
		}
		if len(c.BatchIDs) == 0 || len(c.BatchIDs) < len(held) {
			return nil, invalid("batch_ids", "every batch of claim %s has to be named", c.ClaimID)
		}
	}
	return done, nil
}

// withDelta gives the nodes and the leaf after the delta (GRAPH-1, GRAPH-8).
func (s *state) withDelta(d Delta) ([]*storedNode, string, error) {
	nodes, delta := slices.Clone(s.nodes), d.Unchanged
	if d.Append != nil {
		delta = d.Append
	} else if d.ReplaceFull != nil {
		nodes, delta = nil, d.ReplaceFull
	}
	if delta == nil {
		return nil, "", invalid("graph", "Unchanged, Append or ReplaceFull is due")
	}
	known := map[string]*storedNode{}
	for _, n := range nodes {
		known[n.ID] = n
	}
	for _, n := range delta.Nodes {
		if known[n.ID] != nil {
			return nil, "", invalid("node_id", "%s exists", n.ID)
		}
		known[n.ID] = &storedNode{Node: n}
		nodes = append(nodes, known[n.ID])
	}
	if leaf := known[delta.Leaf]; delta.Leaf != "" && (leaf == nil || leaf.hidden) {
		return nil, "", invalid("leaf_node_id", "%s names no visible node", delta.Leaf)
	}
	return nodes, delta.Leaf, nil
}

// withUsage gives the ledger with these rows added (LAW-8).
func (s *state) withUsage(rows []UsageRow) ([]UsageRow, error) {
	ledger := slices.Clone(s.ledger)
	for _, row := range rows {
		i := slices.IndexFunc(ledger, func(r UsageRow) bool { return r.Source == row.Source && r.Model == row.Model })
		if i < 0 {
			ledger = append(ledger, row)
			continue
		}
		for sum, more := range map[*int64]int64{
			&ledger[i].Usage.Input: row.Usage.Input, &ledger[i].Usage.Output: row.Usage.Output,
			&ledger[i].Usage.CachedInput: row.Usage.CachedInput, &ledger[i].Usage.Reasoning: row.Usage.Reasoning,
		} {
			if more > 0 && *sum > math.MaxInt64-more || more < 0 && *sum < math.MinInt64-more {
				return nil, invalid("usage_deltas", "the sum for %s does not fit 64 bits", row.Model)
			}
			*sum += more
		}
	}
	return ledger, nil
}

// resolve gives the manifest and the bodies to keep (COMMIT-10): a body gets a reference, a reference alone keeps its body.
func (s *state) resolve(c Checkpoint) (Checkpoint, map[string]json.RawMessage, error) {
	bodies := map[string]json.RawMessage{}
	for _, p := range c.parts() {
		if len(*p.body) > 0 && !bytes.Equal(*p.body, []byte("null")) {
			ref := refOf(p.name, *p.body)
			bodies[ref] = *p.body
			*p.ref = &ref
		} else if *p.ref != nil && s.bodies[**p.ref] == nil {
			return c, nil, invalid(p.name+"_ref", "%s names nothing", **p.ref)
		}
		*p.body = nil
	}
	return c, bodies, nil
}

func refOf(kind string, content []byte) string {
	return fmt.Sprintf("%s:%x", kind, sha256.Sum256(content))
}

// ---- graph and loads

func (s *state) load(_ int64, a Load) (*Read, error) {
	if s.head == nil { // GRAPH-2
		return nil, nil
	}
	checkpoint := s.head.manifest
	for _, p := range checkpoint.parts() {
		if *p.ref != nil {
			*p.body = s.bodies[**p.ref]
		}
	}
	graph := Graph{[]Node{}, optional(s.head.leaf)} // an empty slice, since a nil one becomes null
	if a.Scope.ActivePath != nil {
		graph = s.path(cmp.Or(a.Scope.ActivePath.Leaf, s.head.leaf))
	} else {
		for _, n := range s.nodes { // GRAPH-3
			if !n.hidden {
				graph.Nodes = append(graph.Nodes, n.Node)
			}
		}
	}
	return &Read{
		SessionID: s.head.sessionID, HeadRevision: s.head.revision, Config: s.head.config, AgentFrames: s.head.agentFrames,
		CurrentFrame: s.head.currentFrame, Graph: graph, CheckpointRef: s.head.checkpointRef, Checkpoint: checkpoint,
		Ledger: append([]UsageRow{}, s.ledger...),
	}, nil
}

// path goes from the leaf to its root, and ends where a cycle closes (GRAPH-4, LAW-13).
func (s *state) path(leaf string) Graph {
	graph := Graph{[]Node{}, optional(leaf)}
	seen := map[string]bool{}
	for n := s.visible(leaf); n != nil && !seen[n.ID]; n = s.visible(n.Parent) {
		seen[n.ID] = true
		graph.Nodes = append(graph.Nodes, n.Node)
	}
	slices.Reverse(graph.Nodes)
	return graph
}

func (s *state) visible(id string) *storedNode {
	for _, n := range s.nodes {
		if n.ID == id && !n.hidden {
			return n
		}
	}
	return nil
}

func (s *state) loadNode(_ int64, a LoadNode) (*Node, error) {
	if n := s.visible(a.NodeID); n != nil { // GRAPH-5
		return &n.Node, nil
	}
	return nil, nil
}

func (s *state) tombstone(_ int64, a Tombstone) (*Nothing, error) {
	for _, n := range s.nodes { // GRAPH-6
		n.hidden = n.hidden || slices.Contains(a.IDs, n.ID)
	}
	return nil, nil
}

func (s *state) vacuum(int64, Nothing) (Vacuumed, error) {
	before := len(s.nodes) // GRAPH-7
	s.nodes = slices.DeleteFunc(s.nodes, func(n *storedNode) bool { return n.hidden })
	return Vacuumed{before - len(s.nodes)}, nil
}

func (s *state) collect(int64, Nothing) (Collected, error) {
	kept := map[string]json.RawMessage{} // GRAPH-9
	roots := 0
	if s.head != nil {
		roots = 1
		for _, p := range s.head.manifest.parts() {
			if *p.ref != nil {
				kept[**p.ref] = s.bodies[**p.ref]
			}
		}
	}
	deleted := len(s.bodies) - len(kept)
	s.bodies = kept
	return Collected{roots, len(kept), deleted}, nil
}

// ---- queued work

func (s *state) enqueue(now int64, a Enqueue) (*Batch, error) {
	draft := a.Batch
	if draft.SessionID == "" || draft.AvailableAt < 0 {
		return nil, invalid("batch", "a session and a time from 0 up are due")
	}
	for _, e := range s.queues[draft.SessionID] { // QUEUE-2
		if draft.SourceKey != nil && e.batch.SourceKey != nil && *e.batch.SourceKey == *draft.SourceKey {
			return &e.batch, nil
		}
	}
	s.enqueued++ // QUEUE-1
	batch := Batch{draft.Work, fmt.Sprintf("batch-%d", s.enqueued), s.enqueued, now, []Item{}}
	for i, payload := range draft.Payloads {
		batch.Items = append(batch.Items, Item{fmt.Sprintf("%s.%d", batch.BatchID, i), payload})
	}
	s.queues[draft.SessionID] = append(s.queues[draft.SessionID], &entry{batch: batch})
	return &batch, nil
}

func (s *state) claimReady(now int64, a ClaimReady) (*Claim, error) {
	if a.OwnerID == "" || a.TTL < 0 || a.Max < 0 {
		return nil, invalid("claim", "an owner, and a ttl and a number from 0 up are due")
	}
	if a.Max == 0 { // P-ZERO-BEFORE-LEASE none-first
		return nil, nil
	}
	if err := s.checkFence(a.SessionID, &a.Fence, now); err != nil {
		return nil, err
	}
	return s.grant(now, a, s.ready(now, a)), nil
}

func (s *state) claimByIDs(now int64, a ClaimByIDs) (*Claim, error) {
	a.Max = int64(len(a.BatchIDs))
	if a.OwnerID == "" || a.TTL < 0 {
		return nil, invalid("claim", "an owner and a ttl from 0 up are due")
	}
	if a.Max == 0 {
		return nil, nil
	}
	if err := s.checkFence(a.SessionID, &a.Fence, now); err != nil {
		return nil, err
	}
	run := s.ready(now, a.ClaimReady) // QUEUE-10
	if !slices.EqualFunc(run, a.BatchIDs, func(e *entry, id string) bool { return e.batch.BatchID == id }) {
		return nil, nil
	}
	return s.grant(now, a.ClaimReady, run), nil
}

// ready is what a claim takes now: QUEUE-5 to QUEUE-7.
func (s *state) ready(now int64, a ClaimReady) []*entry {
	var run []*entry
	for _, e := range s.queues[a.SessionID] {
		if !due(e.batch.AvailableAt, now) || e.held(now) { // P-JOIN-GAP skip
			continue
		}
		if len(run) == 0 {
			if a.Boundary == "active_turn_checkpoint" && e.batch.DeliveryPolicy != "earliest_safe_boundary" {
				return nil
			}
		} else if !joins(run[0].batch.Work, e.batch.Work) {
			break
		}
		run = append(run, e)
		if e.batch.SlotPolicy == "exclusive" || int64(len(run)) == a.Max {
			break
		}
	}
	return run
}

func joins(first, next Work) bool {
	return next.SlotPolicy == "join" && next.DeliveryPolicy == first.DeliveryPolicy && next.MergeKey == first.MergeKey
}

func (e *entry) held(now int64) bool { return e.hold != nil && live(e.hold.ExpiresAt, now) }

func (s *state) grant(now int64, a ClaimReady, run []*entry) *Claim {
	if len(run) == 0 {
		return nil
	}
	fencing := int64(0) // QUEUE-8, P-CLAIM-FENCE max
	for _, e := range run {
		fencing = max(fencing, e.fencing)
	}
	fencing++
	hold := &Hold{a.SessionID, s.mint("claim"), a.OwnerID, s.mint("token"), fencing, now, later(now, a.TTL)}
	for _, e := range run {
		e.hold, e.fencing = hold, fencing
	}
	return claimOf(hold, run)
}

func claimOf(hold *Hold, entries []*entry) *Claim {
	claim := &Claim{*hold, []Batch{}}
	for _, e := range entries {
		claim.Batches = append(claim.Batches, e.batch)
	}
	return claim
}

// under gives the batches that are still held under a claim, live or expired.
func (s *state) under(session, claimID, token string) []*entry {
	var held []*entry
	for _, e := range s.queues[session] {
		if e.hold != nil && e.hold.ClaimID == claimID && e.hold.LeaseToken == token {
			held = append(held, e)
		}
	}
	return held
}

func (s *state) renewClaim(now int64, a RenewClaim) (*Claim, error) {
	if a.TTL < 0 {
		return nil, invalid("lease_ttl_ms", "%d is negative", a.TTL)
	}
	held := s.under(a.Claim.SessionID, a.Claim.ClaimID, a.Claim.LeaseToken)
	same := func(e *entry, b Batch) bool { return e.batch.BatchID == b.BatchID }
	if len(held) == 0 || !slices.EqualFunc(held, a.Claim.Batches, same) { // QUEUE-11
		return nil, claimExpired(a.Claim.SessionID, a.Claim.ClaimID)
	}
	held[0].hold.ExpiresAt = later(now, a.TTL) // the hold is shared by all of them
	return claimOf(held[0].hold, held), nil
}

func (s *state) abandonClaim(_ int64, a AbandonClaim) (*Nothing, error) {
	for _, e := range s.under(a.Claim.SessionID, a.Claim.ClaimID, a.Claim.LeaseToken) { // QUEUE-12
		e.hold = nil
	}
	return nil, nil
}

func (s *state) cancel(now int64, a BatchOf) (*Batch, error) {
	queue := s.queues[a.SessionID]
	i := slices.IndexFunc(queue, func(e *entry) bool { return e.batch.BatchID == a.BatchID })
	if i < 0 || queue[i].held(now) { // QUEUE-13
		return nil, nil
	}
	batch := queue[i].batch
	s.queues[a.SessionID] = slices.Delete(queue, i, i+1)
	return &batch, nil
}

func (s *state) list(_ int64, a OfSession) ([]Batch, error) {
	return claimOf(&Hold{}, s.queues[a.SessionID]).Batches, nil // QUEUE-3
}

func (s *state) listPending(now int64, a OfSession) ([]Batch, error) {
	pending := []Batch{}
	for _, e := range s.queues[a.SessionID] {
		if !e.held(now) {
			pending = append(pending, e.batch)
		}
	}
	return pending, nil
}

// ---- attachments and metadata

func (s *state) recordIntent(_ int64, a RecordIntent) (*Nothing, error) {
	key := attachment{a.Intent.SessionID, a.Intent.AttachmentID} // ATTACH-1, P-INTENT-REPEAT first-wins
	if _, found := s.manifest[key]; !found {
		a.Intent.CommittedAt = nil
		s.manifest[key] = a.Intent
	}
	return nil, nil
}

func (s *state) commitRefs(now int64, a CommitRefs) (*Nothing, error) {
	s.stampAttachments(a.SessionID, a.AttachmentIDs, now)
	return nil, nil
}

func (s *state) stampAttachments(session string, ids []string, now int64) {
	for _, id := range ids { // ATTACH-2: the first stamp stays
		row, found := s.manifest[attachment{session, id}]
		if found && row.CommittedAt == nil {
			row.CommittedAt = &now
			s.manifest[attachment{session, id}] = row
		}
	}
}

func (s *state) listUncommitted(_ int64, a OlderThan) ([]Intent, error) {
	rows := []Intent{}
	for _, row := range s.manifest { // ATTACH-3
		if row.CommittedAt == nil && due(row.IntentAt, a.OlderThan) {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (s *state) forget(_ int64, a Forget) (*Nothing, error) {
	for key := range s.manifest { // ATTACH-4
		if key.id == a.AttachmentID {
			delete(s.manifest, key)
		}
	}
	return nil, nil
}

func (s *state) saveMeta(_ int64, a SaveMeta) (*Nothing, error) {
	s.meta = a.Meta
	return nil, nil
}

func (s *state) loadMeta(int64, Nothing) (json.RawMessage, error) { return s.meta, nil }

func optional(id string) *string {
	if id == "" {
		return nil
	}
	return &id
}
