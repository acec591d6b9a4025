//! Graphite: asked for a rate, and passed on to browsers that cannot reach it.
//!
//! Rule (NSQ behaviour): `/api/graphite` asks for the last whole interval of statsd; `/render` passes
//! a GET on with the credentials of `--graphite-url`. Where NSQ fails with 500 because an answer is
//! empty, the rate is `N/A` here.
//!
//! What a graphite answers comes to browsers from nsqadmin's own address, where a script in it could do
//! whatever an administrator may. So it is passed on with its content type, and with what keeps a browser
//! from taking it for a page of ours: [`SAFETY`]. Different from NSQ on purpose, as is that a graphite sets
//! no cookies there.

use std::time::Duration;

use protocol::http::response::{Response, Status};
use protocol::http::url::encode_form;
use serde::{Deserialize, Serialize};
use tracing::{error, info, warn};

use super::Admin;
use super::api::{json, refused};
use super::query;
use super::server::{Answer, Foreign, Request};
use crate::cluster::root_cause;

/// The largest answer that is taken.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// `GET /api/graphite?metric=rate&target=...`.
pub(super) async fn rate(admin: &Admin, raw_query: &str) -> Result<Response, Response> {
    #[derive(Serialize)]
    struct Rate {
        rate: String,
    }
    let bad = |code: &str| refused(Status::BadRequest, code);
    let arguments = query::parse(raw_query).map_err(|_| bad("INVALID_REQUEST"))?;
    if arguments.get("metric") != Some("rate") {
        return Err(bad("INVALID_ARG_METRIC"));
    }
    let target = arguments.get("target").ok_or_else(|| bad("INVALID_ARG_TARGET"))?;
    let options = admin.options();
    let interval = options.statsd_interval;
    let seconds = |duration: Duration| format!("-{}sec", duration.as_secs());
    let query = encode_form([
        ("from", seconds(interval * 2).as_bytes()),
        ("until", seconds(interval).as_bytes()),
        ("format", b"json"),
        ("target", target.as_bytes()),
    ]);
    let url = format!("{}/render?{query}", options.graphite_url);
    info!("GRAPHITE: {}", without_user(&url));
    let answer = ask(admin, &url, options.http_client_request_timeout).await;
    let rate =
        answer.and_then(|body| read_rate(&body, interval).map_err(|error| error.to_string()));
    match rate {
        Ok(rate) => Ok(json(&Rate { rate })),
        Err(reason) => {
            error!("graphite request failed - {reason}");
            Err(refused(Status::InternalServerError, "INTERNAL_ERROR"))
        }
    }
}

/// The address without who asks, which is a secret.
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The first value of the first series, by second.
fn read_rate(body: &[u8], interval: Duration) -> serde_json::Result<String> {
    #[derive(Deserialize)]
    struct Series {
        #[serde(default)]
        datapoints: Vec<Vec<Option<f64>>>,
    }
    let series: Option<Vec<Series>> = serde_json::from_slice(body)?;
    let series = series.unwrap_or_default();
    let first = series.first().and_then(|series| series.datapoints.first());
    let value = first.and_then(|point| point.first().copied().flatten());
    Ok(match value {
        Some(value) if 0.0 <= value => {
            format!("{:.2}", value / Duration::from_secs(interval.as_secs().max(1)).as_secs_f64())
        }
        _ => "N/A".to_owned(),
    })
}

async fn ask(admin: &Admin, url: &str, request_timeout: Duration) -> Result<Vec<u8>, String> {
    let request = admin
        .outside
        .get(url)
        .header("Accept", "application/vnd.nsq; version=1.0")
        .timeout(request_timeout);
    let mut response = request.send().await.map_err(|error| root_cause(&error))?;
    let status = response.status();
    let body = read_body(&mut response).await?;
    if status != reqwest::StatusCode::OK {
        return Err(format!("got response {status} {:?}", String::from_utf8_lossy(&body)));
    }
    Ok(body)
}

