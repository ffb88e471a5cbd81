//! The flags of the commands that change something: arm, wake, hold, release.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::PlaceArgs;
use crate::duration;
use crate::policy::limits::LONGEST_HOLD;
use crate::text::LONGEST_NOTE;

fn note(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if length > LONGEST_NOTE {
        return Err(format!("expected at most 1,000 characters, found {length}"));
    }
    Ok(text.to_owned())
}

/// Whom `wake` wakes.
#[derive(Debug, Args)]
#[group(id = "whom", required = true, multiple = false, args = ["target", "all", "topic"])]
pub struct WakeArgs {
    /// A session: its name, label, id or the beginning of it, scope, or project folder
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// Every session of the fleet that rests
    #[arg(long)]
    pub all: bool,
    /// Every session that said `frosty: wait_for TOPIC`
    #[arg(long, value_name = "TOPIC", value_parser = NonEmptyStringValueParser::new())]
    pub topic: Option<String>,
    /// What the agent reads in its next prompt, at most 1,000 characters
    #[arg(long, value_name = "TEXT", value_parser = note)]
    pub note: Option<String>,
    /// Let all that are woken go on at once, and not one after the other
    #[arg(long)]
    pub at_once: bool,
    /// Where.
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// What `release` lifts.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// A session: its name, label, id or the beginning of it, scope, or project folder; without it, the one hold that there is
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// The whole fleet's hold: of this one, or without a name of the configured one
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub fleet: Option<String>,
    /// Let all sessions of the fleet go on at once, and not one after the other
    #[arg(long)]
    pub at_once: bool,
    /// The store: auto, embedded, or redis://[user:password@]host[:port][/database]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
}

/// What `on` and `off` apply to; by default the session of CLAUDE_CODE_SESSION_ID, else the project of
/// CLAUDE_PROJECT_DIR, else the working folder.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct TargetArgs {
    /// All sessions in this folder
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// One session: its name, label, id or the beginning of it, scope, or project folder
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
}

/// What `hold` holds, for how long, and why.
#[derive(Debug, Args)]
pub struct HoldArgs {
    /// A session: its name, label, id or the beginning of it, scope, or project folder; without it, the whole fleet
    #[arg(value_name = "SESSION", value_parser = NonEmptyStringValueParser::new())]
    pub target: Option<String>,
    /// The whole fleet: this one, or without a name the configured one
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "")]
    pub fleet: Option<String>,
    /// Let it end by itself after this long, such as 20s or 2h
    #[arg(long = "for", value_name = "DURATION", value_parser = length, conflicts_with = "until")]
    pub lasting: Option<Duration>,
    /// Let it end by itself at this time, such as 18:00 or "tomorrow 09:00" (this machine's time zone)
    #[arg(long, value_name = "TIME", value_parser = NonEmptyStringValueParser::new())]
    pub until: Option<String>,
    /// Why: what everyone is told, and the agents are asked to reflect on
    #[arg(long, value_name = "TEXT", value_parser = note, default_value = "no reason was given")]
    pub reason: String,
    /// Let all sessions of the fleet go on at once when it ends, and not one after the other
    #[arg(long)]
    pub at_once: bool,
    /// Replace a hold that lasts longer
    #[arg(long)]
    pub replace: bool,
    /// The store: auto, embedded, or redis://[user:password@]host[:port][/database]
    #[arg(long, value_name = "STORE")]
    pub store: Option<String>,
}

fn length(text: &str) -> Result<Duration, String> {
    let length = duration::parse(text).filter(|d| !d.is_zero() && *d <= LONGEST_HOLD);
    length.ok_or_else(|| {
        let most = duration::show(LONGEST_HOLD);
        format!(
            "expected a duration from 1ms to {most} such as 20s, 2h or 1h30m\nhint: for a hold without an end, omit --for"
        )
    })
}

/// What `announce` tells: what stands on its input, or what it finds.
#[derive(Debug, Args)]
pub struct AnnounceArgs {
    /// Look for waiting engines of this machine that are gone
    #[arg(long)]
    pub lost: bool,
}
