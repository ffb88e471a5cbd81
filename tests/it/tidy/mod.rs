//! The rules of the code base that a program can check: import directions, length of functions, words, dead declarations, and
//! test files that no run contains. CONTRIBUTING.md gives the reasons.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use source::Source;

/// The modules of `src/`, each of which imports only modules named before it. `src/main.rs` and `src/bin/` may import all.
const ORDER: &[&str] = &[
    "policy",
    "duration",
    "text",
    "hint",
    "secret",
    "read",
    "clock",
    "env",
    "color",
    "exit",
    "arena",
    "process",
    "engine",
    "journal",
    "when",
    "local_time",
    "zone",
    "client_settings",
    "config",
    "scope",
    "arm",
    "prompt_cache",
    "ownership",
    "store",
    "naming",
    "notify",
    "hook",
    "view",
    "settings",
    "doctor",
    "cmd",
];
/// Imports that the order permits and the design does not: (from, to).
const FORBIDDEN: &[(&str, &str)] = &[("settings", "store"), ("settings", "hook"), ("view", "hook")];
/// The longest function of a program, in lines. A test may tell a longer story in order.
const LONGEST_FUNCTION: usize = 70;
/// Words for which texts use another: (the pattern's words, the replacement).
const REPLACED: &[(&[&str], &str)] = &[
    (&["who", "whoever", "whom", "whomever", "whose"], "the component's or the person's name"),
    (
        &["nobody", "somebody", "everybody", "anybody", "someone", "anyone", "everyone"],
        "operator, person, user, process",
    ),
    (&["tells", "told", "telling"], "send, show, report, name"),
    (&["says", "said", "saying"], "contain, state, show"),
    (&["hears", "heard", "hearing"], "receive, read"),
    (&["speaks", "spoke", "spoken"], "send, use"),
    (&["stands", "stood"], "is, stays"),
];
/// The highest rate of such words in comments and in pages, per thousand words.
const RATE: f64 = 1.0;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below a folder of the repository whose name ends so.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources(folders: &[&str]) -> Vec<Source> {
    folders.iter().flat_map(|folder| files(folder, ".rs")).map(|path| Source::read(&path)).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// The name of a file's module directly below `src/`; `None` for the programs.
fn module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(root().join("src")).ok()?;
    let first = inside.iter().next()?.to_str()?.trim_end_matches(".rs").to_owned();
    (!["main", "lib", "bin"].contains(&first.as_str())).then_some(first)
}

/// What is wrong with the imports of the modules, each as `from -> to: file`.
fn wrong_imports(imports: &BTreeMap<(String, String), String>) -> Vec<String> {
    let place = |module: &str| ORDER.iter().position(|known| *known == module);
    let is_wrong = |(from, to): &(String, String)| match (place(from), place(to)) {
        (Some(from_at), Some(to_at)) => to_at >= from_at || FORBIDDEN.contains(&(from, to)),
        _ => true,
    };
    imports.iter().filter(|(pair, _)| is_wrong(pair)).map(|((a, b), file)| format!("{a} -> {b}: {file}")).collect()
}

fn imports() -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    for source in sources(&["src"]) {
        // The simulator is in builds of unit tests alone, and the clock gives way to it there.
        let Some(from) = module(&source.path).filter(|_| !source.is_of_tests()) else { continue };
        for to in source.imported().into_iter().filter(|to| *to != from) {
            found.entry((from.clone(), to)).or_insert_with(|| shown(&source.path));
        }
    }
    found
}

#[test]
fn no_import_runs_upward() {
    let mut imports = imports();
    assert!(imports.len() > 60, "the imports were not found: {imports:?}");
    assert_eq!(wrong_imports(&imports), Vec::<String>::new());
    for upward in [("store", "view"), ("hook", "cmd"), ("settings", "store"), ("policy", "text"), ("hook", "new")] {
        let pair = (upward.0.to_owned(), upward.1.to_owned());
        imports.insert(pair.clone(), "here".to_owned());
        assert_eq!(wrong_imports(&imports), [format!("{} -> {}: here", upward.0, upward.1)]);
        imports.remove(&pair);
    }
}

