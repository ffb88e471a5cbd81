//! Runs the store's own scripts in Lua over a simulated database, as a server does: with strict globals, and
//! with the declared keys alone.
//!
//! The commands of the scripts are most of what a history computes. They use Lua's own interface, without a copy of
//! their words.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mlua::{Function, Lua, ffi, lua_State};

use super::database::{Database, Reply};
use super::variants;

/// A command of a script that matters to the history.
pub(super) enum Written {
    Published {
        channel: Vec<u8>,
        text: Vec<u8>,
    },
    Document {
        key: Vec<u8>,
        /// Whether it has the field of a newer program.
        is_newer: bool,
        /// Its lifetime in milliseconds.
        lifetime: Option<i64>,
    },
    Entry {
        stream: Vec<u8>,
        fields: Vec<(String, String)>,
    },
}

/// The inputs and the results of a running script.
#[derive(Default)]
struct Running {
    database: Database,
    now: i64,
    keys: Vec<Vec<u8>>,
    written: Vec<Written>,
    /// The panic of a command.
    panic: Option<Box<dyn Any + Send>>,
}

thread_local! {
    static RUNNING: RefCell<Running> = RefCell::default();
    static MACHINE: Machine = Machine::new();
}

struct Machine {
    lua: Lua,
    /// The scripts, and their functions.
    compiled: RefCell<Vec<(String, Function)>>,
}

/// The commands without a key.
const KEYLESS: [&[u8]; 2] = [b"TIME", b"PUBLISH"];
/// The prefix of an error that no script of the store may cause: an undeclared key, a global, an unknown
/// command.
pub(super) const BROKEN_SCRIPT: &str = "broken script: ";

impl Machine {
    #[allow(unsafe_code, reason = "Lua's own interface")]
    fn new() -> Self {
        let lua = Lua::new();
        let redis = lua.create_table().unwrap();
        // SAFETY: both functions follow Lua's rules for a function in C.
        let [call, pcall] = unsafe { [lua.create_c_function(call), lua.create_c_function(pcall)] };
        redis.set("call", call.unwrap()).unwrap();
        redis.set("pcall", pcall.unwrap()).unwrap();
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
        if let Some((_, function)) = compiled.iter().find(|(known, _)| known == text.as_ref()) {
            return function.clone();
        }
        let function = self.lua.load(text.as_ref()).into_function().unwrap();
        compiled.push((text.into_owned(), function.clone()));
        function
    }
}

/// Runs a script; returns its reply and what it wrote.
#[allow(unsafe_code, reason = "Lua's own interface")]
pub(super) fn eval(
    database: &mut Database,
    now: i64,
    script: &str,
    keys: &[&[u8]],
    words: &[&[u8]],
) -> (Reply, Vec<Written>) {
    RUNNING.with_borrow_mut(|running| {
        let keys = keys.iter().map(|key| key.to_vec()).collect();
        *running = Running { database: std::mem::take(database), now, keys, ..Running::default() };
    });
    let mut reply = Ok(Reply::Nil);
    MACHINE.with(|machine| {
        let run = |state: *mut lua_State| {
            // SAFETY: the function is at the bottom of this stack, and nothing else is on it.
            reply = unsafe {
                set_list(state, keys, c"KEYS");
                set_list(state, words, c"ARGV");
                let is_failed = ffi::lua_pcall(state, 0, 1, 0) != 0;
                if is_failed { Err(text_at(state, 1).map(<[u8]>::to_vec)) } else { Ok(reply_at(state, 1)) }
            };
            // SAFETY: an empty stack is always allowed.
            unsafe { ffi::lua_settop(state, 0) };
        };
        // SAFETY: `run` leaves the stack empty, and no error passes it except one of memory.
        unsafe { machine.lua.exec_raw::<()>(machine.compiled(script), run) }.unwrap();
    });
    RUNNING.with_borrow_mut(|running| {
        *database = std::mem::take(&mut running.database);
        if let Some(panic) = running.panic.take() {
            resume_unwind(panic);
        }
        (reply.unwrap_or_else(failure), std::mem::take(&mut running.written))
    })
}

