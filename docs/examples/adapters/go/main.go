// The adapter: leasehold's protocol on standard input and output, in front of the store beside it. Run it with
//
//	go build -o adapter . && leasehold check -- ./adapter
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
)

type operation func(*Store, json.RawMessage) (any, error)

// op decodes the arguments: their JSON is that of the store's own records.
func op[A, R any](do func(*Store, A) (R, error)) operation {
	return func(s *Store, raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, &Refusal{"invalid_request", err.Error(), details{"field": "args"}}
		}
		return do(s, args)
	}
}

var operations = map[string]operation{
	"load_session":                         op(LoadOp),
	"load_node":                            op(LoadNodeOp),
	"commit_runtime_state":                 op(CommitOp),
	"try_claim_session_execution_lease":    op(ClaimLeaseOp),
	"renew_session_execution_lease":        op(RenewLeaseOp),
	"release_session_execution_lease":      op(ReleaseLeaseOp),
	"enqueue_queued_work":                  op(EnqueueOp),
	"claim_ready_queued_work":              op(ClaimReadyOp),
	"claim_ready_queued_work_by_batch_ids": op(ClaimByIDsOp),
	"renew_queued_work_claim":              op(RenewClaimOp),
	"abandon_queued_work_claim":            op(AbandonClaimOp),
	"cancel_queued_work_batch":             op(CancelOp),
	"list_queued_work":                     op(ListOp),
	"list_pending_queued_work":             op(ListPendingOp),
	"save_session_meta":                    op(SaveMetaOp),
	"load_session_meta":                    op(LoadMetaOp),
	"tombstone_nodes":                      op(TombstoneOp),
	"vacuum":                               op(VacuumOp),
	"gc_unreachable":                       op(CollectOp),
	"record_intent":                        op(RecordIntentOp),
	"commit_refs":                          op(CommitRefsOp),
	"list_uncommitted":                     op(ListUncommittedOp),
	"forget":                               op(ForgetOp),
}

type request struct {
	Seq      int64
	Cmd      string
	Protocol struct{ Min, Max int }
	Store    string
	Handle   string
	Now      int64 `json:"now_ms"`
	Op       string
	Args     json.RawMessage
}

type adapter struct {
	data    string // the directory of the journals
	now     int64  // the virtual clock: only the command clock moves it
	handles map[string]*Store
}

func (a *adapter) answer(r request) (answer details) {
	defer func() { // whatever panics is this program's fault, not the store's answer
		if broken := recover(); broken != nil {
			answer = details{"fault": details{"message": fmt.Sprint(broken), "trace": string(debug.Stack())}}
		}
	}()
	var value any = details{}
	var err error
	path := filepath.Join(a.data, url.PathEscape(r.Store)+".journal")
	switch r.Cmd {
	case "hello":
		value, err = hello(r)
	case "create", "drop":
		err = os.RemoveAll(path)
	case "open":
		a.handles[r.Handle], err = Open(path, func() int64 { return a.now })
	case "close":
		err = a.handles[r.Handle].Close()
		delete(a.handles, r.Handle)
	case "clock":
		a.now = r.Now
	case "call":
		do, found := operations[r.Op]
		if !found {
			return details{"skip": details{"reason": "this store has no " + r.Op}}
		}
		value, err = do(a.handles[r.Handle], r.Args)
	case "bye":
	default:
		err = fmt.Errorf("unknown command %q", r.Cmd)
	}
	var refusal *Refusal
	var unknown *Unknown
	switch {
	case err == nil:
		return details{"ok": value}
	case errors.As(err, &refusal):
		answer := details{"code": refusal.Code, "message": refusal.Message}
		maps.Copy(answer, refusal.Details)
		return details{"err": answer}
	case errors.As(err, &unknown):
		return details{"unknown": details{"message": err.Error()}}
	default:
		return details{"fault": details{"message": err.Error()}}
	}
}

func hello(r request) (any, error) {
	if r.Protocol.Min > 1 || r.Protocol.Max < 1 {
		return nil, fmt.Errorf("protocol 1 is spoken here, not %d to %d", r.Protocol.Min, r.Protocol.Max)
	}
	capabilities := details{
		"tier": "durable", "manifest": "persistent", "clock": "virtual", "handles": 8, "reopen": true, "kill": true,
		"concurrent": false, "max_integer": int64(math.MaxInt64), "ops": slices.Collect(maps.Keys(operations)),
	}
	return details{"protocol": 1, "name": "example-go", "version": "1.0.0", "language": "go", "capabilities": capabilities}, nil
}

func main() {
	log.SetFlags(0) // log writes to standard error; standard output is the protocol's alone
	if err := serve(os.Getenv("LEASEHOLD_DATA")); err != nil {
		log.Fatal(err)
	}
}

func serve(data string) (err error) {
	if data == "" {
		if data, err = os.MkdirTemp("", "example-go-"); err != nil {
			return err
		}
		defer os.RemoveAll(data)
	}
	a := &adapter{data: data, handles: map[string]*Store{}}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := in.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer := a.answer(r)
		answer["seq"] = r.Seq
		if err := out.Encode(answer); err != nil || r.Cmd == "bye" {
			return err
		}
	}
}
