//! The faults: the stage, the store that must decide meanwhile, and the permitted loss.

use std::time::Duration;

use crate::kills::Store;
use crate::stage::Stage;
use crate::support::proxy::Mode;

/// The store that decides during a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// The server, in spite of the fault.
    Server,
    /// The embedded store, after a failover.
    Embedded,
    /// The embedded store in scope `a`, the server in the others.
    Split,
    /// Both, since the fault comes and goes.
    Either,
    /// The embedded store, by its configuration.
    Files,
    /// None: every request is refused.
    Nobody,
}

/// The journal entries that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// None.
    None,
    /// The entries that only the server had when it lost its data.
    WithTheServersData,
    /// The refusals where neither store could write, or not in time.
    NoStoreCouldHoldIt,
}

pub struct Row {
    pub name: &'static str,
    /// The fault in words.
    pub fault: &'static str,
    pub stage: Stage,
    pub during: Who,
    pub lost: Loss,
    /// Whether so many run at once that the time limit does not apply.
    pub crowd: bool,
    /// How often a deciding clock is stepped forward. Each step may end a window early.
    pub steps: usize,
}

const fn row(name: &'static str, fault: &'static str, stage: Stage, during: Who) -> Row {
    Row { name, fault, stage, during, lost: Loss::None, crowd: false, steps: 0 }
}

impl Row {
    const fn loses(mut self, lost: Loss) -> Self {
        self.lost = lost;
        self
    }

    /// Marks a row with so many at once that on a slow machine they may reach neither store in time.
    const fn in_a_crowd(mut self) -> Self {
        self.crowd = true;
        self.lost = Loss::NoStoreCouldHoldIt;
        self
    }