/// Returns the error of a server for that of a script.
fn failure(error: Option<Vec<u8>>) -> Reply {
    let error = String::from_utf8(error.unwrap_or_default()).unwrap();
    assert!(!error.contains(BROKEN_SCRIPT) && !error.contains("global"), "{error}");
    Reply::Error(format!("ERR {}", error.lines().next().unwrap_or_default()))
}

/// Sets a global to a list of texts.
///
/// # Safety
/// The state must be valid.
#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe fn set_list(state: *mut lua_State, all: &[&[u8]], name: &CStr) {
    // SAFETY: one table and one text at a time are pushed, and taken off again.
    unsafe {
        ffi::lua_createtable(state, c_int::try_from(all.len()).unwrap(), 0);
        for (nth, text) in (1..).zip(all) {
            ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len());
            ffi::lua_rawseti(state, -2, nth);
        }
        ffi::lua_setglobal(state, name.as_ptr());
    }
}

/// Returns the text at a place of the stack; `None` for another value.
///
/// # Safety
/// The state must be valid, and the value must stay on the stack as long as the text is used.
#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe fn text_at<'s>(state: *mut lua_State, at: c_int) -> Option<&'s [u8]> {
    // SAFETY: a text of Lua's does not move while it is on the stack.
    unsafe {
        if ffi::lua_type(state, at) != ffi::LUA_TSTRING {
            return None;
        }
        let mut len = 0;
        let text = ffi::lua_tolstring(state, at, &raw mut len);
        Some(std::slice::from_raw_parts(text.cast(), len))
    }
}

#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe extern "C-unwind" fn call(state: *mut lua_State) -> c_int {
    // SAFETY: Lua calls it with a valid state. No value of Rust is left when the error passes this function.
    unsafe {
        if !run(state, true) {
            ffi::lua_error(state);
        }
    }
    1
}

#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe extern "C-unwind" fn pcall(state: *mut lua_State) -> c_int {
    // SAFETY: as in `call`.
    unsafe {
        if !run(state, false) {
            ffi::lua_error(state);
        }
    }
    1
}

/// Runs the command on the stack, and pushes its reply. Returns `false` where it pushed an error to be raised.
///
/// # Safety
/// The state must be valid.
#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe fn run(state: *mut lua_State, raises: bool) -> bool {
    // A panic does not unwind Lua. It continues when the script has ended.
    let reply = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the words stay on the stack until the command is done.
        let words: Vec<&[u8]> = unsafe { (1..=ffi::lua_gettop(state)).map(|at| word(text_at(state, at))).collect() };
        RUNNING.with_borrow_mut(|running| running.command(&words))
    }));
    let (reply, raises) = match reply {
        Ok(reply) => (reply, raises),
        Err(panic) => {
            RUNNING.with_borrow_mut(|running| running.panic = Some(panic));
            (Reply::Error("a panic".to_owned()), true)
        }
    };
    // SAFETY: a reply needs a few places, and a function of Lua's has twenty.
    unsafe {
        match &reply {
            Reply::Error(text) if raises => {
                push_text(state, text.as_bytes());
                return false;
            }
            reply => push(state, reply),
        }
    }
    true
}

fn word(text: Option<&[u8]>) -> &[u8] {
    text.unwrap_or_else(|| panic!("{BROKEN_SCRIPT}a word that is no text"))
}

impl Running {
    fn command(&mut self, words: &[&[u8]]) -> Reply {
        let name = words[0];
        let is_declared = KEYLESS.contains(&name) || self.keys.iter().any(|key| key == words[1]);
        assert!(is_declared, "{BROKEN_SCRIPT}an undeclared key: {:?}", String::from_utf8_lossy(words[1]));
        let reply = self.database.run(self.now, words);
        if !matches!(reply, Reply::Error(_)) {
            self.written.extend(written(words));
        }
        reply
    }
}

