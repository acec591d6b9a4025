//! Telling an HTTP endpoint of what administrators did.
//!
//! Rule (NSQ behaviour): a POST of JSON for each order, one after another, after the order. A request
//! is never held up by it. Where NSQ's process ends when the endpoint cannot be reached, here a log
//! line is all. Who ends the process in order waits for what waits to be sent, as long as one request may
//! take.
//!
//! Bounds: [`WAITING_MAX`] notifications wait, and what comes beyond is only logged.

use std::net::SocketAddr;
use std::time::Duration;

use protocol::http::headers::Headers;
use protocol::json::to_go_json;
use reqwest::Client;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{error, info};

use crate::cluster::root_cause;

/// How many notifications wait for an endpoint that is slow. Each is a few hundred bytes, and at most
/// as large as the head of a request.
const WAITING_MAX: usize = 1000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    CreateTopic,
    CreateChannel,
    DeleteTopic,
    DeleteChannel,
    EmptyTopic,
    EmptyChannel,
    PauseTopic,
    PauseChannel,
    UnpauseTopic,
    UnpauseChannel,
    TombstoneTopicProducer,
}

/// To what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) topic: String,
    pub(super) channel: Option<String>,
    /// The nsqd that was hidden.
    pub(super) node: Option<String>,
}

impl Subject {
    pub(super) fn topic(topic: &str) -> Self {
        Self { topic: topic.to_owned(), channel: None, node: None }
    }

    pub(super) fn channel(topic: &str, channel: &str) -> Self {
        Self { channel: Some(channel.to_owned()), ..Self::topic(topic) }
    }
}

/// The body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Notification {
    action: Action,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// In seconds since 1970.
    timestamp: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    remote_ip: String,
    user_agent: String,
    url: String,
    /// The machine that nsqadmin runs on.
    via: String,
}

/// The request that had it done.
pub(super) struct Occasion<'a> {
    pub(super) headers: &'a Headers,
    pub(super) path: &'a str,
    pub(super) raw_query: &'a str,
    pub(super) peer: SocketAddr,
    pub(super) unix_seconds: i64,
}

impl Notification {
    pub(super) fn new(
        action: Action,
        subject: Subject,
        occasion: &Occasion<'_>,
        via: &str,
    ) -> Self {
        let Occasion { headers, path, raw_query, peer, unix_seconds } = *occasion;
        let of = |name: &str| headers.get(name).unwrap_or_default();
        let scheme = if of("X-Scheme") == "https" { "https" } else { "http" };
        let path = protocol::http::percent::encode_path(path);
        let mut url = format!("{scheme}://{}{path}", of("Host"));
        if !raw_query.is_empty() {
            url = format!("{url}?{raw_query}");
        }
        let Subject { topic, channel, node } = subject;
        Self {
            action,
            topic,
            channel,
            node,
            timestamp: unix_seconds,
            user: basic_user(of("Authorization")).unwrap_or_default(),
            remote_ip: peer.to_string(),
            user_agent: of("User-Agent").to_owned(),
            url,
            via: via.to_owned(),
        }
    }
}

/// Who a header with HTTP's basic authentication names.
fn basic_user(authorization: &str) -> Option<String> {
    let encoded = authorization.strip_prefix("Basic ")?;
    let decoded = protocol::base64::decode(encoded)?;
    let decoded = String::from_utf8_lossy(&decoded).into_owned();
    decoded.split_once(':').map(|(user, _)| user.to_owned())
}

/// What the task that sends is told.
enum Errand {
    Send(Notification),
    /// Say when all that came before is sent.
    Say(oneshot::Sender<()>),
}

/// Sends notifications, or none when there is no endpoint.
pub(super) struct Notifier {
    errands: Option<mpsc::Sender<Errand>>,
    request_timeout: Duration,
}

impl Notifier {
    /// Starts a task that sends to `endpoint`; none for an empty one.
    pub(super) fn start(endpoint: &str, client: Client, request_timeout: Duration) -> Self {
        if endpoint.is_empty() {
            return Self { errands: None, request_timeout };
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let endpoint = endpoint.to_owned();
        tokio::task::spawn_local(send_all(receiver, endpoint, client, request_timeout));
        Self { errands: Some(sender), request_timeout }
    }

    /// Whether anybody wants to know.
    pub(super) fn is_wanted(&self) -> bool {
        self.errands.is_some()
    }

    /// Has it sent, after those that wait.
    pub(super) fn send(&self, notification: Notification) {
        let Some(errands) = &self.errands else { return };
        if let Err(refused) = errands.try_send(Errand::Send(notification))
            && let Errand::Send(lost) = refused.into_inner()
        {
            let lost = to_go_json(&lost);
            error!("{WAITING_MAX} notifications wait; this one is not sent - {lost}");
        }
    }

    /// Waits until all is sent, as long as one request may take.
    pub(super) async fn finish(&self) {
        let Some(errands) = &self.errands else { return };
        let sent = async {
            let (said, all_sent) = oneshot::channel();
            // Nothing waits where nobody takes it any more.
            if errands.send(Errand::Say(said)).await.is_ok() {
                all_sent.await.ok();
            }
        };
        if timeout(self.request_timeout, sent).await.is_err() {
            error!("not all notifications were sent: the endpoint does not answer");
        }
    }
}

async fn send_all(
    mut waiting: mpsc::Receiver<Errand>,
    endpoint: String,
    client: Client,
    request_timeout: Duration,
) {
    while let Some(errand) = waiting.recv().await {
        let notification = match errand {
            Errand::Send(notification) => notification,
            Errand::Say(said) => {
                // Who asked may have given up.
                said.send(()).ok();
                continue;
            }
        };
        info!("POSTing notification to {endpoint}");
        let request = client
            .post(&endpoint)
            .header("Content-Type", "application/json")
            .timeout(request_timeout)
            .body(to_go_json(&notification));
        // What the endpoint answers means nothing (NSQ behaviour).
        if let Err(error) = request.send().await {
            error!("failed to POST notification - {}", root_cause(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_has_nsqs_keys() {
        let head = "POST /api/topics/t/c%20d?x=y HTTP/1.1\r\nHost: admin:4171\r\nX-Scheme: https\r\n\
                    Authorization: Basic Ym9iOnNlY3JldA==\r\nUser-Agent: UA\r\n\r\n";
        let headers = Headers::of(head.as_bytes());
        let occasion = Occasion {
            headers: &headers,
            path: "/api/topics/t/c d",
            raw_query: "x=y",
            peer: "127.0.0.1:42216".parse().unwrap(),
            unix_seconds: 1_795_352_755,
        };
        let subject = Subject::channel("t", "c d");
        let notification = Notification::new(Action::UnpauseChannel, subject, &occasion, "vm");
        assert_eq!(
            to_go_json(&notification),
            r#"{"action":"unpause_channel","topic":"t","channel":"c d","timestamp":1795352755,"user":"bob","remote_ip":"127.0.0.1:42216","user_agent":"UA","url":"https://admin:4171/api/topics/t/c%20d?x=y","via":"vm"}"#
        );
    }

    #[test]
    fn only_basic_authentication_names_a_user() {
        for (authorization, user) in [
            ("Basic Ym9iOnNlY3JldA==", Some("bob")),
            ("Basic Ym9i", None),
            ("Basic !!!!", None),
            ("Bearer Ym9iOnNlY3JldA==", None),
            ("basic Ym9iOnNlY3JldA==", None),
            ("", None),
        ] {
            assert_eq!(basic_user(authorization).as_deref(), user, "{authorization}");
        }
    }
}