    const fn stepping(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const TLS: &[u8] = b"\x16\x03\x01\x00\xa5\xff\xfe garbage";
const OK: &[u8] = b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n";
const SHORT: &[u8] = b"*2\r\n$4\r\ndone\r\n$1\r\n0\r\n";
const ODD: &[u8] = b"*3\r\n$5\r\nadmit\r\n$13\r\n1800000000000\r\n$0\r\n\r\n";
const CONFLICT: &[u8] = b"*3\r\n$8\r\nconflict\r\n$13\r\n1800000000000\r\n$0\r\n\r\n";
const LOADING: &[u8] = b"-LOADING Redis is loading the dataset in memory\r\n";

/// The matrix.
pub const ROWS: &[Row] = &[
    // The path to the server.
    row("refuses", "connections are refused", Stage::Proxy(Mode::Refuse), Who::Embedded),
    row(
        "backlog_full",
        "the handshake is never completed (backlog full)",
        Stage::Proxy(Mode::Unaccepted),
        Who::Embedded,
    ),
    row("silent", "the connection is accepted, and no reply comes", Stage::Proxy(Mode::Silent), Who::Embedded),
    row(
        "cut_before_the_reply",
        "the request arrives, and the connection closes before the reply",
        Stage::Proxy(Mode::Cut(0)),
        Who::Embedded,
    ),
    row(
        "cut_in_the_reply",
        "the connection closes at byte 60 of the reply",
        Stage::Proxy(Mode::Cut(60)),
        Who::Embedded,
    ),
    row("late_within_the_budget", "the reply comes 40 ms late", Stage::Proxy(Mode::Delay(ms(40))), Who::Server),
    row("late_past_the_budget", "the reply comes 400 ms late", Stage::Proxy(Mode::Delay(ms(400))), Who::Embedded),
    row("drips", "the reply comes a byte each 20 ms", Stage::Proxy(Mode::Drip(ms(20))), Who::Embedded),
    row(
        "says_http",
        "another program answers (HTTP)",
        Stage::Proxy(Mode::Says(b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        Who::Embedded,
    ),
    row("says_tls", "bytes that are not a reply", Stage::Proxy(Mode::Says(TLS)), Who::Embedded),
    row("says_ok", "a reply to another command (`+OK`)", Stage::Proxy(Mode::Says(OK)), Who::Embedded),
    row(
        "answers_a_commit_too_briefly",
        "a forged reply to the commit, of two fields",
        Stage::Proxy(Mode::Forges(SHORT)),
        Who::Embedded,
    ),
    row(
        "answers_a_commit_oddly",
        "a forged reply to the commit, with an unknown first word",
        Stage::Proxy(Mode::Forges(ODD)),
        Who::Embedded,
    ),
    row(
        "answers_a_commit_with_conflicts",
        "the reply to each commit is a conflict",
        Stage::Proxy(Mode::Forges(CONFLICT)),
        Who::Embedded,
    ),
    row(
        "says_a_huge_array",
        "a reply that announces 99,999,999,999 elements",
        Stage::Proxy(Mode::Says(b"*99999999999\r\n")),
        Who::Embedded,
    ),
    row("says_loading", "`-LOADING`", Stage::Proxy(Mode::Says(LOADING)), Who::Embedded),
    row("says_noauth", "`-NOAUTH`", Stage::Proxy(Mode::Says(b"-NOAUTH Authentication required.\r\n")), Who::Embedded),
    // The server.
    row(
        "killed_and_back_empty",
        "the server is killed (-9) during 8 requests and returns without its data",
        Stage::Killed { keeps: false },
        Who::Embedded,
    )
    .loses(Loss::WithTheServersData),
    row(
        "killed_and_back",
        "the server is killed (-9) during 8 requests and returns with its data",
        Stage::Killed { keeps: true },
        Who::Embedded,
    ),
    row("frozen", "the server is stopped (SIGSTOP)", Stage::Frozen, Who::Embedded),
    row("scripts_flushed", "`SCRIPT FLUSH` before every request", Stage::ScriptFlush, Who::Server),
    row("data_flushed", "`FLUSHALL` while it runs", Stage::FlushAll, Who::Server).loses(Loss::WithTheServersData),
    row("memory_full", "the server's memory is full", Stage::MemoryFull, Who::Embedded),
    row("replica", "the server has become a read-only replica", Stage::Replica, Who::Embedded),
    row("fleet_of_another_type", "another type in the fleet's key", Stage::Planted("doc:fleet"), Who::Embedded),
    row("scope_of_another_type", "another type in a scope's key", Stage::Planted("doc:scope:a"), Who::Split),
    row(
        "admissions_of_another_type",
        "another type in a scope's admissions",
        Stage::Planted("admissions:scope:a"),
        Who::Split,
    ),
    row(
        "session_of_another_type",
        "another type in each session's key",
        Stage::Planted("doc:session:*"),
        Who::Embedded,
    ),
    row("scopes_of_another_type", "another type in the index of scopes", Stage::Planted("scopes"), Who::Server),
    row("sessions_of_another_type", "another type in the index of sessions", Stage::Planted("sessions"), Who::Server),
    row("journal_of_another_type", "another type in the journal's stream", Stage::Planted("journal"), Who::Server),
    row(
        "shipped_of_another_type",
        "another type in the key of the shipped journals",
        Stage::PlantedInShipped,
        Who::Embedded,
    ),
    // Clocks.
    row(
        "server_clock_ahead",
        "the server's clock is stepped 1 h ahead and back",
        Stage::ServerClock(3600),
        Who::Server,
    )
    .stepping(1),
    row(
        "server_clock_back",
        "the server's clock is stepped 1 h back and ahead",
        Stage::ServerClock(-3600),
        Who::Server,
    )
    .stepping(1),
    row(
        "host_clock_ahead",
        "this machine's clock is stepped 1 h ahead and back",
        Stage::HostClock { outage: false, by: 3600 },
        Who::Server,
    ),
    row(
        "host_clock_ahead_in_an_outage",
        "the same, while the server is unreachable",
        Stage::HostClock { outage: true, by: 3600 },
        Who::Embedded,
    )
    .stepping(1),
    row(
        "host_clock_back_in_an_outage",
        "this machine's clock is stepped 1 h back and ahead while the server is unreachable",
        Stage::HostClock { outage: true, by: -3600 },
        Who::Embedded,
    )
    .stepping(1),
    // This machine.
    row("disk_full", "the disk of the state directory is full", Stage::DiskFull { outage: false }, Who::Server),
    row(
        "disk_full_in_an_outage",
        "the same, and the server is unreachable",
        Stage::DiskFull { outage: true },
        Who::Nobody,
    )
    .loses(Loss::NoStoreCouldHoldIt),
    row("read_only", "the state directory is read-only", Stage::ReadOnly { outage: false }, Who::Server),
    row(
        "read_only_in_an_outage",
        "the same, and the server is unreachable",
        Stage::ReadOnly { outage: true },
        Who::Nobody,
    )
    .loses(Loss::NoStoreCouldHoldIt),
    row("no_home", "neither HOME nor XDG_STATE_HOME", Stage::NoHome { outage: false }, Who::Server),
    row("no_home_in_an_outage", "the same, and the server is unreachable", Stage::NoHome { outage: true }, Who::Nobody)
        .loses(Loss::NoStoreCouldHoldIt),
    row("leftovers", "1,000 leftover temporary files, and the server is unreachable", Stage::Leftovers, Who::Embedded),
    row(
        "killed_at_every_step_on_the_server",
        "frosty is killed (-9) at every step of a request; a server decides",
        Stage::KilledAtEveryStep(Store::Server),
        Who::Server,
    ),
    row(
        "killed_at_every_step_in_files",
        "frosty is killed (-9) at every step of a request; the embedded store is configured",
        Stage::KilledAtEveryStep(Store::Files),
        Who::Files,
    ),
    row(
        "killed_at_every_step_taking_over",
        "the same; the server is unreachable, and the embedded store takes over",
        Stage::KilledAtEveryStep(Store::TakesOver),
        Who::Either,
    ),
    row(
        "killed_at_every_step_standing_in",
        "the same; the embedded store has been deciding for a while",
        Stage::KilledAtEveryStep(Store::StandIn),
        Who::Either,
    ),
    row(
        "killed_at_every_step_going_home",
        "the same; the server is back and gets the decisions of the outage",
        Stage::KilledAtEveryStep(Store::GoesHome),
        Who::Either,
    ),
    // Several machines.
    row(
        "one_of_two_hosts_refused",
        "two hosts share scopes; one of them is refused",
        Stage::TwoHosts { namespace: false },
        Who::Embedded,
    ),
    row(
        "one_of_two_hosts_cut_off",
        "two hosts share scopes; one of them is in a network without the server",
        Stage::TwoHosts { namespace: true },
        Who::Embedded,
    ),
    // Many at once; these rows run alone.
    row("eight_at_once", "8 at once, 20 times; no fault", Stage::Eight, Who::Server),
    row("a_hundred_at_once", "100 at once; no fault", Stage::Hundred(Mode::Pass), Who::Server).in_a_crowd(),
    row("a_hundred_at_once_unanswered", "100 at once; no reply", Stage::Hundred(Mode::Silent), Who::Embedded)
        .in_a_crowd()
        .loses(Loss::NoStoreCouldHoldIt),
    row(
        "a_hundred_in_a_restart",
        "100 at once while the server is killed and started again with its data",
        Stage::HundredInARestart,
        Who::Either,
    )
    .in_a_crowd(),
];
