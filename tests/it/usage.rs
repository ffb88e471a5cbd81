//! Usage windows: what the status line reports limits the fleet by its pace, on a server and on files.

use crate::support::{Frosty, Server, stop};

/// The client's input of the status line, with this share of the window of five hours.
fn report(used: f64, api_ms: u64) -> String {
    let resets_at = frosty::clock::host_ms() / 1000 + 3600;
    serde_json::json!({
        "session_id": "seen",
        "rate_limits": {"five_hour": {"used_percentage": used, "resets_at": resets_at}},
        "cost": {"total_api_duration_ms": api_ms},
    })
    .to_string()
}

fn reasons(frosty: &Frosty, server: Option<&Server>) -> Vec<String> {
    let Some(server) = server else {
        return frosty.journal().iter().map(|entry| entry["reason"].as_str().unwrap().to_owned()).collect();
    };
    let entries: Vec<(String, Vec<String>)> =
        redis::cmd("XRANGE").arg("torch.continuous.ops").arg("-").arg("+").query(&mut server.connection()).unwrap();
    let reason = |words: &Vec<String>| words.windows(2).find(|w| w[0] == "reason").unwrap()[1].clone();
    entries.iter().map(|(_, words)| reason(words)).collect()
}

#[test]
fn a_window_at_its_cap_refuses_until_its_reset() {
    for server in [Some(Server::start()), None] {
        let frosty = server.as_ref().map_or_else(Frosty::embedded, Frosty::on);
        let frosty =
            frosty.config(r#"{"pace": {"five_hour": {"cap": 50}}, "stop": {"min_interval": "0s", "burst": null}}"#);
        assert_eq!(frosty.hook(&stop("seen")).code, Some(2), "no window is known");
        let shown = frosty.run(&["statusline"], report(62.0, 5).as_bytes()).stdout;
        assert!(shown.contains("5h ▓▓▓▓▓░░░ 62 %, resets ") && shown.contains("its cap is reached"), "{shown}");
        assert_eq!(frosty.hook(&stop("seen")).code, Some(0));
        assert_eq!(frosty.hook(&stop("other")).code, Some(0), "it is the whole fleet's");
        let last = reasons(&frosty, server.as_ref());
        assert_eq!(last[last.len() - 2..], ["limit", "limit"], "{last:?}");
        let frosty =
            frosty.config(r#"{"pace": {"five_hour": {"cap": 95}}, "stop": {"min_interval": "0s", "burst": null}}"#);
        assert_eq!(frosty.hook(&stop("seen")).code, Some(2), "below another cap");
    }
}

/// Without a pace the windows cost a Stop event nothing, and limit nothing.
#[test]
fn without_a_pace_nothing_is_limited() {
    let server = Server::start();
    let frosty = Frosty::on(&server).config(r#"{"stop": {"min_interval": "0s", "burst": null}}"#);
    assert_eq!(frosty.hook(&stop("seen")).code, Some(2));
    frosty.run(&["statusline"], report(100.0, 5).as_bytes());
    assert_eq!(frosty.hook(&stop("seen")).code, Some(2));
}
