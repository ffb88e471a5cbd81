use tempfile::TempDir;

use super::*;
use crate::policy::documents::FleetState;
use crate::policy::hold::Hold;

const NOW: Ms = 1_800_000_000_000;

fn begin(dir: &Path) -> (Transaction<'_>, Option<String>) {
    Transaction::begin(&Config::default(), dir, false, NOW).unwrap()
}

fn text(dir: &Path, file: &str) -> Option<String> {
    fs::read_to_string(dir.join(file)).ok()
}

fn journal(dir: &Path) -> String {
    text(dir, "journal.jsonl").unwrap_or_default()
}

fn write(dir: &Path, file: &str, content: &str) {
    fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
    fs::write(dir.join(file), content).unwrap();
}

#[test]
fn changes_take_place_with_their_entry() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let (mut first, _) = begin(dir);
    first.put(paths::FLEET.to_owned(), &FleetFile::default(), &Before::default()).unwrap();
    first.put_text("sleeping/echo".to_owned(), "rests".to_owned());
    first.commit(Some("1\n".to_owned())).unwrap();
    assert!(text(dir, paths::FLEET).unwrap().starts_with("{\"v\":1,"));
    assert_eq!((text(dir, "sleeping/echo").as_deref(), journal(dir).as_str()), (Some("rests"), "1\n"));
    let (mut second, _) = begin(dir);
    second.remove("sleeping/echo".to_owned());
    second.commit(None).unwrap();
    assert_eq!((text(dir, "sleeping/echo"), journal(dir).as_str(), path(dir).exists()), (None, "1\n", false));
    begin(dir).0.commit(Some("2\n".to_owned())).unwrap();
    assert_eq!((journal(dir).as_str(), path(dir).exists()), ("1\n2\n", false), "an entry alone");
}

/// The redo file of a process that was killed after its commit, and after any later operation.
#[test]
fn a_transaction_that_was_cut_off_is_finished_once() {
    let redo = r#"{"v": 1, "files": [{"file": "scopes/00/a.json", "content": {"x":1}},
        {"file": "scopes/00/b.json", "content": null}, {"file": "sleeping/echo", "content": null, "text": "rests"},
        {"file": "../out.json", "content": 1}], "entries": [{"at": 0, "line": "1\n"}]}"#;
    let folder = TempDir::new().unwrap();
    let dir = &folder.path().join("fleet");
    for before in ["", r#"{"x":1}"#, r#"{"x":2}"#] {
        write(dir, "scopes/00/a.json", before);
        write(dir, "scopes/00/b.json", "{}");
        write(dir, "redo.json", redo);
        assert_eq!(begin(dir).1, None);
        let files =
            ["scopes/00/a.json", "scopes/00/b.json", "sleeping/echo", "../out.json"].map(|file| text(dir, file));
        let expected = [Some("{\"x\":1}"), None, Some("rests"), None].map(|text| text.map(str::to_owned));
        assert_eq!((files, journal(dir).as_str(), path(dir).exists()), (expected, "1\n", false), "{before}");
    }
}

#[test]
fn entries_wait_in_order_for_a_journal_that_cannot_be_written() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    fs::create_dir(dir.join("journal.jsonl")).unwrap();
    for n in 0..=MOST_PENDING {
        let (mut one, _) = begin(dir);
        one.put_text("sleeping/echo".to_owned(), n.to_string());
        one.commit(Some(format!("{n}\n"))).unwrap();
        assert_eq!((text(dir, "sleeping/echo"), path(dir).exists()), (Some(n.to_string()), true));
    }
    let without = begin(dir).0;
    without.commit(None).unwrap();
    assert!(path(dir).exists(), "no step forgets them");
    // The journal can be written again between the beginning of a step and its commit.
    let (late, _) = begin(dir);
    fs::remove_dir(dir.join("journal.jsonl")).unwrap();
    late.commit(Some("late\n".to_owned())).unwrap();
    assert!(path(dir).exists() && journal(dir).is_empty(), "the earlier entries come first");
    let (next, _) = begin(dir);
    next.commit(Some("next\n".to_owned())).unwrap();
    let expected: String =
        (2..=MOST_PENDING).map(|n| format!("{n}\n")).chain(["late\n", "next\n"].map(str::to_owned)).collect();
    assert_eq!((journal(dir), path(dir).exists()), (expected, false), "the two oldest were dropped");
}

