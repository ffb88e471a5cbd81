//! The server's documents, as a test reads and plants them.

use frosty::policy::limits::Ms;
use redis::Connection;
use serde_json::{Map, Value, json};

/// Returns the key of a session's document in the fleet `default`.
pub fn session(id: &str) -> String {
    format!("frosty:{{default}}:doc:session:{id}")
}

/// Returns the key of a scope's document in the fleet `default`.
pub fn scope(name: &str) -> String {
    format!("frosty:{{default}}:doc:scope:{name}")
}

/// The key of the document of the fleet `default`.
pub const FLEET: &str = "frosty:{default}:doc:fleet";

/// Returns the key of a scope's admissions in the fleet `default`: a sorted set by time.
pub fn admissions(scope: &str) -> String {
    format!("frosty:{{default}}:admissions:scope:{scope}")
}

/// Returns the key of the attempts that a scope's burst window counts, in the fleet `default`: a sorted set by
/// time.
pub fn attempts(scope: &str) -> String {
    format!("frosty:{{default}}:attempts:scope:{scope}")
}

/// Returns the document under a key, or an empty object where there is none.
pub fn read(con: &mut Connection, key: &str) -> Value {
    let text: Option<String> = redis::cmd("GET").arg(key).query(con).unwrap();
    text.map_or_else(|| Value::Object(Map::new()), |text| serde_json::from_str(&text).unwrap())
}

/// Returns the text of a document with these fields.
pub fn text(fields: &Value) -> String {
    let mut fields = fields.as_object().unwrap().clone();
    fields.retain(|name, value| !value.is_null() && name != "version" && name != "format");
    let body = Value::Object(fields).to_string();
    let rest = body.strip_prefix('{').unwrap();
    let comma = if rest == "}" { "" } else { "," };
    format!("{{\"version\":\"1-{:x}\",\"format\":1{comma}{rest}", nanoseconds())
}

/// Writes a document with these fields, in place of the existing one.
pub fn write(con: &mut Connection, key: &str, fields: &Value) {
    redis::cmd("SET").arg(key).arg(text(fields)).query::<()>(con).unwrap();
}

/// Changes fields of the document under a key; `null` removes one.
pub fn change(con: &mut Connection, key: &str, fields: &Value) {
    let mut document = read(con, key);
    for (name, value) in fields.as_object().unwrap() {
        document[name] = value.clone();
    }
    write(con, key, &document);
}

/// Opens a hold in the document of a scope or of the fleet, by `ann`.
pub fn hold(con: &mut Connection, key: &str, reason: &str, since: Ms, until: Option<Ms>) {
    let mut hold = json!({"reason": reason, "by": "ann", "since": since});
    if let Some(until) = until {
        hold["until"] = until.into();
    }
    change(con, key, &json!({"hold": hold}));
}

/// Plants a key of a type that no document has.
pub fn plant(con: &mut Connection, key: &str) {
    redis::cmd("DEL").arg(key).query::<()>(con).unwrap();
    redis::cmd("LPUSH").arg(key).arg("of another type").query::<()>(con).unwrap();
}

/// Returns a unique number, since no version may occur twice.
fn nanoseconds() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
}
