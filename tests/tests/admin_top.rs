//! `admin-cli top` in a real terminal: its screen is read back while brokers work, come and go.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tests::broker::Broker;
use tests::lookup_server::LookupServer;
use tests::patience::{SOON, eventually};
use tests::process::run;
use tests::programs::ours;
use tests::terminal::Terminal;

const NARROW: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (160, 50);

/// `top` in a terminal, asking every 200 ms.
fn top(size: (u16, u16), variables: &[(&str, &str)], flags: &[String]) -> Option<Terminal> {
    let mut arguments = vec!["top", "--interval=200ms"];
    arguments.extend(flags.iter().map(String::as_str));
    Terminal::run(size, variables, &ours("admin-cli"), &arguments)
}

fn at(broker: &Broker) -> String {
    format!("--nsqd-http-address={}", broker.http)
}

/// A broker with the topics `orders`, whose channel `email` has 6 messages and one more in flight to a
/// consumer, and whose channel `audit` is paused, and `quiet`.
fn busy_broker() -> (Broker, tests::client::Client) {
    let broker = Broker::start();
    for target in [
        "/topic/create?topic=quiet",
        "/topic/create?topic=orders",
        "/channel/create?topic=orders&channel=email",
        "/channel/create?topic=orders&channel=audit",
        "/channel/pause?topic=orders&channel=audit",
    ] {
        broker.order(target);
    }
    broker.client().publish_many("orders", &["1", "2", "3", "4", "5", "6", "7"]);
    let mut consumer = broker.subscribed("orders", "email");
    consumer.ready(1);
    consumer.message();
    broker.count_becomes("orders", "email", "in_flight_count", 1);
    broker.count_becomes("orders", "audit", "depth", 7);
    (broker, consumer)
}

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn a_topic_opens_into_its_channels_and_these_into_their_clients() {
    let (broker, _consumer) = busy_broker();
    let Some(terminal) = top(NARROW, &[], &[at(&broker)]) else { return };
    let line = terminal.shows_line(&["orders", " 13 "]);
    assert_eq!(words(&line)[..2], ["orders", "13"], "{line}");
    let screen = terminal.screen();
    assert!(
        screen[0].starts_with("1 node  2 topics  2 channels  1 client  backlog 13 "),
        "{screen:#?}"
    );
    assert!(screen[23].starts_with("q quit  ? help  Enter open"), "{screen:#?}");
    assert!(screen.iter().all(|line| line.chars().count() <= 80), "{screen:#?}");

    terminal.press(&["Enter"]);
    let line = terminal.shows_line(&["audit (paused)"]);
    assert_eq!(words(&line)[..3], ["audit", "(paused)", "7"], "{line}");
    let line = terminal.shows_line(&["email"]);
    assert_eq!(words(&line)[..2], ["email", "6"], "{line}");
    assert_eq!(terminal.screen()[1], "[topics] channels nodes › orders");

    terminal.press(&["Down", "Enter"]);
    let line = terminal.shows_line(&["127.0.0.1:"]);
    // RDY 1, one in flight.
    assert!(line.contains("     1      1 "), "{line}");
    assert_eq!(terminal.screen()[1], "[topics] channels nodes › orders › email");

    terminal.press(&["Escape"]);
    terminal.shows_line(&["audit (paused)"]);
    terminal.press(&["Escape"]);
    terminal.shows_line(&["quiet"]);
    terminal.press(&["3"]);
    let line = terminal.shows_line(&[&broker.http.to_string()]);
    assert_eq!(words(&line)[1], "13", "{line}");
}

