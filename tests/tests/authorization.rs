//! AUTH: what is asked of authorization servers, what they grant, and every refusal. All of it is
//! NSQ behaviour, so each test runs against the real nsqd as well, in the same run.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tests::auth_server::{Asked, AuthServer, Told};
use tests::broker::Broker;
use tests::client::{Client, Frame, Seen, many, with_body};
use tests::layers::Certificates;
use tests::patience::{SOON, eventually};
use tests::port::Port;
use tests::process::Process;
use tests::programs::{Maker, only_ours, ours, real, under_test};

/// Runs a check against the program under test and, where it is built, the real one.
fn with_each(check: impl Fn(Maker)) {
    check(under_test());
    if under_test() == Maker::Ours && real("nsqd").is_some() {
        check(Maker::Real);
    }
}

const EVERYTHING: &str =
    r#"{"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}"#;

fn grants(ttl: i64, authorizations: &str) -> Told {
    Told::ok(format!(
        r#"{{"ttl":{ttl},"identity":"ann","identity_url":"http://id/?a&b","authorizations":[{authorizations}]}}"#
    ))
}

/// A server that knows a few clients by what they say.
fn by_secret(asked: &Asked) -> Told {
    match asked.secret() {
        "everything" => grants(3600, EVERYTHING),
        "publisher" => grants(
            3600,
            r#"{"topic":"^a","channels":["^c$","^$"],"permissions":["publish"]},
               {"topic":"^b$","channels":["^c$"],"permissions":["publish"]}"#,
        ),
        "subscriber" => {
            grants(3600, r#"{"topic":"^a","channels":["^c$"],"permissions":["subscribe"]}"#)
        }
        "nothing" => grants(3600, ""),
        "unused" => grants(3600, r#"{"topic":".*","channels":[],"permissions":[]}"#),
        "ttl0" => grants(0, EVERYTHING),
        "ttl-1" => grants(-1, EVERYTHING),
        "permission" => grants(3600, r#"{"topic":"","channels":[""],"permissions":["admin"]}"#),
        "topic" => grants(3600, r#"{"topic":"(","channels":[""],"permissions":["publish"]}"#),
        "channel" => grants(3600, r#"{"topic":"","channels":["*"],"permissions":["publish"]}"#),
        "text" => Told::ok("granted"),
        "list" => Told::ok("[]"),
        "empty" => Told::ok(""),
        "redirected" if asked.target.starts_with("/there") => grants(3600, EVERYTHING),
        "redirected" => {
            Told { header: "Location: /there?secret=redirected", ..Told::status("302 Found") }
        }
        "500" => Told::status("500 Internal Server Error"),
        "403" => Told::status("403 Forbidden"),
        "201" => Told { status: "201 Created", ..grants(3600, EVERYTHING) },
        _ => Told::status("401 Unauthorized"),
    }
}

fn auth(secret: &str) -> Vec<u8> {
    with_body("AUTH", secret.as_bytes())
}

const TOLD: &str =
    r#"{"identity":"ann","identity_url":"http://id/?a\u0026b","permission_count":1}"#;
const TOLD_TWO: &str =
    r#"{"identity":"ann","identity_url":"http://id/?a\u0026b","permission_count":2}"#;
const FAILED: &str = "E_AUTH_FAILED AUTH failed";

/// What is said after the magic, the responses to it, and how it ends.
type Case = (Vec<Vec<u8>>, Vec<&'static str>, Option<String>);

#[test]
fn clients_may_do_what_is_granted_and_are_refused_by_name_what_is_not() {
    let first = |verb: &str| format!("E_AUTH_FIRST AUTH required before {verb}");
    let denied = |verb: &str, topic: &str, channel: &str| {
        format!(r#"E_UNAUTHORIZED AUTH failed for {verb} on "{topic}" "{channel}""#)
    };
    let say = |words: &str| words.as_bytes().to_vec();
    let pub_to = |topic: &str| with_body(&format!("PUB {topic}"), b"m");
    let dpub_to = |topic: &str| with_body(&format!("DPUB {topic} 0"), b"m");
    let cases: Vec<Case> = vec![
        (vec![say("SUB a c\n")], vec![], Some(first("SUB"))),
        (vec![pub_to("a")], vec![], Some(first("PUB"))),
        (vec![dpub_to("a")], vec![], Some(first("DPUB"))),
        (vec![many("a", &["m"])], vec![], Some(first("MPUB"))),
        // A batch is refused by its line, other publishes when they are whole and legal.
        (vec![say("MPUB a\n")], vec![], Some(first("MPUB"))),
        (vec![with_body("MPUB a", b"")], vec![], Some(first("MPUB"))),
        (
            vec![with_body("PUB a", b"")],
            vec![],
            Some("E_BAD_MESSAGE PUB invalid message body size 0".to_owned()),
        ),
        (
            vec![say("PUB a*\n")],
            vec![],
            Some(r#"E_BAD_TOPIC PUB topic name "a*" is not valid"#.to_owned()),
        ),
        (
            vec![say("SUB a c*\n")],
            vec![],
            Some(r#"E_BAD_CHANNEL SUB channel name "c*" is not valid"#.to_owned()),
        ),
        (
            vec![auth("everything"), pub_to("x"), dpub_to("x"), many("y", &["m"]), say("NOP\n")],
            vec![TOLD, "OK", "OK", "OK"],
            None,
        ),
        (vec![auth("everything"), say("SUB x c\n"), pub_to("y")], vec![TOLD, "OK", "OK"], None),
        (vec![auth("redirected"), pub_to("x")], vec![TOLD, "OK"], None),
        (
            vec![auth("everything"), auth("everything")],
            vec![TOLD],
            Some("E_INVALID AUTH already set".to_owned()),
        ),
        (
            vec![auth("everything"), say("SUB x c\n"), auth("everything")],
            vec![TOLD, "OK"],
            Some("E_INVALID cannot AUTH in current state".to_owned()),
        ),
        (
            vec![auth("publisher"), pub_to("a1"), many("a2", &["m"]), pub_to("a1"), pub_to("b")],
            vec![TOLD_TWO, "OK", "OK", "OK"],
            Some(denied("PUB", "b", "")),
        ),
        (vec![auth("publisher"), dpub_to("ba")], vec![TOLD_TWO], Some(denied("DPUB", "ba", ""))),
        (vec![auth("publisher"), say("MPUB b\n")], vec![TOLD_TWO], Some(denied("MPUB", "b", ""))),
        (vec![auth("publisher"), say("SUB a c\n")], vec![TOLD_TWO], Some(denied("SUB", "a", "c"))),
        (vec![auth("subscriber"), say("SUB a c\n")], vec![TOLD, "OK"], None),
        (vec![auth("subscriber"), say("SUB a d\n")], vec![TOLD], Some(denied("SUB", "a", "d"))),
        (vec![auth("subscriber"), pub_to("a")], vec![TOLD], Some(denied("PUB", "a", ""))),
        (
            vec![auth("subscriber"), say("SUB a c\n"), pub_to("a")],
            vec![TOLD, "OK"],
            Some(denied("PUB", "a", "")),
        ),
        (vec![auth("unused"), pub_to("a")], vec![TOLD], Some(denied("PUB", "a", ""))),
        (
            vec![auth("nothing")],
            vec![],
            Some("E_UNAUTHORIZED AUTH no authorizations found".to_owned()),
        ),
        (vec![say("AUTH x\n")], vec![], Some("E_INVALID AUTH invalid number of parameters".into())),
        (
            vec![with_body("AUTH", b"")],
            vec![],
            Some("E_BAD_BODY AUTH invalid body size 0".to_owned()),
        ),
    ];
    let failing = [
        "ttl0",
        "ttl-1",
        "permission",
        "topic",
        "channel",
        "text",
        "list",
        "empty",
        "500",
        "403",
        "201",
        "nobody",
    ];
    let failing = failing.map(|secret| (vec![auth(secret)], vec![], Some(FAILED.to_owned())));
    let cases: Vec<_> = cases.into_iter().chain(failing).collect();
    with_each(|maker| {
        let server = AuthServer::start(by_secret);
        let broker = Broker::of(maker, &[&server.flag()]);
        for (number, (said, responses, error)) in cases.iter().enumerate() {
            let shown = String::from_utf8_lossy(&said.concat()).into_owned();
            let case = format!("{maker:?} {number} {shown:?}");
            let mut client = broker.client();
            for bytes in said {
                // NSQ reads on while it asks, so that nothing is lost between.
                client.try_send(bytes);
            }
            for &response in responses {
                assert_eq!(client.frame(), Frame::Response(response.into()), "{case}");
            }
            match error {
                Some(error) => {
                    assert_eq!(client.frame(), Frame::Error(error.clone()), "{case}");
                    client.closed();
                }
                None => client.silence(Duration::from_millis(20)),
            }
        }
        // What needs no permission, and what is not asked about.
        let mut client = broker.client();
        let agreed = client.identify(r#"{"feature_negotiation":true}"#);
        assert!(agreed.contains(r#""auth_required":true"#), "{agreed}");
        assert_eq!(broker.post("/pub?topic=x", b"m").text(), "OK");
        // Whoever may not publish to a topic does not make it either.
        assert!(broker.topic("ba").is_none() && broker.topic("b").is_none(), "{maker:?}");
    });
}

#[test]
fn a_server_is_asked_with_a_query_or_with_json() {
    with_each(|maker| {
        let server = AuthServer::start(|_| grants(3600, EVERYTHING));
        let full = format!("--auth-http-address=http://bob:word@{}/a/b?x=y", server.address);
        let ask = |flags: &[&str]| {
            let broker = Broker::of(maker, flags);
            let mut client = broker.client();
            client.send(&auth("sek ret&x\"<\u{e9}"));
            assert_eq!(client.response(), TOLD);
            let asked = server.asked().pop().expect("it was asked");
            assert_eq!(asked.header("accept"), Some("application/vnd.nsq; version=1.0"));
            assert_eq!(asked.header("host"), Some(server.address.to_string().as_str()));
            asked
        };
        let query = "common_name=&remote_ip=127.0.0.1&secret=sek+ret%26x%22%3C%C3%A9&tls=false";
        let json = "{\"common_name\":[\"\"],\"remote_ip\":[\"127.0.0.1\"],\
                    \"secret\":[\"sek ret\\u0026x\\\"\\u003c\u{e9}\"],\"tls\":[\"false\"]}";

        let asked = ask(&[&server.flag()]);
        assert_eq!((asked.method.as_str(), asked.body.as_str()), ("GET", ""));
        assert_eq!(asked.target, format!("/auth?{query}"));
        assert_eq!(asked.header("authorization"), None);

        let asked = ask(&[&full]);
        assert_eq!(asked.target, format!("/a/b?x=y?{query}"));
        assert_eq!(asked.header("authorization"), Some("Basic Ym9iOndvcmQ="));

        // NSQ can post since the release after 1.3.0.
        if maker == Maker::Real {
            return;
        }
        let asked = ask(&[&server.flag(), "--auth-http-request-method=post"]);
        assert_eq!((asked.method.as_str(), asked.body.as_str()), ("POST", json));
        assert_eq!(asked.target, "/auth");
        assert_eq!(asked.header("content-type"), Some("application/json"));
    });
}

#[test]
fn what_is_past_its_time_is_asked_for_again_at_the_next_command_that_needs_it() {
    with_each(|maker| {
        let answer = Arc::new(Mutex::new(grants(1, EVERYTHING)));
        let given = answer.clone();
        let server = AuthServer::start(move |_| given.lock().unwrap().clone());
        let broker = Broker::of(maker, &[&server.flag()]);
        let authorized = || {
            let mut client = broker.client();
            client.send(&auth("word"));
            assert_eq!(client.response(), TOLD);
            client.publish("t", b"m");
            client.publish("t", b"m");
            client
        };
        let mut consumer = authorized();
        consumer.subscribe("t", "c");
        consumer.ready(1);
        let mut clients = [authorized(), authorized(), authorized()];
        assert_eq!(server.asked().len(), 4, "{maker:?}: once each");
        thread::sleep(Duration::from_millis(1_100));

        // A consumer that only consumes is left alone.
        let message = consumer.message();
        consumer.finish(&message);
        consumer.message();
        assert_eq!(server.asked().len(), 4, "{maker:?}");

        let [renewed, denied, failed] = &mut clients;
        *answer.lock().unwrap() =
            grants(3600, r#"{"topic":"^t$","channels":[""],"permissions":["publish"]}"#);
        renewed.publish("t", b"m");
        renewed.publish("t", b"m");
        assert_eq!(server.asked().len(), 5, "{maker:?}");
        let last = server.asked().pop().expect("it was asked");
        assert_eq!(last.secret(), "word");

        *answer.lock().unwrap() = grants(1, "");
        denied.send(&with_body("PUB t", b"m"));
        assert_eq!(denied.error(), r#"E_UNAUTHORIZED AUTH failed for PUB on "t" """#);
        denied.closed();

        *answer.lock().unwrap() = Told::status("500 Internal Server Error");
        failed.send(&many("t", &["m"]));
        assert_eq!(failed.error(), FAILED);
        failed.closed();
        assert_eq!(server.asked().len(), 7, "{maker:?}");
    });
}

#[test]
fn one_server_after_another_is_asked_until_one_answers() {
    with_each(|maker| {
        let nobody = Port::any();
        let gone = nobody.address;
        let broken = AuthServer::start(|_| Told::status("500 Internal Server Error"));
        let good = AuthServer::start(|_| grants(3600, EVERYTHING));
        let gone = format!("--auth-http-address={gone}");
        let broker = Broker::of(maker, &[&gone, &broken.flag(), &good.flag()]);
        for _ in 0..12 {
            let mut client = broker.client();
            client.send(&auth("word"));
            assert_eq!(client.response(), TOLD, "{maker:?}");
        }
        assert_eq!(good.asked().len(), 12);
        // It starts anywhere in the list: (2/3)^12 would have to be bad luck.
        let asked_in_vain = broken.asked().len();
        assert!(0 < asked_in_vain && asked_in_vain < 12, "{maker:?}: {asked_in_vain}");

        let alone = Broker::of(maker, &[&gone, &broken.flag()]);
        let mut client = alone.client();
        client.send(&auth("word"));
        assert_eq!(client.error(), FAILED);
        client.closed();
    });
}

#[test]
fn a_server_that_does_not_answer_fails_its_client_and_holds_up_nobody_else() {
    with_each(|maker| {
        let (release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let server = AuthServer::start(move |asked| {
            if asked.secret() == "slow" {
                released.lock().unwrap().recv().ok();
            }
            grants(3600, EVERYTHING)
        });
        let broker = Broker::of(maker, &[&server.flag(), "--http-client-request-timeout=20s"]);
        let mut slow = broker.client();
        slow.send(&auth("slow"));
        slow.send(&with_body("PUB t", b"m"));
        eventually(SOON, "the server is asked", || (server.asked().len() == 1).then_some(()));
        let mut other = broker.client();
        other.send(&auth("quick"));
        assert_eq!(other.response(), TOLD);
        other.publish("t", b"m");
        assert_eq!(slow.see(Duration::from_millis(50)), Seen::Silence);
        release.send(()).unwrap();
        assert_eq!(slow.response(), TOLD);
        slow.ok();

        let broker = Broker::of(maker, &[&server.flag(), "--http-client-request-timeout=200ms"]);
        let mut late = broker.client();
        late.send(&auth("slow"));
        assert_eq!(late.error(), FAILED);
        late.closed();
    });
}

#[test]
fn a_server_is_asked_over_tls_where_its_address_or_itself_says_so() {
    let certificates = Certificates::new();
    let root = format!("--tls-root-ca-file={}", certificates.file("ca.pem").display());
    with_each(|maker| {
        let safe = AuthServer::over_tls(&certificates, |_| grants(3600, EVERYTHING));
        let port = safe.address.port();
        let hint = AuthServer::start(move |_| Told {
            body: format!(r#"{{"message":"TLS_REQUIRED","https_port":{port}}}"#),
            ..Told::status("403 Forbidden")
        });
        let by_name = format!("--auth-http-address=https://localhost:{port}/safe");
        for (flag, target) in [(&by_name, "/safe?"), (&hint.flag(), "/auth?")] {
            let broker = Broker::of(maker, &[flag, &root]);
            let mut client = broker.client();
            client.send(&auth("word"));
            assert_eq!(client.response(), TOLD, "{maker:?} {flag}");
            let asked = safe.asked().pop().expect("it was asked");
            assert!(asked.target.starts_with(target), "{}", asked.target);
            assert_eq!(asked.secret(), "word");
        }
        // Whom nobody has vouched for is told nothing.
        let count = safe.asked().len();
        let distrustful = Broker::of(maker, &[&by_name]);
        let mut client = distrustful.client();
        client.send(&auth("word"));
        assert_eq!(client.error(), FAILED);
        client.closed();
        assert_eq!(safe.asked().len(), count);
    });
}

#[test]
fn a_server_is_told_of_tls_and_of_the_name_in_the_clients_certificate() {
    let certificates = Certificates::new();
    with_each(|maker| {
        let server = AuthServer::start(|_| grants(3600, EVERYTHING));
        let mut flags = certificates.flags();
        flags.push("--tls-client-auth-policy=require".to_owned());
        // Its probe, too, would have to speak TLS.
        flags.push("--tls-required=tcp-https".to_owned());
        flags.push(server.flag());
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let broker = Broker::of(maker, &flags);
        for (shows, common_name) in [("client", "client"), ("stranger", "rcgen+self+signed+cert")] {
            let mut client = broker.client();
            client.identify(r#"{"feature_negotiation":true,"tls_v1":true}"#);
            client.begin_tls(certificates.client(Some(shows), &[&TLS12, &TLS13]));
            client.send(&auth("word"));
            assert_eq!(client.response(), TOLD, "{maker:?}");
            let asked = server.asked().pop().expect("it was asked");
            let expected =
                format!("/auth?common_name={common_name}&remote_ip=127.0.0.1&secret=word&tls=true");
            assert_eq!(asked.target, expected, "{maker:?}");
        }
    });
}

#[test]
fn statistics_show_who_a_client_is() {
    with_each(|maker| {
        let server = AuthServer::start(by_secret);
        let broker = Broker::of(maker, &[&server.flag()]);
        let mut consumer = broker.client();
        consumer.send(&auth("everything"));
        assert_eq!(consumer.response(), TOLD);
        consumer.subscribe("t", "c");
        consumer.publish("t", b"m");
        let text = broker.get("/stats?format=json").text();
        let keys = r#""user_agent":"","authed":true,"auth_identity":"ann","auth_identity_url":"http://id/?a\u0026b","#;
        assert_eq!(text.matches(keys).count(), 2, "{maker:?}: {text}");
    });
}

#[test]
fn ours_does_not_start_with_an_unknown_method() {
    if !only_ours("NSQ 1.3.0 has no such flag yet") {
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let mut process = Process::start(
        Command::new(ours("nsqd"))
            .arg("--auth-http-request-method=put")
            .arg(format!("--data-path={}", folder.path().display())),
    );
    assert_eq!(process.ended_within(SOON).code(), Some(1));
    let expected = "failed to instantiate nsqd - --auth-http-request-method must be post or get";
    assert!(process.log().contains(expected), "{}", process.log());
}

#[test]
fn ours_carries_what_a_client_may_from_core_to_core_and_keeps_secrets_out_of_the_log() {
    if !only_ours("NSQ has no cores, and logs what it asked for") {
        return;
    }
    let is_broken = Arc::new(AtomicBool::new(false));
    let (breaks, count) = (is_broken.clone(), Arc::new(AtomicUsize::new(0)));
    let server = AuthServer::start(move |asked| {
        count.fetch_add(1, Ordering::Relaxed);
        if breaks.load(Ordering::Relaxed) {
            return Told { body: asked.target.clone(), ..Told::status("401 Unauthorized") };
        }
        grants(3600, EVERYTHING)
    });
    let nobody = Port::any();
    let gone = nobody.address;
    let gone = format!("--auth-http-address=http://ann:hidden-word@{gone}/?key=hidden-key");
    let flags = [&server.flag(), "--shards=2", "--log-level=debug"];
    let broker = Broker::with(&flags);
    // Eight topics lie on both cores, and so do eight connections.
    let mut clients: Vec<Client> = (0..8).map(|_| broker.client()).collect();
    for client in &mut clients {
        client.send(&auth("hidden-secret"));
        assert_eq!(client.response(), TOLD);
        for topic in 0..8 {
            // Enough of them that a publisher follows its topic.
            for _ in 0..20 {
                client.publish(&format!("t{topic}"), b"m");
            }
        }
    }
    for (topic, client) in clients.iter_mut().enumerate() {
        client.subscribe(&format!("t{topic}"), "c");
        client.ready(1);
        client.message();
    }
    assert_eq!(server.asked().len(), 8, "once each");
    is_broken.store(true, Ordering::Relaxed);
    let mut broken = Broker::with(&[&gone, &server.flag(), "--log-level=debug"]);
    let mut refused = broken.client();
    refused.send(&auth("hidden-secret"));
    assert_eq!(refused.error(), FAILED);
    let line = broken.process.logged("AUTH failed failed to auth against http://");
    assert!(line.contains("got response 401 Unauthorized"), "{line}");
    for log in [broker.process.log(), broken.process.log()] {
        assert!(!log.contains("hidden"), "{log}");
    }
}
