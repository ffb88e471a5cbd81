//! Runs the store's own scripts in Lua over a simulated database, as a server does: with strict globals, and
//! with the declared keys alone.

use std::cell::RefCell;
use std::collections::HashMap;

use mlua::{Function, Lua, Table, Value, Variadic};

use super::database::{Database, Reply};
use super::variants;

/// The inputs and the results of a running script.
#[derive(Default)]
struct Running {
    database: Database,
    now: i64,
    keys: Vec<Vec<u8>>,
    /// Its commands that matter to the history.
    written: Vec<Vec<Vec<u8>>>,
}

thread_local! {
    static RUNNING: RefCell<Running> = RefCell::default();
    static MACHINE: Machine = Machine::new();
}

struct Machine {
    lua: Lua,
    compiled: RefCell<HashMap<String, Function>>,
}

/// The commands without a key.
const KEYLESS: [&str; 2] = ["TIME", "PUBLISH"];
/// The prefix of an error that no script of the store may cause: an undeclared key, a global, an unknown
/// command.
pub(super) const BROKEN_SCRIPT: &str = "broken script: ";

impl Machine {
    fn new() -> Self {
        let lua = Lua::new();
        let redis = lua.create_table().unwrap();
        redis.set("call", lua.create_function(|lua, words| run(lua, &words, true)).unwrap()).unwrap();
        redis.set("pcall", lua.create_function(|lua, words| run(lua, &words, false)).unwrap()).unwrap();
        let error = |lua: &Lua, text: mlua::LuaString| {
            let error = lua.create_table()?;
            error.set("err", text)?;
            Ok(error)
        };
        redis.set("error_reply", lua.create_function(error).unwrap()).unwrap();
        lua.globals().set("redis", redis).unwrap();
        let strict = "setmetatable(_G, { __newindex = function(t, k, v)
              if k ~= 'KEYS' and k ~= 'ARGV' then error('a global: ' .. tostring(k)) end
              rawset(t, k, v)
            end, __index = function(_, k) error('an unknown global: ' .. tostring(k)) end })";
        lua.load(strict).exec().unwrap();
        Self { lua, compiled: RefCell::default() }
    }

    fn compiled(&self, script: &str) -> Function {
        let mut compiled = self.compiled.borrow_mut();
        let text = variants::patched(script);
        if let Some(function) = compiled.get(text.as_ref()) {
            return function.clone();
        }
        let function = self.lua.load(text.as_ref()).into_function().unwrap();
        compiled.insert(text.into_owned(), function.clone());
        function
    }
}

/// Runs a script; returns its reply and the commands that it ran.
pub(super) fn eval(
    database: &mut Database,
    now: i64,
    script: &str,
    keys: &[Vec<u8>],
    words: &[Vec<u8>],
) -> (Reply, Vec<Vec<Vec<u8>>>) {
    RUNNING.with_borrow_mut(|running| {
        *running = Running { database: std::mem::take(database), now, keys: keys.to_vec(), written: Vec::new() };
    });
    let reply = MACHINE.with(|machine| {
        let function = machine.compiled(script);
        let list = |all: &[Vec<u8>]| {
            machine.lua.create_sequence_from(all.iter().map(|word| machine.lua.create_string(word).unwrap())).unwrap()
        };
        machine.lua.globals().set("KEYS", list(keys)).unwrap();
        machine.lua.globals().set("ARGV", list(words)).unwrap();
        match function.call::<Value>(()) {
            Ok(value) => reply(&value),
            Err(e) => {
                let e = e.to_string();
                assert!(!e.contains(BROKEN_SCRIPT) && !e.contains("global"), "{e}");
                Reply::Error(format!("ERR {}", e.lines().next().unwrap_or_default()))
            }
        }
    });
    RUNNING.with_borrow_mut(|running| {
        *database = std::mem::take(&mut running.database);
        (reply, std::mem::take(&mut running.written))
    })
}

fn run(lua: &Lua, words: &Variadic<Value>, raises: bool) -> mlua::Result<Value> {
    let words: Vec<Vec<u8>> = words
        .iter()
        .map(|word| match word {
            Value::String(text) => text.as_bytes().to_vec(),
            Value::Integer(n) => n.to_string().into_bytes(),
            Value::Number(n) => format!("{n:.0}").into_bytes(),
            other => panic!("{BROKEN_SCRIPT}a word {other:?}"),
        })
        .collect();
    let reply = RUNNING.with_borrow_mut(|running| {
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        let is_declared = KEYLESS.contains(&name.as_str()) || running.keys.contains(&words[1]);
        assert!(is_declared, "{BROKEN_SCRIPT}an undeclared key: {:?}", String::from_utf8_lossy(&words[1]));
        let reply = running.database.run(running.now, &words);
        let is_written = matches!(name.as_str(), "XADD" | "SET" | "PUBLISH") && !matches!(reply, Reply::Error(_));
        (reply, is_written.then_some(words).map(|words| running.written.push(words)))
    });
    match reply.0 {
        Reply::Error(e) if raises => Err(mlua::Error::RuntimeError(e)),
        reply => value(lua, reply),
    }
}

fn value(lua: &Lua, reply: Reply) -> mlua::Result<Value> {
    let named = |name: &str, text: &str| {
        let table = lua.create_table()?;
        table.set(name, text)?;
        Ok(Value::Table(table))
    };
    Ok(match reply {
        Reply::Status(text) => return named("ok", text),
        Reply::Error(text) => return named("err", &text),
        Reply::Bulk(bytes) => Value::String(lua.create_string(&bytes)?),
        Reply::Nil => Value::Boolean(false),
        #[allow(clippy::useless_conversion, reason = "Lua 5.1 has another whole number")]
        Reply::Int(n) => Value::Integer(n.into()),
        Reply::Array(all) => {
            let values = all.into_iter().map(|reply| value(lua, reply)).collect::<mlua::Result<Vec<_>>>()?;
            Value::Table(lua.create_sequence_from(values)?)
        }
    })
}

/// Converts a script's value to a reply as a server does.
fn reply(value: &Value) -> Reply {
    match value {
        Value::String(text) => Reply::Bulk(text.as_bytes().to_vec()),
        Value::Integer(n) => Reply::Int(*n),
        #[allow(clippy::cast_possible_truncation, reason = "as a server does")]
        Value::Number(n) => Reply::Int(*n as i64),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => reply_of(table),
        _ => Reply::Nil,
    }
}

fn reply_of(table: &Table) -> Reply {
    if let Ok(Some(error)) = table.raw_get::<Option<String>>("err") {
        return Reply::Error(error);
    }
    Reply::Array(table.sequence_values::<Value>().map(|value| reply(&value.unwrap())).collect())
}