async fn read_body(response: &mut reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| root_cause(&error))? {
        if ANSWER_BYTES_MAX < body.len() + piece.len() {
            return Err(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Headers that are about one connection, or that we write ourselves.
const OF_A_CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
];

/// Headers of graphite's that would hold for all of nsqadmin.
const OF_AN_ORIGIN: [&str; 3] = ["set-cookie", "clear-site-data", "strict-transport-security"];

/// What is said of every answer that is passed on: its content type is what it says, and as a page of its
/// own it may run and load nothing. Pictures in a page, and data that a program reads, are as before.
const SAFETY: [(&str, &str); 4] = [
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    ("Referrer-Policy", "same-origin"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
];

/// `GET /render`, passed on.
pub(super) async fn proxy(admin: &Admin, request: &Request) -> Answer {
    match pass_on(admin, request).await {
        Ok(foreign) => Answer::Foreign(foreign),
        Err(reason) => {
            warn!("http: proxy error: {reason}");
            let response = Response::text("").with_status(Status::BadGateway);
            Answer::Own { response, is_logged: false }
        }
    }
}

async fn pass_on(admin: &Admin, request: &Request) -> Result<Foreign, String> {
    let options = admin.options();
    let mut url = format!("{}/render", options.graphite_url.trim_end_matches('/'));
    if !request.head.raw_query.is_empty() {
        url = format!("{url}?{}", request.head.raw_query);
    }
    let mut asked = admin.outside.get(url).timeout(options.http_client_request_timeout);
    for (name, value) in request.headers.iter() {
        let lower = name.to_ascii_lowercase();
        // Graphite has its own name, and its own user.
        let is_ours = ["host", "authorization", "cookie", "x-forwarded-for"].contains(&&*lower);
        if !is_ours && !OF_A_CONNECTION.contains(&&*lower) {
            asked = asked.header(name, value);
        }
    }
    let from = request.peer.ip().to_string();
    let from = match request.headers.get("X-Forwarded-For") {
        Some(before) => format!("{before}, {from}"),
        None => from,
    };
    let sent = asked.header("X-Forwarded-For", from).send().await;
    let mut response = sent.map_err(|error| root_cause(&error))?;
    let is_passed_on = |name: &str| {
        let is_said_by_us = SAFETY.iter().any(|(safety, _)| safety.eq_ignore_ascii_case(name));
        !OF_A_CONNECTION.contains(&name) && !OF_AN_ORIGIN.contains(&name) && !is_said_by_us
    };
    let headers = response.headers().iter();
    let headers = headers.filter(|(name, _)| is_passed_on(name.as_str()));
    let headers =
        headers.map(|(name, value)| (canonical(name.as_str()), value.as_bytes().to_vec()));
    let safety = SAFETY.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()));
    let headers: Vec<_> = headers.chain(safety).collect();
    let status = response.status();
    let body = read_body(&mut response).await?;
    let reason = status.canonical_reason().unwrap_or_default();
    Ok(Foreign { status: status.as_u16(), reason, headers, body })
}

/// The name of a header as Go writes it: `Content-Type`.
fn canonical(name: &str) -> String {
    let pieces = name.split('-').map(|piece| {
        let (first, rest) = piece.split_at(piece.len().min(1));
        first.to_ascii_uppercase() + rest
    });
    pieces.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_logged() {
        for (url, logged) in [
            ("http://ann:word@g:1/render?a@b", "http://g:1/render?a@b"),
            ("http://g/render?a@b", "http://g/render?a@b"),
            ("/render?a@b", "/render?a@b"),
        ] {
            assert_eq!(without_user(url), logged);
        }
    }

    #[test]
    fn a_rate_is_the_first_value_by_second() {
        for (body, rate) in [
            (r#"[{"target":"x","datapoints":[[120.0,1],[3,2]]}]"#, "2.00"),
            (r#"[{"target":"x","datapoints":[[-1,1]]}]"#, "N/A"),
            (r#"[{"target":"x","datapoints":[[null,1]]}]"#, "N/A"),
            (r#"[{"target":"x","datapoints":[]}]"#, "N/A"),
            (r#"[{"target":"x"}]"#, "N/A"),
            ("[]", "N/A"),
            ("null", "N/A"),
        ] {
            assert_eq!(
                read_rate(body.as_bytes(), Duration::from_secs(60)).unwrap(),
                rate,
                "{body}"
            );
        }
        assert!(read_rate(b"no", Duration::from_secs(60)).is_err());
    }
}