#[test]
fn every_module_has_its_place() {
    let all: BTreeSet<String> = files("src", ".rs").iter().filter_map(|path| module(path)).collect();
    assert_eq!(all, ORDER.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn no_function_is_too_long() {
    let all = sources(&["src", "benches", "fuzz/src"]);
    let functions: Vec<(String, usize)> = all
        .iter()
        .filter(|source| !source.is_of_tests())
        .flat_map(|source| {
            source.functions().into_iter().map(|(name, lines)| (format!("{}: {name}", shown(&source.path)), lines))
        })
        .collect();
    assert!(functions.len() > 1000, "the functions were not found");
    let long: Vec<_> = functions.iter().filter(|(_, lines)| *lines > LONGEST_FUNCTION).collect();
    assert!(long.is_empty(), "more than {LONGEST_FUNCTION} lines: {long:#?}");
}

/// The replaced words in a text, with their replacement, and how many words it has.
fn replaced(text: &str) -> (Vec<String>, usize) {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect();
    let replacement = |word: &String| REPLACED.iter().find(|(these, _)| these.contains(&word.as_str()));
    let found = words.iter().filter_map(|w| replacement(w).map(|(_, instead)| format!("{w} (use: {instead})")));
    (found.collect(), words.len())
}

/// Fails where a text has too many of the replaced words.
fn check_words(place: &str, text: &str) -> Option<String> {
    let (found, words) = replaced(text);
    #[allow(clippy::cast_precision_loss)]
    let allowed = (RATE * words as f64 / 1000.0).ceil();
    #[allow(clippy::cast_precision_loss)]
    let is_too_many = found.len() as f64 > allowed.max(1.0);
    is_too_many.then(|| format!("{place}: {} in {words} words: {}", found.len(), found.join(", ")))
}

#[test]
fn comments_are_in_plain_words() {
    let mut areas: BTreeMap<String, String> = BTreeMap::new();
    for source in sources(&["src", "tests", "benches", "fuzz/src"]) {
        let area = shown(&source.path).split('/').take(2).collect::<Vec<_>>().join("/");
        areas.entry(area).or_default().push_str(&source.comments);
    }
    let wrong: Vec<String> = areas.iter().filter_map(|(area, text)| check_words(area, text)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(check_words("here", "Whoever tells nobody, says what stands there").is_some());
}

#[test]
fn texts_for_people_are_in_plain_words() {
    let wrong: Vec<String> = sources(&["src"])
        .iter()
        // The haiku has the persona's words.
        .filter(|source| !source.is_of_tests() && !source.path.ends_with("haiku.rs"))
        .filter_map(|source| check_words(&shown(&source.path), &source.strings))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pages_are_in_plain_words() {
    let mut pages = files("docs", ".md");
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|name| root().join(name)));
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    let is_ours = |path: &&PathBuf| !path.ends_with("licences.md");
    let wrong: Vec<String> =
        pages.iter().filter(is_ours).filter_map(|path| check_words(&shown(path), &text(path))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Declarations that are public, so that the compiler does not miss their use.
#[test]
fn no_declaration_is_dead() {
    let all = sources(&["src", "tests", "benches", "fuzz/src"]);
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for word in all.iter().flat_map(|source| source.words()) {
        *uses.entry(word).or_default() += 1;
    }
    let mut dead = Vec::new();
    for source in all.iter().filter(|source| source.path.starts_with(root().join("src"))) {
        let names = source.declared().into_iter().filter(|name| uses.get(name.as_str()) == Some(&1));
        dead.extend(names.map(|name| format!("{}: {name}", shown(&source.path))));
    }
    assert!(dead.is_empty(), "declared and never used: {dead:#?}");
}

#[test]
fn every_test_file_is_in_a_run() {
    let all = sources(&["tests"]);
    let declared: BTreeSet<String> = all.iter().flat_map(Source::modules).collect();
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let is_run = |path: &Path| {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        match stem {
            // Cargo finds tests/*/main.rs, unless the manifest names it.
            "main" => path.parent().unwrap().parent() == Some(&root().join("tests")),
            "mod" => declared.contains(folder),
            // Cargo finds tests/*.rs.
            stem if folder == "tests" => !manifest.contains("autotests = false") || manifest.contains(stem),
            stem => declared.contains(stem),
        }
    };
    let lost: Vec<String> = all.iter().filter(|s| !is_run(&s.path)).map(|s| shown(&s.path)).collect();
    assert!(lost.is_empty(), "in no run: {lost:?}");
    // The scenarios on the real client are found by their names.
    let runner = std::fs::read_to_string(root().join("tests/client/catalog.py")).unwrap();
    for path in files("tests/client", ".py").iter().filter(|path| shown(path).contains("/scenarios_")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(runner.contains(name), "tests/client/catalog.py does not name {name}");
    }
}
