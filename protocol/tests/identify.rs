//! What is agreed at IDENTIFY, from the bytes of the body to those of the answer.

use std::time::Duration;

use protocol::identify::{Answer, IdentifyRequest, Offer, Settings, negotiate};
use protocol::limits::Limits;
use protocol::refusal::Refusal;

fn plain_offer() -> Offer {
    Offer {
        version: "1.3.0".to_owned(),
        tls: false,
        snappy: false,
        deflate: false,
        max_deflate_level: 6,
        auth_required: false,
        topology_region: String::new(),
        topology_zone: String::new(),
    }
}

fn full_offer() -> Offer {
    Offer { tls: true, snappy: true, deflate: true, ..plain_offer() }
}

fn agree(body: &str, offer: &Offer) -> Result<(Settings, Answer), Refusal> {
    negotiate(IdentifyRequest::parse(body.as_bytes())?, &Limits::default(), offer)
}

/// What a client that said `body` gets.
fn settings(body: &str) -> Settings {
    agree(body, &plain_offer()).expect("nothing is wrong with it").0
}

fn answer(body: &str, offer: &Offer) -> String {
    let answer = agree(body, offer).expect("nothing is wrong with it").1;
    String::from_utf8(answer.body).expect("answers are text")
}

/// What a client that said `body` is refused with.
fn refusal(body: &str, offer: &Offer) -> String {
    agree(body, offer).expect_err(body).text()
}

const UNPARSABLE: &str = "E_BAD_BODY IDENTIFY failed to decode JSON body";

