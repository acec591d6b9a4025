//! Asks authorization servers what a client may do.
//!
//! Knows: which server is asked, how, and what counts as no answer. What follows from an answer is
//! [`crate::command::authorize`]'s.
//!
//! Rules (NSQ behaviour): one server after another is asked, starting anywhere in the list, until
//! one gives an answer that can be used. The secret stands in the query, so no address is logged
//! with it.

use super::Shard;
use crate::command::authorize::{Reason, answered};
use crate::config::{AuthMethod, AuthServers};
use crate::connection::authorization::check_expressions;
use crate::connection::layers::Layers;
use crate::disk;
use crate::http::client::Patience;
use crate::keys::ConnectionKey;
use crate::limits::AUTH_ANSWER_BYTES_MAX;
use protocol::authorization::{Grants, Question};
use protocol::http::client::{Answer, Request};
use protocol::http::url::Url;
use serde_json::Value;
use std::io;
use std::rc::Rc;

impl Shard {
    /// Asks what the client of a connection may do, and lets it know, or refuses it.
    pub async fn authorize(self: &Rc<Self>, key: ConnectionKey, reason: Reason) {
        let (secret, remote_ip, common_name, start) = {
            let mut state = self.state.borrow_mut();
            let start = state.any_number();
            let Some(connection) = state.connections.get(key) else { return };
            let Some(secret) = connection.session.authorization.secret() else { return };
            let layers = connection.layers.as_deref().filter(|there| there.tls_facts().is_some());
            let common_name = layers.map(Layers::common_name);
            (secret.clone(), connection.session.peer.host(), common_name, start)
        };
        let question = Question {
            secret: &secret,
            remote_ip: &remote_ip,
            tls: common_name.is_some(),
            common_name: common_name.as_deref().unwrap_or_default(),
        };
        let outcome = self.ask_any(&question, start).await;
        let now = self.clock.now();
        answered(&mut self.state.borrow_mut(), key, reason, outcome, now);
        self.turn.wake();
    }

    /// The answer of the first server that gives one; the one at `start` is asked first.
    async fn ask_any(&self, question: &Question<'_>, start: u64) -> Result<Grants, String> {
        let Some(servers) = &self.config.auth else {
            return Err("no authorization server is configured".to_owned());
        };
        let mut failures = Vec::new();
        let count = servers.addresses.len();
        let start = usize::try_from(start % count.max(1) as u64).unwrap_or(0);
        for at in (start..count).chain(0..start) {
            // What cannot be read is not shown: it may hold a password.
            let (server, outcome) = match server_url(&servers.addresses[at]) {
                Ok(url) => (url.to_string(), self.ask_one(url, servers, question).await),
                Err(error) => (format!("--auth-http-address {}", at + 1), Err(error)),
            };
            match outcome {
                Ok(grants) => return Ok(grants),
                Err(failure) => {
                    failures.push(format!("failed to auth against {server} - {failure}"));
                }
            }
        }
        Err(failures.join("; "))
    }

    async fn ask_one(
        &self,
        url: Url,
        servers: &AuthServers,
        question: &Question<'_>,
    ) -> Result<Grants, String> {
        let request = match servers.method {
            AuthMethod::Get => Request::get(url.with_query(&question.query())),
            AuthMethod::Post => Request::post(url, "application/json", question.json()),
        };
        let request = request.with_header("Accept", "application/vnd.nsq; version=1.0");
        let patience = Patience {
            connect: self.config.http_client_connect_timeout,
            whole: self.config.http_client_request_timeout,
        };
        let ask = |request| self.http_client.ask(request, patience, AUTH_ANSWER_BYTES_MAX);
        let asked = ask(request.clone()).await;
        let mut answer = asked.map_err(|failure| failure.to_string())?;
        if let Some(port) = https_port(&answer)
            && !request.url.is_https
        {
            let request = Request { url: request.url.over_tls(port), ..request };
            answer = ask(request).await.map_err(|failure| failure.to_string())?;
        }
        if answer.status != 200 {
            // The body is left out: a server may repeat the secret in it.
            return Err(format!("got response {} {}", answer.status, answer.reason));
        }
        let grants = Grants::parse(&answer.body)?;
        // Many expressions take longer than the other clients of this core should wait.
        let checked = disk::blocking(move || {
            check_expressions(&grants).map(|()| grants).map_err(io::Error::other)
        });
        checked.await.map_err(|error| error.to_string())
    }
}

/// Where a server wants to be asked over TLS, if it says so as NSQ's own servers do (NSQ behaviour).
fn https_port(answer: &Answer) -> Option<u16> {
    if answer.status != 403 {
        return None;
    }
    let hint: Value = serde_json::from_slice(&answer.body).ok()?;
    u16::try_from(hint.get("https_port")?.as_u64()?).ok().filter(|&port| port != 0)
}

/// Where a server is asked: what is no URL yet is a host, and a port.
fn server_url(server: &str) -> Result<Url, String> {
    let url = if server.contains("://") {
        Url::parse(server)
    } else {
        Url::parse(&format!("http://{server}/auth"))
    };
    url.map_err(|error| error.to_string())
}
