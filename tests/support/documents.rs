//! The server's documents as a test reads and plants them.

use redis::Connection;
use serde_json::{Map, Value};

/// The key of a session's document in the fleet `default`.
pub fn session(id: &str) -> String {
    format!("frosty:{{default}}:doc:session:{id}")
}

/// The key of a scope's document in the fleet `default`.
pub fn scope(name: &str) -> String {
    format!("frosty:{{default}}:doc:scope:{name}")
}

/// The key of the document of the fleet `default`.
pub const FLEET: &str = "frosty:{default}:doc:fleet";

/// The document under a key; an empty object where there is none.
pub fn read(con: &mut Connection, key: &str) -> Value {
    let text: Option<String> = redis::cmd("GET").arg(key).query(con).unwrap();
    text.map_or_else(|| Value::Object(Map::new()), |text| serde_json::from_str(&text).unwrap())
}

/// Writes a document with these fields, in the place of the one that is there.
pub fn write(con: &mut Connection, key: &str, fields: &Value) {
    let own = |name: &String| name != "version" && name != "format";
    let fields: Map<String, Value> = fields.as_object().unwrap().clone().into_iter().filter(|(name, _)| own(name)).collect();
    let body = Value::Object(fields).to_string();
    let rest = body.strip_prefix('{').unwrap();
    let comma = if rest == "}" { "" } else { "," };
    let version = format!("1-{:x}", nanoseconds());
    let text = format!("{{\"version\":\"{version}\",\"format\":1{comma}{rest}");
    redis::cmd("SET").arg(key).arg(text).query::<()>(con).unwrap();
}

/// Changes fields of the document under a key; `null` removes one.
pub fn change(con: &mut Connection, key: &str, fields: &Value) {
    let mut document = read(con, key);
    for (name, value) in fields.as_object().unwrap() {
        let all = document.as_object_mut().unwrap();
        if value.is_null() { all.remove(name) } else { all.insert(name.clone(), value.clone()) };
    }
    write(con, key, &document);
}

/// Versions must not be met twice.
fn nanoseconds() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}