#[test]
fn names_are_filtered_rows_sorted_and_help_is_there() {
    let broker = Broker::start();
    for topic in ["alpha", "beta", "gamma"] {
        broker.order(&format!("/topic/create?topic={topic}"));
    }
    broker.client().publish_many("beta", &["1", "2"]);
    let Some(terminal) = top(NARROW, &[], &[at(&broker)]) else { return };
    let first_row = |name: &'static str| {
        terminal.shows(&format!("{name} is first"), |screen| {
            screen.get(3).is_some_and(|line| line.starts_with(name))
        })
    };
    first_row("beta");
    // By name, and the other way round.
    terminal.press(&["S"]);
    first_row("alpha");
    terminal.press(&["r"]);
    first_row("gamma");

    terminal.press(&["/", "a", "l", "p"]);
    let screen = terminal.shows("only what has these letters", |screen| {
        screen.len() == 24 && screen[23].starts_with("/alp_  Enter keep  Esc drop")
    });
    assert!(screen[3].starts_with("alpha"), "{screen:#?}");
    assert!(screen[4..23].iter().all(String::is_empty), "{screen:#?}");
    terminal.press(&["q"]);
    terminal.shows_line(&["Nothing here has \"alpq\" in its name."]);
    terminal.press(&["Escape"]);
    terminal.shows_line(&["beta"]);

    terminal.press(&["?"]);
    terminal.shows_line(&["Enter, Right, l", "topic -> its channels"]);
    terminal.press(&["x"]);
    terminal.shows_line(&["beta"]);
}

#[test]
fn a_larger_window_shows_more_and_a_smaller_one_less() {
    let (broker, _consumer) = busy_broker();
    let Some(terminal) = top(NARROW, &[], &[at(&broker)]) else { return };
    terminal.shows_line(&["orders"]);
    assert!(!terminal.screen()[2].contains("MESSAGES"));
    terminal.resize(WIDE.0, WIDE.1);
    let screen = terminal.shows("every column, and the keys at the bottom", |screen| {
        screen.len() == 50 && screen[2].contains("MESSAGES") && screen[49].starts_with("q quit")
    });
    assert!(screen[3].starts_with("orders"), "{screen:#?}");
    terminal.resize(40, 10);
    terminal.shows("the columns that matter", |screen| {
        screen.len() == 10
            && screen[2].contains("BACKLOG")
            && !screen[2].contains("OUT/S")
            && screen[3].starts_with("orders")
            && screen[9].starts_with("q quit")
    });
}

#[test]
fn a_node_that_dies_is_named_and_the_rest_still_shows() {
    let lookup = LookupServer::start();
    let [stays, mut dies] = [(); 2].map(|()| Broker::with(&[&lookup.flag()]));
    for (broker, topic) in [(&stays, "stays"), (&dies, "goes")] {
        broker.order(&format!("/topic/create?topic={topic}"));
    }
    eventually(SOON, "both are registered", || {
        let nodes = lookup.get("/nodes").text();
        (nodes.contains("stays") && nodes.contains("goes")).then_some(())
    });
    let flag = format!("--lookupd-http-address={}", lookup.http);
    let Some(terminal) = top(NARROW, &[], &[flag]) else { return };
    terminal.shows_line(&["2 nodes  2 topics"]);
    // A broker that is asked by name does not vanish from the list when it dies.
    let named = [at(&stays), at(&dies)];
    let Some(by_name) = top(NARROW, &[], &named) else { return };
    by_name.shows_line(&["2 nodes  2 topics"]);
    let address = dies.http.to_string();
    dies.process.kill();
    let screen = by_name.shows("the node that died", |screen| {
        screen[22].starts_with(&format!("! {address} does not answer: "))
    });
    assert!(screen[0].starts_with("1 of 2 nodes  1 topic "), "{screen:#?}");
    assert!(screen[3].starts_with("stays"), "{screen:#?}");
    // The directory forgets it at once, as its connection is gone.
    terminal.shows_line(&["1 topic "]);
    terminal.shows_line(&["stays"]);
    dies.start_again();
}

#[test]
fn a_node_that_never_answers_holds_up_nothing() {
    let (broker, _consumer) = busy_broker();
    // It takes the connection, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let silent = silent.local_addr().map(|address| (silent, address)).expect("it has an address");
    // Longer than the test looks.
    let patience = "--http-client-request-timeout=10m".to_owned();
    let flags = [at(&broker), format!("--nsqd-http-address={}", silent.1), patience];
    let Some(terminal) = top(NARROW, &[], &flags) else { return };
    terminal.shows_line(&["orders", " 13 "]);
    terminal.shows_line(&["1 of 2 nodes"]);
    terminal.press(&["Enter"]);
    terminal.shows_line(&["audit (paused)"]);
    terminal.press(&["3"]);
    terminal.shows_line(&[&silent.1.to_string(), "asking ..."]);
}

