//! The clients of a starter as processes: how one is started, and stopped.

use super::client::{self, Client, PROGRAM, Started};
use super::live;
use super::starter::{Admitted, Launcher, Over};
use crate::clock;
use crate::config::{Config, Route, SessionKind, SessionRoute};
use crate::env::Env;
use crate::hook::prompt::Prompt;
use crate::policy::work::Given;
use crate::store::fleet_reader::Session;
use crate::text;

/// Starts the clients of a route, with one of its keys.
pub(super) struct Processes<'a> {
    pub(super) env: &'a Env,
    pub(super) route: &'a Route,
    pub(super) session: &'a SessionRoute,
    /// The place of the API key in the route's list.
    pub(super) key: usize,
}

impl Launcher for Processes<'_> {
    type Client = Started;

    fn missing(&self) -> Option<(String, String)> {
        client::missing(self.env, self.session, self.key)
    }

    fn start(&self, config: &Config, given: &Given, admitted: Admitted) -> Result<Started, String> {
        let Admitted { admission, decision, token } = admitted;
        let scope = text::encode(&self.route.to);
        let prompt = Prompt { template: config.prompt.clone(), waits: true, scope, ..Prompt::default() };
        let prompt = prompt.render(&decision);
        let Self { env, route, session, key } = *self;
        let model = &given.in_hand.entry.model;
        let client = Client { config, env, route, session, token: &token, id: &uuid(), key, model };
        client.start(admission, &prompt).map_err(|why| format!("{PROGRAM} cannot be started: {why}"))
    }

    fn over(&self, started: &mut Started) -> Option<Over> {
        match started.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(Over { is_well: status.success(), how: status.to_string() }),
            Err(why) => Some(Over { is_well: false, how: why.to_string() }),
        }
    }

    fn kill(&self, started: &mut Started) -> String {
        if let Some(id) = background_id(&started.said()).filter(|_| self.session.kind == SessionKind::Background) {
            let _ = live::stop_background(&id);
        }
        let _ = started.child.kill();
        let _ = started.child.wait();
        text::line_of(started.said().trim(), 200)
    }

    fn output(&self, started: &Started) -> String {
        text::path(&started.output)
    }

    fn detach(&self, mut started: Started) {
        // The command that starts a background session ends a moment later.
        std::thread::spawn(move || started.child.wait());
    }

    fn stop(&self, session: &Session) -> Result<(), String> {
        live::stop(session, self.session.kind)
    }
}

/// Returns a random id as the client expects it for a session.
fn uuid() -> String {
    let (high, low) = (clock::chance(), clock::chance());
    let part = |n: u64, shift: u32, bits: u32| (n >> shift) & ((1 << bits) - 1);
    let (a, b, c) = (part(high, 32, 32), part(high, 16, 16), part(high, 0, 12));
    format!("{a:08x}-{b:04x}-4{c:03x}-8{:03x}-{:012x}", part(low, 48, 12), part(low, 0, 48))
}

/// Returns the id of a background session from the client's answer, `backgrounded · ID · NAME` (2.1.332).
fn background_id(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.starts_with("backgrounded"))?;
    let id = line.split('·').nth(1)?.trim();
    (id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}