/// Returns what a command wrote, where that matters to the history.
fn written(words: &[&[u8]]) -> Option<Written> {
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    match words[0] {
        b"PUBLISH" => Some(Written::Published { channel: words[1].to_vec(), text: words[2].to_vec() }),
        b"SET" => Some(Written::Document {
            key: words[1].to_vec(),
            is_newer: String::from_utf8_lossy(words[2]).contains(variants::NEWER),
            lifetime: words.get(4).and_then(|ms| text(ms).parse().ok()),
        }),
        b"XADD" => {
            let from = words.iter().position(|word| word == b"*").unwrap() + 1;
            let fields = words[from..].chunks(2).map(|pair| (text(pair[0]), text(pair[1]))).collect();
            Some(Written::Entry { stream: words[1].to_vec(), fields })
        }
        _ => None,
    }
}

#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe fn push_text(state: *mut lua_State, text: &[u8]) {
    // SAFETY: Lua copies the text.
    unsafe { ffi::lua_pushlstring(state, text.as_ptr().cast(), text.len()) };
}

/// Pushes a reply as a script receives it.
#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe fn push(state: *mut lua_State, reply: &Reply) {
    let named = |name: &CStr, text: &str| {
        // SAFETY: the table is below the text.
        unsafe {
            ffi::lua_createtable(state, 0, 1);
            push_text(state, text.as_bytes());
            ffi::lua_setfield(state, -2, name.as_ptr());
        }
    };
    // SAFETY: a list nests once, and each entry is taken off again.
    unsafe {
        match reply {
            Reply::Status(text) => named(c"ok", text),
            Reply::Error(text) => named(c"err", text),
            Reply::Bulk(bytes) => push_text(state, bytes),
            Reply::Nil => ffi::lua_pushboolean(state, 0),
            #[allow(clippy::useless_conversion, reason = "Lua 5.1 has another whole number")]
            Reply::Int(n) => ffi::lua_pushinteger(state, (*n).try_into().unwrap()),
            Reply::Array(all) => {
                ffi::lua_createtable(state, c_int::try_from(all.len()).unwrap(), 0);
                for (nth, reply) in (1..).zip(all) {
                    push(state, reply);
                    ffi::lua_rawseti(state, -2, nth);
                }
            }
        }
    }
}

/// Converts a script's value at a place of the stack, counted from the bottom, to a reply as a server does.
#[allow(unsafe_code, reason = "Lua's own interface")]
unsafe fn reply_at(state: *mut lua_State, at: c_int) -> Reply {
    // SAFETY: each value that is pushed is taken off again.
    unsafe {
        match ffi::lua_type(state, at) {
            ffi::LUA_TSTRING => Reply::Bulk(text_at(state, at).unwrap_or_default().to_vec()),
            #[allow(clippy::cast_possible_truncation, reason = "as a server does")]
            ffi::LUA_TNUMBER => Reply::Int(ffi::lua_tonumber(state, at) as i64),
            ffi::LUA_TBOOLEAN if ffi::lua_toboolean(state, at) != 0 => Reply::Int(1),
            ffi::LUA_TTABLE => {
                ffi::lua_pushstring(state, c"err".as_ptr());
                ffi::lua_rawget(state, at);
                let error = text_at(state, -1).map(|text| String::from_utf8_lossy(text).into_owned());
                ffi::lua_settop(state, -2);
                if let Some(error) = error {
                    return Reply::Error(error);
                }
                let entries = (1..).map_while(|nth| {
                    ffi::lua_rawgeti(state, at, nth);
                    let is_there = ffi::lua_type(state, -1) != ffi::LUA_TNIL;
                    let entry = is_there.then(|| reply_at(state, ffi::lua_gettop(state)));
                    ffi::lua_settop(state, -2);
                    entry
                });
                Reply::Array(entries.collect())
            }
            _ => Reply::Nil,
        }
    }
}