#[test]
fn the_answer_has_the_keys_of_nsq_in_their_order() {
    assert_eq!(
        answer(r#"{"feature_negotiation":true}"#, &plain_offer()),
        concat!(
            r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"#,
            r#""msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"#,
            r#""max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"#,
            r#""output_buffer_size":16384,"output_buffer_timeout":250,"#,
            r#""topology_region":"","topology_zone":""}"#,
        )
    );
}

#[test]
fn the_answer_gives_the_clients_values_and_the_servers_place() {
    let offer = Offer {
        auth_required: true,
        topology_region: "r".to_owned(),
        topology_zone: "z<1>".to_owned(),
        ..plain_offer()
    };
    let body = concat!(
        r#"{"feature_negotiation":true,"msg_timeout":5000,"sample_rate":42,"#,
        r#""output_buffer_size":64,"output_buffer_timeout":25,"topology_region":"mine"}"#,
    );
    assert_eq!(
        answer(body, &offer),
        concat!(
            r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"#,
            r#""msg_timeout":5000,"tls_v1":false,"deflate":false,"deflate_level":6,"#,
            r#""max_deflate_level":6,"snappy":false,"sample_rate":42,"auth_required":true,"#,
            r#""output_buffer_size":64,"output_buffer_timeout":25,"#,
            r#""topology_region":"r","topology_zone":"z\u003c1\u003e"}"#,
        )
    );
}

#[test]
fn without_feature_negotiation_the_answer_is_ok_and_the_values_hold_all_the_same() {
    let body = r#"{"tls_v1":true,"snappy":true,"deflate":true,"heartbeat_interval":1000}"#;
    let (settings, answer) = agree(body, &full_offer()).unwrap();
    let ok = Answer { body: b"OK".to_vec(), tls: false, snappy: false, deflate_level: None };
    assert_eq!(answer, ok);
    assert_eq!(settings.heartbeat_interval, Some(Duration::from_secs(1)));
    assert!(!settings.feature_negotiation);
}

#[test]
fn whoever_says_identify_without_a_name_has_none() {
    let default = Settings::default_for("10.0.0.7", &Limits::default());
    assert_eq!(default.client_id, "10.0.0.7");
    let expected = Settings { client_id: String::new(), hostname: String::new(), ..default };
    for empty in ["{}", "null", " {} \n", r#"{"client_id":null,"heartbeat_interval":null}"#] {
        assert_eq!(settings(empty), expected, "{empty}");
    }
}

#[test]
fn every_value_has_its_default_its_off_switch_and_its_ends() {
    let milliseconds = |number| Some(Duration::from_millis(number));
    for (asked, interval) in [
        (0, milliseconds(30_000)),
        (-1, None),
        (1000, milliseconds(1000)),
        (60_000, milliseconds(60_000)),
    ] {
        let body = format!(r#"{{"heartbeat_interval":{asked}}}"#);
        assert_eq!(settings(&body).heartbeat_interval, interval, "{body}");
    }
    for (asked, timeout) in
        [(0, milliseconds(250)), (-1, None), (25, milliseconds(25)), (30_000, milliseconds(30_000))]
    {
        let body = format!(r#"{{"output_buffer_timeout":{asked}}}"#);
        assert_eq!(settings(&body).output_buffer_timeout, timeout, "{body}");
    }
    for (asked, bytes) in [(0, 16_384), (-1, 1), (64, 64), (65_536, 65_536)] {
        let body = format!(r#"{{"output_buffer_size":{asked}}}"#);
        assert_eq!(settings(&body).output_buffer_bytes, bytes, "{body}");
    }
    for (asked, timeout) in [(0, 60_000), (1000, 1000), (900_000, 900_000)] {
        let body = format!(r#"{{"msg_timeout":{asked}}}"#);
        assert_eq!(settings(&body).message_timeout, Duration::from_millis(timeout), "{body}");
    }
    assert_eq!(settings(r#"{"sample_rate":99}"#).sample_rate, 99);
}

#[test]
fn without_an_output_buffer_nothing_waits_in_it() {
    let unbuffered = settings(r#"{"output_buffer_size":-1,"output_buffer_timeout":1000}"#);
    assert_eq!((unbuffered.output_buffer_bytes, unbuffered.output_buffer_timeout), (1, None));
    let body = r#"{"feature_negotiation":true,"output_buffer_size":-1,"output_buffer_timeout":-1}"#;
    let answer = answer(body, &plain_offer());
    assert!(answer.contains(r#""output_buffer_size":1,"output_buffer_timeout":0,"#), "{answer}");
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (body, reason) in [
        (r#"{"heartbeat_interval":999}"#, "heartbeat interval (999) is invalid"),
        (r#"{"heartbeat_interval":60001}"#, "heartbeat interval (60001) is invalid"),
        (r#"{"heartbeat_interval":-2}"#, "heartbeat interval (-2) is invalid"),
        (r#"{"output_buffer_timeout":24}"#, "output buffer timeout (24) is invalid"),
        (r#"{"output_buffer_timeout":30001}"#, "output buffer timeout (30001) is invalid"),
        (r#"{"output_buffer_size":63}"#, "output buffer size (63) is invalid"),
        (r#"{"output_buffer_size":65537}"#, "output buffer size (65537) is invalid"),
        (r#"{"sample_rate":100}"#, "sample rate (100) is invalid"),
        (r#"{"sample_rate":-1}"#, "sample rate (-1) is invalid"),
        (r#"{"msg_timeout":999}"#, "msg timeout (999) is invalid"),
        (r#"{"msg_timeout":-1}"#, "msg timeout (-1) is invalid"),
        (r#"{"msg_timeout":9223372036854775807}"#, "msg timeout (9223372036854775807) is invalid"),
        // Of several, the one that NSQ looks at first.
        (
            r#"{"msg_timeout":1,"sample_rate":100,"output_buffer_size":1,"output_buffer_timeout":1}"#,
            "output buffer timeout (1) is invalid",
        ),
    ] {
        assert_eq!(refusal(body, &plain_offer()), format!("E_BAD_BODY IDENTIFY {reason}"));
    }
}

#[test]
fn a_body_is_read_by_the_rules_of_gos_decoder() {
    for (body, client_id) in [
        (r#"{"CLIENT_ID":"a"}"#, "a"),
        (r#"{"Client_Id":"a","client_id":"b"}"#, "b"),
        (r#"{"client_id":"a","client_id":null}"#, "a"),
        ("{\"client_\u{131}d\":\"b\",\"client_id\":\"a\"}", "a"),
        (r#"{"unknown":{"deep":[1e999,{}]},"short_id":7,"client_id":"a"}"#, "a"),
        (r#"{"client_id":"\u00e9\n"}"#, "é\n"),
    ] {
        assert_eq!(settings(body).client_id, client_id, "{body}");
    }
    // The long s is an s in its other case, as the Kelvin sign is a k.
    let long_s = "{\"\u{17f}nappy\":true,\"feature_negotiation\":true}";
    assert_eq!(agree(long_s, &full_offer()).map(|(_, answer)| answer.snappy), Ok(true));
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_inside_strings_only() {
    let request = IdentifyRequest::parse(b"{\"client_id\":\"a\xe4\xf6\"}").unwrap();
    assert_eq!(request.client_id, "a\u{fffd}\u{fffd}");
    let refusal = IdentifyRequest::parse(b"{\xff}").unwrap_err();
    assert_eq!(refusal.text(), UNPARSABLE);
}

#[test]
fn whatever_gos_decoder_refuses_is_refused() {
    for body in [
        "",
        "{",
        "[]",
        "7",
        r#""text""#,
        "{} x",
        "{}{}",
        "\u{feff}{}",
        r#"{"client_id":7}"#,
        r#"{"client_id":["a"]}"#,
        r#"{"client_id":"a","client_id":7}"#,
        r#"{"heartbeat_interval":30000.0}"#,
        r#"{"heartbeat_interval":3e4}"#,
        r#"{"heartbeat_interval":"30000"}"#,
        r#"{"heartbeat_interval":9223372036854775808}"#,
        r#"{"sample_rate":2147483648}"#,
        r#"{"sample_rate":-2147483649}"#,
        r#"{"snappy":1}"#,
        r#"{"tls_v1":"true"}"#,
        r#"{"client_id":"a",}"#,
        "{\"client_id\":\"a\nb\"}",
        r#"{'client_id':'a'}"#,
    ] {
        assert_eq!(refusal(body, &plain_offer()), UNPARSABLE, "{body}");
    }
}

#[test]
fn an_upgrade_takes_two_who_want_it() {
    for (wanted, tls, snappy, deflate_level) in [
        (r#""tls_v1":true"#, true, false, None),
        (r#""snappy":true"#, false, true, None),
        (r#""deflate":true"#, false, false, Some(6)),
        (r#""deflate":true,"deflate_level":3"#, false, false, Some(3)),
        (r#""deflate":true,"deflate_level":-3"#, false, false, Some(6)),
        (r#""deflate":true,"deflate_level":99"#, false, false, Some(6)),
        (r#""tls_v1":true,"snappy":true"#, true, true, None),
        (r#""deflate_level":3"#, false, false, None),
    ] {
        let body = format!(r#"{{"feature_negotiation":true,{wanted}}}"#);
        let (_, answer) = agree(&body, &full_offer()).unwrap();
        assert_eq!((answer.tls, answer.snappy, answer.deflate_level), (tls, snappy, deflate_level));
        let (_, answer) = agree(&body, &plain_offer()).unwrap();
        assert_eq!((answer.tls, answer.snappy, answer.deflate_level), (false, false, None));
    }
}

#[test]
fn the_level_in_the_answer_counts_only_with_deflate() {
    let offer = Offer { max_deflate_level: 4, ..full_offer() };
    for (wanted, expected) in [
        (r#""deflate_level":2"#, r#""deflate":false,"deflate_level":4,"max_deflate_level":4"#),
        (
            r#""deflate":true,"deflate_level":2"#,
            r#""deflate":true,"deflate_level":2,"max_deflate_level":4"#,
        ),
    ] {
        let answer = answer(&format!(r#"{{"feature_negotiation":true,{wanted}}}"#), &offer);
        assert!(answer.contains(expected), "{answer}");
    }
}

#[test]
fn two_compressions_are_refused_only_where_both_can_be_had() {
    let body = r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#;
    let refused = "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression";
    assert_eq!(refusal(body, &full_offer()), refused);
    let without_deflate = Offer { deflate: false, ..full_offer() };
    assert_eq!(agree(body, &without_deflate).map(|(_, answer)| answer.snappy), Ok(true));
    let (_, ok) = agree(r#"{"snappy":true,"deflate":true}"#, &full_offer()).unwrap();
    assert_eq!(ok.body, b"OK");
}

#[test]
fn the_limits_in_force_are_those_that_are_given() {
    let limits = Limits {
        max_ready_count: 7,
        message_timeout: Duration::from_secs(3),
        max_message_timeout: Duration::from_secs(5),
        ..Limits::default()
    };
    let negotiated = |body: &str| {
        let request = IdentifyRequest::parse(body.as_bytes()).unwrap();
        negotiate(request, &limits, &plain_offer())
    };
    let (settings, answer) = negotiated(r#"{"feature_negotiation":true}"#).unwrap();
    assert_eq!(settings.message_timeout, Duration::from_secs(3));
    let text = String::from_utf8(answer.body).unwrap();
    let start =
        r#"{"max_rdy_count":7,"version":"1.3.0","max_msg_timeout":5000,"msg_timeout":3000,"#;
    assert!(text.starts_with(start), "{text}");
    assert!(negotiated(r#"{"msg_timeout":5001}"#).is_err());
}
