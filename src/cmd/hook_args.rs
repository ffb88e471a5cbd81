//! The flags of `frosty hook` and `frosty check`.

use std::time::Duration;

use clap::Args;

use crate::config::Flags;
use crate::hook::flags::{seconds, wait};

/// Flags of `frosty hook`; each overrides the configuration.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// When a session is armed without `frosty on`: always, or manual (only by FROSTY_ON=1 or `frosty on`)
    #[arg(long, value_name = "WHEN", value_parser = ["always", "manual"])]
    pub arm: Option<String>,
    /// The store: auto, embedded, or redis://[user:password@]host[:port][/database]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// The scope that limits apply to, instead of the tmux pane or the session
    #[arg(long, value_name = "NAME")]
    pub scope: Option<String>,
    /// The fleet: all scopes that share one API key
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Wait out a refusal for this long instead of standing down, such as 20d; needs --timeout
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    pub wait: Option<Duration>,
    /// The "timeout" that the client's registration gives this hook, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// On SessionStart, show when the waiting engine beside this hook resumes the session
    #[arg(long)]
    pub show_resume: bool,
}

impl HookArgs {
    /// Returns the flags in the configuration's form.
    #[must_use]
    pub fn flags(self) -> Flags {
        Flags {
            arm: self.arm,
            store: self.store,
            scope: self.scope,
            fleet: self.fleet,
            wait: self.wait.unwrap_or_default(),
            timeout: self.timeout,
            show_resume: self.show_resume,
        }
    }
}
