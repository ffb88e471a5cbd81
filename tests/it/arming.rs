//! Tests which sessions are continued: arming, scope, and that an unarmed session notices nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Frosty, fixture, stop};

fn manual(frosty: &Frosty, session: &str) -> Option<i32> {
    frosty.run(&["hook", "--arm", "manual"], stop(session).as_bytes()).code
}

#[test]
fn an_unarmed_session_is_silent_and_touches_no_store() {
    let frosty = Frosty::embedded().config(r#"{"arm": "manual"}"#);
    for payload in [fixture("Stop-first.json"), fixture("PreCompact-auto.json"), fixture("SessionStart-startup.json")] {
        let answer = frosty.hook(&payload);
        assert_eq!((answer.code, answer.stdout.as_str(), answer.stderr.as_str()), (Some(0), "", ""));
    }
    assert!(!frosty.state().exists());
    // With a manual registration not even an error is reported.
    let broken = Frosty::embedded().config("{");
    for stdin in [stop("s").as_bytes(), b"garbage"] {
        let answer = broken.run(&["hook", "--arm", "manual"], stdin);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    }
    assert!(!broken.state().exists());
    // The same with a project's broken file, if the user's own configuration arms no session.
    let projects = Frosty::embedded().config(r#"{"arm": "manual"}"#).project_config("{");
    for stdin in [stop("s").as_bytes(), b"garbage"] {
        let answer = projects.hook(std::str::from_utf8(stdin).unwrap());
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
    }
    let usage = frosty.run(&["hook", "--arm", "manual", "--wat"], b"");
    assert_eq!((usage.code, usage.stderr.as_str()), (Some(0), ""));
}

#[test]
fn the_environment_arms() {
    assert_eq!(manual(&Frosty::embedded(), "s"), Some(0));
    assert_eq!(manual(&Frosty::embedded().var("FROSTY_ON", "1"), "s"), Some(2));
    assert_eq!(manual(&Frosty::embedded().var("FROSTY_ON", "print"), "s"), Some(2));
    assert_eq!(Frosty::embedded().var("FROSTY_ON", "0").hook(&stop("s")).code, Some(0));
}

#[test]
fn session_beats_project_beats_environment_beats_registration() {
    let frosty = Frosty::embedded();
    let on = frosty.run(&["on"], b"");
    assert_eq!(on.code, Some(0), "{on:?}");
    assert!(on.stdout.contains("project ") && on.stdout.contains(" armed"), "{on:?}");
    assert_eq!(manual(&frosty, "a"), Some(2));
    assert_eq!(manual(&frosty, "b"), Some(2));
    assert_eq!(frosty.run(&["off", "--session", "b"], b"").code, Some(0));
    assert_eq!(manual(&frosty, "b"), Some(0));
    assert_eq!(frosty.run(&["off"], b"").code, Some(0));
    assert_eq!(manual(&frosty, "a"), Some(0));
    assert_eq!(frosty.hook(&stop("a")).code, Some(0), "off beats a registration that says always");
    let frosty = frosty.var("FROSTY_ON", "1");
    assert_eq!(frosty.hook(&stop("a")).code, Some(0), "the project's switch beats the environment");
    assert_eq!(frosty.run(&["on", "--session", "a"], b"").code, Some(0));
    // Armed, it sends a request: its minimum interval is not over.
    assert_eq!(manual(&frosty, "a"), Some(0));
    assert_eq!(frosty.journal().last().unwrap()["reason"], "min_interval");
}

#[test]
fn without_an_argument_the_session_then_the_project_then_the_folder() {
    let frosty = Frosty::embedded().var("CLAUDE_CODE_SESSION_ID", "s/1");
    assert!(frosty.run(&["on"], b"").stdout.starts_with("session s%2F1 armed"));
    let file = frosty.state().join("arm/session-s%2F1");
    assert_eq!(fs::read_to_string(&file).unwrap(), "on\n");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let frosty = Frosty::embedded();
    let mut command = frosty.command(&["off"]);
    command.env_remove("CLAUDE_PROJECT_DIR").current_dir("/");
    let answer = crate::support::feed(command, b"");
    assert!(answer.stdout.starts_with("project / disarmed"), "{answer:?}");
}

#[test]
fn a_project_is_its_real_path() {
    let frosty = Frosty::embedded();
    let link = frosty.home.path().join("link");
    std::os::unix::fs::symlink(frosty.project(), &link).unwrap();
    assert_eq!(frosty.run(&["on", "--project", link.to_str().unwrap()], b"").code, Some(0));
    assert_eq!(manual(&frosty, "s"), Some(2));
    let name = fs::read_dir(frosty.state().join("arm")).unwrap().next().unwrap().unwrap().file_name();
    let name = name.into_string().unwrap();
    assert_eq!((name.len(), name.starts_with("project-")), (72, true), "{name}");
}

#[test]
fn a_switch_that_cannot_be_read_is_told_and_continues_nobody() {
    let frosty = Frosty::embedded();
    frosty.hook(&stop("s"));
    frosty.run(&["on", "--session", "s"], b"");
    fs::write(frosty.state().join("arm/session-s"), "who knows").unwrap();
    frosty.hook(&stop("s")).stands_down_saying(&["bad_config", "arm/session-s", "on or off", "who knows"]);
    fs::remove_file(frosty.state().join("arm/session-s")).unwrap();
    fs::create_dir(frosty.state().join("arm/session-s")).unwrap();
    frosty.hook(&stop("s")).stands_down_saying(&["bad_config", "arm/session-s", "ls -ld"]);
}

/// A state directory that is a file: the store reports it, and the session still counts as armed.
#[test]
fn a_file_where_the_state_folder_belongs() {
    let frosty = Frosty::embedded();
    fs::write(frosty.home.path().join(".local"), "").unwrap();
    frosty.hook(&stop("s")).stands_down_saying(&["store_down", ".local/state/frosty", "namei"]);
}

#[test]
fn what_cannot_be_switched_is_told() {
    let frosty = Frosty::embedded();
    let answer = frosty.run(&["on", "--project", "/nowhere/at/all"], b"");
    assert_eq!(answer.code, Some(64));
    assert!(answer.stderr.contains("/nowhere/at/all") && answer.stderr.contains("frosty on --project ."), "{answer:?}");
    let answer = frosty.run(&["on", "--session", ""], b"");
    assert_eq!(answer.code, Some(64), "{answer:?}");
    let nowhere = Frosty::embedded().var("XDG_STATE_HOME", "/proc/nowhere");
    let answer = nowhere.run(&["on"], b"");
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("/proc/nowhere/frosty/arm/project-"), "{answer:?}");
}

// ---- scope ------------------------------------------------------------------------------------------------------

fn scope_of(frosty: &Frosty) -> String {
    frosty.hook(&stop("the session"));
    frosty.journal()[0]["scope"].as_str().unwrap().to_owned()
}

#[test]
fn the_scope_is_the_configured_one_else_the_pane_else_the_session() {
    assert_eq!(scope_of(&Frosty::embedded()), "the%20session");
    let in_tmux = || Frosty::embedded().var("TMUX", "/tmp/tmux-1000/default,4321,0").var("TMUX_PANE", "%3");
    assert_eq!(scope_of(&in_tmux()), "tmux-default-p3");
    assert_eq!(scope_of(&in_tmux().var("FROSTY_SCOPE", "../a:b%")), "%2E.%2Fa%3Ab%25");
    assert_eq!(scope_of(&in_tmux().config(r#"{"scope": "Nova.1@x_y-z"}"#)), "Nova.1@x_y-z");
    assert_eq!(scope_of(&Frosty::embedded().var("TMUX_PANE", "%3")), "the%20session", "a pane without its server");
}

#[test]
fn sessions_in_one_pane_share_its_limits() {
    let frosty = Frosty::embedded().var("TMUX", "/tmp/tmux-1000/default,4321,0").var("TMUX_PANE", "%3");
    assert_eq!(frosty.hook(&stop("a")).code, Some(2));
    assert_eq!(frosty.hook(&stop("b")).code, Some(0));
}

/// The window label comes from tmux itself, once, at the session's start, and is in the journal from then on.
#[test]
fn the_window_label_is_kept_with_the_session() {
    let frosty = Frosty::embedded();
    let socket = frosty.home.path().join("tmux");
    let socket = socket.to_str().unwrap();
    let tmux = |args: &[&str]| {
        let output = std::process::Command::new("tmux").args(["-S", socket, "-f", "/dev/null"]).args(args).output();
        let output = output.expect("tmux must be installed: ./tests/run.sh does it");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    tmux(&["new-session", "-d", "-s", "novas", "-n", "nova seven", "sleep 60"]);
    let pane = tmux(&["display-message", "-p", "#{pane_id}"]);
    let frosty = frosty.var("TMUX", &format!("{socket},1,0")).var("TMUX_PANE", &pane);
    let id = "38c79028-99e5-4fc5-b9b4-a816cb640910";
    assert_eq!(frosty.hook(&fixture("SessionStart-startup.json")).code, Some(0));
    assert_eq!(frosty.hook(&stop(id)).code, Some(2));
    tmux(&["kill-server"]);
    let journal = frosty.journal();
    assert_eq!(journal[1]["window"], "novas:nova seven");
    assert_eq!(journal[1]["scope"], "tmux-tmux-p0");
}

/// Whatever the folder is called: arming says where no hook would continue anything, and says it nowhere else.
#[test]
fn arming_names_a_project_without_hooks() {
    let frosty = Frosty::embedded();
    std::fs::create_dir_all(frosty.home.path().join("a 'b'/.claude")).unwrap();
    let project = frosty.home.path().join("a 'b'");
    let project = project.to_str().unwrap();
    let armed = frosty.run(&["on", "--project", project], b"");
    assert!(armed.code == Some(0) && armed.stderr.contains("no Stop hook runs frosty there yet"), "{armed:?}");
    assert_eq!(frosty.run(&["install", "--project", project], b"").code, Some(0));
    assert_eq!(frosty.run(&["on", "--project", project], b"").stderr, "");
    assert_eq!(frosty.run(&["off", "--project", project], b"").stderr, "");
}
