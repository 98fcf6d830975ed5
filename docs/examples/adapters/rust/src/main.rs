//! The adapter: leasehold's protocol on standard input and output, in front of the store beside it. Run it with
//!
//!     cargo build --release && leasehold check -- target/release/leasehold-example

mod records;
mod store;

use records::Refusal;
use serde::{de::DeserializeOwned, Serialize};
use serde_json::{from_value, json, Value};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{stdin, stdout, BufRead, Write};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::rc::Rc;
use store::Store;

const OPS: [&str; 23] = [
    "load_session",
    "load_node",
    "commit_runtime_state",
    "try_claim_session_execution_lease",
    "renew_session_execution_lease",
    "release_session_execution_lease",
    "enqueue_queued_work",
    "claim_ready_queued_work",
    "claim_ready_queued_work_by_batch_ids",
    "renew_queued_work_claim",
    "abandon_queued_work_claim",
    "cancel_queued_work_batch",
    "list_queued_work",
    "list_pending_queued_work",
    "save_session_meta",
    "load_session_meta",
    "tombstone_nodes",
    "vacuum",
    "gc_unreachable",
    "record_intent",
    "commit_refs",
    "list_uncommitted",
    "forget",
];

/// The argument of that name, as the type that the store wants.
fn get<T: DeserializeOwned>(args: &Value, name: &str) -> Result<T, Refusal> {
    decoded(args[name].clone(), name)
}

fn decoded<T: DeserializeOwned>(value: Value, name: &str) -> Result<T, Refusal> {
    from_value(value).map_err(|error| Refusal::InvalidRequest { field: name.into(), message: error.to_string() })
}

fn ok(value: impl Serialize) -> Result<Value, Refusal> {
    Ok(serde_json::to_value(value).expect("our own records have text keys"))
}

fn call(s: &mut Store, op: &str, a: &Value) -> Result<Value, Refusal> {
    let fence = "session_execution_lease";
    match op {
        "load_session" => ok(s.load_session(get(a, "scope")?)),
        "load_node" => ok(s.load_node(&get::<String>(a, "node_id")?)),
        "commit_runtime_state" => ok(s.commit(get(a, "commit")?)?),
        "try_claim_session_execution_lease" => {
            ok(s.try_claim_lease(get(a, "session_id")?, get(a, "owner_id")?, get(a, "lease_ttl_ms")?)?)
        }
        "renew_session_execution_lease" => ok(s.renew_lease(get(a, "fence")?, get(a, "lease_ttl_ms")?)?),
        "release_session_execution_lease" => ok(s.release_lease(&get(a, "completion")?)),
        "enqueue_queued_work" => ok(s.enqueue(get(a, "batch")?)?),
        "claim_ready_queued_work" => ok(s.claim_ready(get(a, fence)?, decoded(a.clone(), "args")?, get(a, "max_batches")?)?),
        "claim_ready_queued_work_by_batch_ids" => {
            let batch_ids: Vec<String> = get(a, "batch_ids")?;
            ok(s.claim_ready_by_ids(get(a, fence)?, decoded(a.clone(), "args")?, &batch_ids)?)
        }
        "renew_queued_work_claim" => ok(s.renew_claim(get(a, "claim")?, get(a, "lease_ttl_ms")?)?),
        "abandon_queued_work_claim" => ok(s.abandon_claim(&get(a, "claim")?)),
        "cancel_queued_work_batch" => ok(s.cancel(&get::<String>(a, "session_id")?, &get::<String>(a, "batch_id")?)),
        "list_queued_work" => ok(s.list(&get::<String>(a, "session_id")?)),
        "list_pending_queued_work" => ok(s.list_pending(&get::<String>(a, "session_id")?)),
        "save_session_meta" => ok(s.save_meta(get(a, "meta")?)),
        "load_session_meta" => ok(s.load_meta()),
        "tombstone_nodes" => ok(s.tombstone_nodes(&get::<Vec<String>>(a, "ids")?)),
        "vacuum" => ok(s.vacuum()),
        "gc_unreachable" => ok(s.collect_garbage()),
        "record_intent" => ok(s.record_intent(get(a, "intent")?)),
        "commit_refs" => ok(s.commit_refs(&get::<String>(a, "session_id")?, &get::<Vec<String>>(a, "attachment_ids")?)),
        "list_uncommitted" => ok(s.list_uncommitted(get(a, "older_than_epoch_ms")?)),
        "forget" => ok(s.forget(&get::<String>(a, "attachment_id")?)),
        _ => unreachable!("the operation is one of OPS"),
    }
}

#[derive(Default)]
struct Adapter {
    now: Rc<Cell<i64>>, // the virtual clock: only the command clock moves it
    stores: HashMap<String, Rc<RefCell<Store>>>,
    handles: HashMap<String, Rc<RefCell<Store>>>, // in memory, several handles are one store
}

impl Adapter {
    fn answer(&mut self, request: &Value) -> Value {
        let text = |name: &str| request[name].as_str().unwrap_or_default().to_string();
        match text("cmd").as_str() {
            "hello" => return hello(&request["protocol"]),
            "create" => {
                let now = self.now.clone();
                self.stores.insert(text("store"), Rc::new(RefCell::new(Store::new(move || now.get()))));
            }
            "open" => drop(self.handles.insert(text("handle"), self.stores[&text("store")].clone())),
            "close" => drop(self.handles.remove(&text("handle"))),
            "drop" => drop(self.stores.remove(&text("store"))),
            "clock" => self.now.set(request["now_ms"].as_i64().expect("now_ms is an integer")),
            "call" if !OPS.contains(&text("op").as_str()) => return json!({"skip": {"reason": "this store has no such operation"}}),
            "call" => match call(&mut self.handles[&text("handle")].borrow_mut(), &text("op"), &request["args"]) {
                Ok(value) => return json!({ "ok": value }),
                Err(refusal) => {
                    let mut err = json!(refusal); // with its code and details
                    err["message"] = format!("{refusal:?}").into();
                    return json!({ "err": err });
                }
            },
            "bye" => {}
            other => panic!("unknown command {other}"),
        }
        json!({"ok": {}})
    }
}

fn hello(protocol: &Value) -> Value {
    assert!(protocol["min"].as_i64() <= Some(1) && protocol["max"].as_i64() >= Some(1), "protocol 1 is spoken here");
    let capabilities = json!({
        "tier": "inline", "manifest": "persistent", "clock": "virtual", "handles": 8, "reopen": false, "kill": false,
        "concurrent": false, "max_integer": i64::MAX, "ops": OPS,
    });
    json!({"ok": {"protocol": 1, "name": "example-rust", "version": "1.0.0", "language": "rust", "capabilities": capabilities}})
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut adapter = Adapter::default();
    for line in stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        // A panic is this program's fault, not the store's answer. Its message is on standard error already.
        let answer = catch_unwind(AssertUnwindSafe(|| adapter.answer(&request)));
        let mut reply = answer.unwrap_or_else(|_| json!({"fault": {"message": "the adapter panicked, see standard error"}}));
        reply["seq"] = request["seq"].clone();
        writeln!(stdout(), "{reply}")?;
        stdout().flush()?;
        if request["cmd"] == "bye" {
            break;
        }
    }
    Ok(())
}
