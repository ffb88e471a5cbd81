//! The flags of the commands that put Frosty in and take it out.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Whose settings file is meant.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// The user's own settings: every project, but only sessions that were armed (frosty on)
    #[arg(long, conflicts_with_all = ["local", "project"])]
    pub user: bool,
    /// The project's settings that are not shared (.claude/settings.local.json) instead of .claude/settings.json
    #[arg(long)]
    pub local: bool,
    /// The project, instead of the one here
    #[arg(long, value_name = "DIR")]
    pub project: Option<PathBuf>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What `install` registers, and where.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Where.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// The engine that waits a refusal out and brings the agent back (the default)
    #[arg(long, conflicts_with = "plain")]
    pub continuous: bool,
    /// The engine that answers at once: a refused stop ends the turn, and a person types to go on
    #[arg(long)]
    pub plain: bool,
    /// Register although another engine or an unthrottled Stop hook is there, beside which nothing is throttled
    #[arg(long)]
    pub keep_others: bool,
}

/// What `uninstall` takes out, and where.
#[derive(Debug, Args)]
pub struct UninstallArgs {
    /// Where.
    #[command(flatten)]
    pub settings: SettingsArgs,
}

/// Which shell's completions.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Where the man pages go.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write every page into this folder, instead of showing the first one
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
