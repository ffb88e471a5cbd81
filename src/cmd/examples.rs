//! The text below the options of each command: two examples, and the forms in which a session can be named.
//!
//! `--help` shows it as it is, and the man pages show it as their EXAMPLES section.

/// Ends the examples of a command with the forms of its SESSION.
macro_rules! with_session {
    ($examples:literal) => {
        concat!(
            $examples,
            "\n\nSESSION is a name, a window's label, an id or its beginning, a scope,\n",
            "or a project directory, as `frosty status` shows it."
        )
    };
}

pub(super) const CHECK: &str = "\
Examples:
  frosty check < payload.json           Show the verdict of this call
  frosty check --json < payload.json    Show it for a program";

pub(super) const COMPLETIONS: &str = "\
Examples:
  source <(frosty completions bash)          Complete in this shell
  frosty completions fish > ~/.config/fish/completions/frosty.fish";

pub(super) const CONFIG: &str = "\
Examples:
  frosty config                             Show each value with its source
  frosty config set stop.min_interval 30s   Change one value";

pub(super) const DOCTOR: &str = "\
Examples:
  frosty doctor                   Check the project here
  frosty doctor --project ~/work  Check another project";

pub(super) const EXPLAIN: &str = with_session!(
    "\
Examples:
  frosty explain          Explain the last verdict
  frosty explain nova-3   Explain the last verdict of one session"
);

pub(super) const GATE: &str = "\
Examples:
  frosty gate --wait -- claude -p 'Continue'    Run an agent once it may run
  frosty gate --name nightly -- ./nightly.sh    Run it now, or exit with 75

Exit codes: the command's own, else 75 not now, 3 the agent is done,
64 wrong command line, 78 wrong configuration.";

pub(super) const NOTES: &str = with_session!(
    "\
Examples:
  frosty notes                 Show the notes of all agents
  frosty notes echo --clear    Forget those of one"
);

pub(super) const HOLD: &str = with_session!(
    "\
Examples:
  frosty hold nova-3 --for 20m                  Pause one session
  frosty hold --until 18:00 --reason 'deploy'   Pause the whole fleet"
);

pub(super) const HOOK: &str = "\
Examples:
  frosty hook < payload.json                               Answer at once
  frosty hook --wait 20d --timeout 1900000 < payload.json  Wait out a refusal";

pub(super) const INSTALL: &str = "\
Examples:
  frosty install --dry-run   Show what would change in this project
  frosty install --user      Register for all projects, armed sessions only";

pub(super) const LOG: &str = with_session!(
    "\
Examples:
  frosty log -f                                Follow the journal
  frosty log --since 8h --turns                Show the turns of a night"
);

pub(super) const MAN: &str = "\
Examples:
  frosty man hold                           Show the page of a command
  frosty man --dir ~/.local/share/man/man1  Write all pages";

pub(super) const OFF: &str = with_session!(
    "\
Examples:
  frosty off                     Disarm the session or project here
  frosty off --session nova-3    Disarm one session"
);

pub(super) const ON: &str = with_session!(
    "\
Examples:
  frosty on                     Arm the session or project here
  frosty on --project ~/work    Arm all sessions of a project"
);

pub(super) const RELEASE: &str = with_session!(
    "\
Examples:
  frosty release nova-3    Release the hold of one session
  frosty release --fleet   Release the hold of the whole fleet"
);

pub(super) const SCHEDULE: &str = with_session!(
    "\
Examples:
  frosty schedule          Show the schedules of all agents
  frosty schedule echo     Show that of one"
);

pub(super) const STATUS: &str = "\
Examples:
  frosty status --watch   Redraw each second
  frosty status --json    Print one JSON object for a program";

pub(super) const STATUSLINE: &str = "\
Examples:
  frosty statusline < session.json
  \"statusLine\": {\"type\": \"command\", \"command\": \"frosty statusline\"}";

pub(super) const UNINSTALL: &str = "\
Examples:
  frosty uninstall --dry-run   Show what would change in this project
  frosty uninstall --user      Remove the hooks from your own settings";

pub(super) const WAKE: &str = with_session!(
    "\
Examples:
  frosty wake nova-3 --note 'CI is green'   Wake one session
  frosty wake --topic ci                    Wake all that wait for a topic"
);

pub(super) const WORK: &str = "\
Examples:
  frosty work add --to nova-3 --priority high 'Fix the failing test'
  frosty work list   Show the queues, the entries in hand, the dead letters";

pub(super) const TELL: &str = "\
Examples:
  frosty tell helix 'The schema has a new column'
  frosty tell helix \"$(cat notes.md)\"   A file of at most 4,000 characters";

pub(super) const ASK: &str = "\
Examples:
  frosty ask helix 'Which branch has the fix?'
  frosty ask helix --timeout 90s 'Ready?'   Exit code 75: no reply yet";

pub(super) const REPLY: &str = "\
Examples:
  frosty reply helix:k3f9ax 'It is on main'
  frosty work show helix:k3f9ax   Show a question, and its reply";

pub(super) const DISPATCH: &str = "\
Examples:
  frosty dispatch --once         One pass, for cron
  frosty dispatch --print-unit   Print a unit for systemd";
