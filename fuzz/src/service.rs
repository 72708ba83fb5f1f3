//! `lin-kv`: the linearizable store, as far as nodes use it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The store.
#[derive(Debug, Default)]
pub struct LinKv(BTreeMap<String, Value>);

impl LinKv {
    /// Answers a request. Returns the name of the node and the line for it.
    pub fn answer(&mut self, line: &str) -> Option<(String, String)> {
        let message: Value = serde_json::from_str(line).ok()?;
        let (node, body) = (message["src"].as_str()?, &message["body"]);
        let key = body["key"].to_string();
        let known = self.0.get(&key);
        let error = |code: u64| json!({"type": "error", "code": code, "text": "no"});
        let mut reply = match body["type"].as_str()? {
            "read" => match known {
                Some(value) => json!({"type": "read_ok", "value": value}),
                None => error(20),
            },
            "write" => {
                self.0.insert(key, body["value"].clone());
                json!({"type": "write_ok"})
            }
            "cas" => {
                let may_create = body["create_if_not_exists"] == true;
                match known {
                    None if !may_create => error(20),
                    Some(value) if *value != body["from"] => error(22),
                    _ => {
                        self.0.insert(key, body["to"].clone());
                        json!({"type": "cas_ok"})
                    }
                }
            }
            _ => error(10),
        };
        reply["in_reply_to"] = body["msg_id"].clone();
        let line = json!({"src": "lin-kv", "dest": node, "body": reply}).to_string();
        Some((node.to_owned(), line))
    }
}
