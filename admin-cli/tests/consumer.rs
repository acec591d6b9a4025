//! A consumer as brokers see it, that say what each test tells them to.

#![expect(clippy::unwrap_used, reason = "a test may panic wherever it fails")]

#[allow(dead_code, reason = "other tests use the rest")]
mod fake;

use std::process::Stdio;
use std::sync::mpsc;
use std::thread;

use fake::{Broker, command};

const ANSWER: &str = r#"{"max_rdy_count":2500,"version":"1.3.0","auth_required":false}"#;

/// A broker that says who it is with everything that it hears.
fn listening(number: usize, heard: mpsc::Sender<(usize, String)>) -> String {
    let (broker, address) = Broker::listen();
    thread::spawn(move || {
        let mut client = broker.accept(ANSWER);
        while let Some(said) = client.next() {
            if said.starts_with("SUB ") {
                client.respond("OK");
            }
            if heard.send((number, said)).is_err() {
                return;
            }
        }
    });
    address
}

#[test]
fn one_message_for_two_brokers_goes_from_one_to_the_other() {
    let (sender, heard) = mpsc::channel();
    let addresses = [0, 1].map(|number| listening(number, sender.clone()));
    drop(sender);
    let flags = addresses.map(|address| format!("--nsqd-tcp-address={address}"));
    let options = ["rdy_redistribute_interval,10ms", "low_rdy_idle_timeout,1s"];
    let options = options.map(|option| format!("--consumer-opt={option}"));
    let mut arguments = vec!["nsq_tail", "--topic=t", "--channel=c", "--max-in-flight=1"];
    arguments.extend(flags.iter().chain(&options).map(String::as_str));
    let mut child = command(&arguments).stdin(Stdio::null()).spawn().unwrap();

    let mut ready = [0, 0];
    let mut has_been_ready = [false, false];
    while has_been_ready != [true, true] {
        let (number, said) = heard.recv().unwrap();
        if let Some(count) = said.strip_prefix("RDY ") {
            ready[number] = count.parse::<u32>().unwrap();
            has_been_ready[number] |= ready[number] == 1;
            assert!(ready[number] <= 1, "{said}");
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_message_beyond_its_attempts_is_finished_and_one_that_is_not_is_printed() {
    let (broker, address) = Broker::listen();
    let said = thread::spawn(move || {
        let mut client = broker.accept(ANSWER);
        let mut said = vec![client.next().unwrap(), client.next().unwrap()];
        client.respond("OK");
        client.deliver_again(1, 4, "tried three times");
        client.deliver_again(2, 5, "tried four times");
        loop {
            said.push(client.next().unwrap());
            if said.last().unwrap() == "CLS" {
                client.respond("CLOSE_WAIT");
                assert_eq!(client.next(), None);
                return said;
            }
        }
    });
    let flag = format!("--nsqd-tcp-address={address}");
    let option = "--consumer-opt=max_attempts,4";
    let run = fake::admin_cli(&["nsq_tail", "--topic=t", "--channel=c", "-n=1", option, &flag], "");
    assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), "tried three times\n"));
    assert!(run.stderr.contains("msg 0000000000000002 attempted 5 times, giving up"), "{run:?}");
    let mut said = said.join().unwrap();
    said.sort();
    // No other message is wanted in the place of the last.
    assert_eq!(said, ["CLS", "FIN 1", "FIN 2", "RDY 0", "RDY 1", "SUB t c"]);
}