#[test]
fn the_terminal_is_as_it_was_however_it_ends() {
    let (broker, _consumer) = busy_broker();
    for (name, key, signal) in [
        ("q", Some("q"), None),
        ("Ctrl-C", Some("C-c"), None),
        ("SIGTERM", None, Some(Signal::TERM)),
        ("SIGINT", None, Some(Signal::INT)),
        ("SIGHUP", None, Some(Signal::HUP)),
    ] {
        let Some(terminal) = top(NARROW, &[], &[at(&broker)]) else { return };
        terminal.shows_line(&["orders"]);
        key.iter().for_each(|key| terminal.press(&[key]));
        signal.into_iter().for_each(|signal| terminal.signal(signal));
        let screen = terminal.ended();
        assert_eq!(screen[1], "ended with 0", "{name}: {screen:#?}");
    }
}

#[test]
fn without_colour_there_are_no_codes_for_colours() {
    let (broker, _consumer) = busy_broker();
    for (variables, is_coloured) in [(&[][..], true), (&[("NO_COLOR", "1")], false)] {
        let Some(terminal) = top(NARROW, variables, &[at(&broker)]) else { return };
        terminal.shows_line(&["orders", " 13 "]);
        let codes = terminal.screen_with_codes();
        // Codes 30 to 37 and 90 to 97 set a colour.
        let colours = codes.split("\u{1b}[").skip(1).filter(|code| {
            let code = code.split('m').next().unwrap_or_default();
            code.split(';').any(|code| {
                (code.starts_with('3') || code.starts_with('9'))
                    && code.len() == 2
                    && !code.ends_with('9')
            })
        });
        assert_eq!(0 < colours.count(), is_coloured, "{codes:?}");
    }
}

#[test]
fn without_unicode_all_is_ascii() {
    let (broker, _consumer) = busy_broker();
    let Some(terminal) = top(NARROW, &[("LC_ALL", "C")], &[at(&broker)]) else { return };
    terminal.shows_line(&["orders", " 13 "]);
    let screen = terminal.screen();
    assert!(screen.iter().all(|line| line.is_ascii()), "{screen:#?}");
    assert!(screen[2].contains("vBACKLOG"), "{screen:#?}");
}

#[test]
fn what_is_empty_says_what_to_do_next() {
    let broker = Broker::start();
    let Some(terminal) = top(NARROW, &[], &[at(&broker)]) else { return };
    terminal.shows_line(&["There is no topic yet."]);
    terminal.shows_line(&["echo hello | admin-cli pub --topic=NAME"]);
    broker.order("/topic/create?topic=newborn");
    terminal.shows_line(&["newborn"]);
    terminal.press(&["Enter"]);
    terminal.shows_line(&["newborn has no channel"]);
    // Nobody listens on the port of a service that no system has had for decades.
    let deserted = "--nsqd-http-address=127.0.0.1:1".to_owned();
    let Some(terminal) = top(NARROW, &[], &[deserted]) else { return };
    terminal.shows_line(&["No nsqd answers."]);
    terminal.shows_line(&["! 127.0.0.1:1 does not answer"]);
}

#[test]
fn where_no_screen_can_be_drawn_it_says_so_and_what_to_use() {
    let mut command = Command::new(ours("admin-cli"));
    let ended = run(command.arg("top"), b"", Duration::from_secs(30));
    assert_eq!(ended.status.code(), Some(1), "{}", ended.log);
    assert!(ended.log.contains("standard output is none"), "{}", ended.log);
    assert!(ended.log.contains("admin-cli stat"), "{}", ended.log);

    let program = ours("admin-cli");
    let arguments = ["TERM=dumb", program.to_str().expect("paths are text"), "top"];
    let env = std::path::Path::new("env");
    let Some(terminal) = Terminal::run(NARROW, &[], env, &arguments) else { return };
    let screen = terminal.ended().join(" ");
    assert!(screen.contains("TERM=dumb") && screen.contains("ended with 1"), "{screen}");
}
