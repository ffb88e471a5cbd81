//! The flags of `frosty hook` and `frosty check`.

use std::time::Duration;

use clap::Args;

use crate::config::Flags;
use crate::hook::flags::{seconds, wait};

/// Flags of `frosty hook`; each overrides the configuration.
#[derive(Debug, Args)]
pub struct HookArgs {
    /// Arm sessions always, or only by `frosty on` or FROSTY_ON=1 (manual)
    #[arg(long, value_name = "WHEN", value_parser = ["always", "manual"])]
    pub arm: Option<String>,
    /// Use this store: auto, embedded, or redis://HOST [default: configured]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
    /// Apply the limits to this scope [default: the tmux pane or session]
    #[arg(long, value_name = "NAME")]
    pub scope: Option<String>,
    /// Use this fleet: the scopes of one API key [default: configured]
    #[arg(long, value_name = "NAME")]
    pub fleet: Option<String>,
    /// Wait out a refusal for up to this long (20d); needs --timeout
    #[arg(long, value_name = "DURATION", value_parser = wait)]
    pub wait: Option<Duration>,
    /// Repeat the "timeout" of this hook's registration, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
    /// Show on SessionStart when the waiting engine resumes the session
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