/// What the server does not have of the journal begins with the entries of an unfinished transaction.
#[test]
fn only_entries_begin_to_be_shipped() {
    for (entries, ships, begins) in
        [("", true, false), (r#"{"at": 0, "line": "1\n"}"#, true, true), (r#"{"at": 0, "line": "1\n"}"#, false, false)]
    {
        let dir = TempDir::new().unwrap();
        let dir = dir.path();
        write(dir, "redo.json", &format!(r#"{{"v": 1, "files": [], "entries": [{entries}]}}"#));
        Transaction::begin(&Config::default(), dir, ships, NOW).unwrap();
        let unshipped = server_record::read(dir).and_then(|record| record.unshipped);
        assert_eq!(unshipped.is_some(), begins, "{entries} {ships}");
        assert_eq!(journal(dir).is_empty(), entries.is_empty());
    }
}

#[test]
fn only_files_of_the_fleet_are_written() {
    for (file, expected) in [
        ("fleet.json", true),
        ("scopes/00/a.json", true),
        ("sessions/00/a.json", true),
        ("work/echo/queue.json", true),
        ("work-ids/00/a.json", true),
        ("sleeping/echo", true),
        ("redo.json", false),
        ("scopes2/a.json", false),
        ("../fleet.json", false),
        ("scopes/../lock", false),
        ("/scopes/a.json", false),
    ] {
        let change = Change { file: file.to_owned(), content: None, text: None };
        assert_eq!(change.is_of_a_fleet(), expected, "{file}");
    }
}

/// On a full disk a file that is in place already is not written again.
#[test]
fn a_file_is_in_place_with_its_content_alone() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    write(dir, "scopes/a", "one");
    fs::create_dir(dir.join("scopes/folder")).unwrap();
    for (file, text, expected) in [
        ("a", Some("one"), true),
        ("a", Some("two"), false),
        ("a", Some("three"), false),
        ("a", None, false),
        ("none", Some("one"), false),
        ("none", None, true),
        ("folder", None, false),
    ] {
        let change = Change { file: format!("scopes/{file}"), content: None, text: text.map(str::to_owned) };
        assert_eq!(change.is_in_place(dir), expected, "{file} {text:?}");
    }
}

/// A file that cannot be removed stops a step, unless no decision reads it.
#[test]
fn a_removal_that_fails_stops_the_step() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    for (file, stops) in [("scopes/a", true), ("sleeping/a", false)] {
        write(dir, &format!("{file}/inside"), "");
        let (mut one, _) = begin(dir);
        one.remove(file.to_owned());
        assert_eq!(one.commit(None).is_err(), stops, "{file}");
    }
    let (mut one, _) = begin(dir);
    one.remove("scopes/none".to_owned());
    assert!(one.commit(None).is_ok(), "it is gone already");
}

#[test]
fn a_transaction_that_cannot_be_read_holds_the_fleet_unless_a_longer_hold_is_open() {
    let pause = crate::policy::limits::millis(Config::default().policy.unknown_past());
    for (until, expected, stays) in [
        (None, None, true),
        (Some(NOW + pause + 1), Some(NOW + pause + 1), true),
        (Some(NOW + pause), Some(NOW + pause), true),
        (Some(NOW + pause - 1), Some(NOW + pause), false),
        (Some(0), Some(NOW + pause), false),
    ] {
        let dir = TempDir::new().unwrap();
        let dir = dir.path();
        let hold = Hold { reason: String::new(), by: "ann".to_owned(), since: 1, until, id: 7 };
        let fleet = FleetState { hold: Some(hold), ..FleetState::default() };
        state_file::replace(&dir.join(paths::FLEET), &FleetFile::new(fleet)).unwrap();
        write(dir, "redo.json", "{");
        assert!(begin(dir).1.is_some() && !path(dir).exists());
        let file = state_file::peek::<FleetFile>(&dir.join(paths::FLEET)).unwrap();
        let hold = file.fleet.hold.unwrap();
        assert_eq!((hold.until, hold.id == 7), (expected, stays), "{until:?}");
    }
}
