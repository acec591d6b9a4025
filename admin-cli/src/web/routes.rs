//! Which route a request names, and who answers it.
//!
//! Routes of NSQ's nsqadmin, which scripts know, are answered by [`pages`], [`api`](super::api),
//! [`graphite`] and [`config`]. Beyond them there is only what begins with `/api/live/`, which the
//! page uses: see [`live`](super::live) for what is asked and answered there.
//!
//! All of it lies below `--base-path`.

use protocol::http::request::{Head, Method};
use protocol::http::response::{Response, Status};
use protocol::http::route::{Routed, Table};

use super::api::{change, refused, show};
use super::live::{answers as live, peek};
use super::notifications::{Notification, Occasion, Subject};
use super::server::{Answer, Answers, Request, is_logged, unix_seconds};
use super::{Admin, access, config, graphite, pages};

/// What can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Page,
    Ping,
    Asset,
    AssetOfPages,
    Render,
    Topics,
    Topic,
    Channel,
    Nodes,
    Node,
    Counter,
    Graphite,
    Create,
    ActOnTopic,
    ActOnChannel,
    DeleteTopic,
    DeleteChannel,
    Tombstone,
    Config,
    ChangeConfig,
    LiveSummary,
    LiveTopics,
    LiveChannels,
    LiveNodes,
    LiveTopic,
    LiveChannel,
    Peek,
}

impl Route {
    /// Whether a page asks for it every few seconds, which is not worth a log line.
    fn is_live(self) -> bool {
        matches!(
            self,
            Self::LiveSummary
                | Self::LiveTopics
                | Self::LiveChannels
                | Self::LiveNodes
                | Self::LiveTopic
                | Self::LiveChannel
        )
    }
}

const ROUTES: &[(Method, &str, Route)] = &[
    (Method::Get, "/", Route::Page),
    (Method::Get, "/ping", Route::Ping),
    (Method::Get, "/topics", Route::Page),
    (Method::Get, "/topics/:topic", Route::Page),
    (Method::Get, "/topics/:topic/:channel", Route::Page),
    (Method::Get, "/nodes", Route::Page),
    (Method::Get, "/nodes/:node", Route::Page),
    (Method::Get, "/counter", Route::Page),
    (Method::Get, "/lookup", Route::Page),
    (Method::Get, "/static/:asset", Route::Asset),
    (Method::Get, "/static/pages/:asset", Route::AssetOfPages),
    (Method::Get, "/fonts/:asset", Route::Asset),
    (Method::Get, "/api/topics", Route::Topics),
    (Method::Get, "/api/topics/:topic", Route::Topic),
    (Method::Get, "/api/topics/:topic/:channel", Route::Channel),
    (Method::Get, "/api/nodes", Route::Nodes),
    (Method::Get, "/api/nodes/:node", Route::Node),
    (Method::Post, "/api/topics", Route::Create),
    (Method::Post, "/api/topics/:topic", Route::ActOnTopic),
    (Method::Post, "/api/topics/:topic/:channel", Route::ActOnChannel),
    (Method::Delete, "/api/nodes/:node", Route::Tombstone),
    (Method::Delete, "/api/topics/:topic", Route::DeleteTopic),
    (Method::Delete, "/api/topics/:topic/:channel", Route::DeleteChannel),
    (Method::Get, "/api/counter", Route::Counter),
    (Method::Get, "/api/graphite", Route::Graphite),
    (Method::Get, "/config/:opt", Route::Config),
    (Method::Put, "/config/:opt", Route::ChangeConfig),
    (Method::Get, "/api/live/summary", Route::LiveSummary),
    (Method::Get, "/api/live/topics", Route::LiveTopics),
    (Method::Get, "/api/live/channels", Route::LiveChannels),
    (Method::Get, "/api/live/nodes", Route::LiveNodes),
    (Method::Get, "/api/live/topics/:topic", Route::LiveTopic),
    (Method::Get, "/api/live/topics/:topic/:channel", Route::LiveChannel),
    (Method::Get, "/api/live/peek/:topic", Route::Peek),
];

/// The routes below `base`, which begins with `/` and ends with none unless it is all. The table lives
/// as long as the process, which makes one.
pub(super) fn below(base: &str, with_render: bool) -> Table<Route> {
    let base = base.trim_end_matches('/');
    let render = with_render.then_some((Method::Get, "/render", Route::Render));
    let routes = ROUTES.iter().cloned().chain(render).map(|(method, path, route)| {
        let path = match path {
            "/" if !base.is_empty() => base.to_owned(),
            path => format!("{base}{path}"),
        };
        let path: &'static str = path.leak();
        (method, path, route)
    });
    Table::new(routes.collect::<Vec<_>>().leak())
}

impl Answers for Admin {
    fn wants_body(&self, head: &Head) -> bool {
        matches!(head.method, Method::Post | Method::Delete | Method::Put)
    }

    async fn answer(&self, request: Request) -> Answer {
        let (route, parameter) = match self.routes.route(&request.head) {
            Routed::Found(route, parameter) => (route, parameter.unwrap_or_default()),
            Routed::Respond(response) => {
                let is_logged = is_logged(&request.head, &response);
                return Answer::Own { response: pages::hardened(response), is_logged };
            }
        };
        if route == Route::Render {
            return graphite::proxy(self, &request).await;
        }
        let response = respond(self, route, &parameter, &request).await;
        let response = pages::hardened(response.unwrap_or_else(|refusal| refusal));
        Answer::Own { response, is_logged: !route.is_live() }
    }
}

/// The answer; the `Err` is one as well.
async fn respond(
    admin: &Admin,
    route: Route,
    parameter: &str,
    request: &Request,
) -> Result<Response, Response> {
    let now = unix_seconds();
    let query = request.head.raw_query.as_str();
    let topic_and_channel = || parameter.split_once('/').unwrap_or((parameter, ""));
    let topic = Subject::topic(parameter);
    let channel = || {
        let (topic, channel) = topic_and_channel();
        Subject::channel(topic, channel)
    };
    let is_administrator = || access::is_administrator(&admin.options(), &request.headers);
    let cluster = admin.cluster();
    let order = match route {
        Route::Page => return Ok(pages::shell(admin, request)),
        Route::Ping => return Ok(Response::text("OK")),
        Route::Asset => return pages::asset(admin, parameter, &request.head),
        Route::AssetOfPages => {
            return pages::asset(admin, &format!("pages/{parameter}"), &request.head);
        }
        Route::Topics => return show::topics(&cluster, query).await,
        Route::Topic => return show::topic(&cluster, parameter, now).await,
        Route::Channel => {
            let (topic, channel) = topic_and_channel();
            return show::channel(&cluster, topic, channel, now).await;
        }
        Route::Nodes => return show::nodes(&cluster).await,
        Route::Node => return show::node(&cluster, parameter, now).await,
        Route::Counter => return show::counter(&cluster, now).await,
        Route::Graphite => return graphite::rate(admin, query).await,
        Route::Config => return config::show(admin, parameter, request.peer),
        Route::ChangeConfig => {
            refuse_foreign(request)?;
            return config::change(admin, parameter, request.peer, request.body.as_deref());
        }
        Route::LiveSummary => return live::summary(admin, query).await,
        Route::LiveTopics => return live::topics(admin, query).await,
        Route::LiveChannels => return live::channels(admin, query).await,
        Route::LiveNodes => return live::nodes(admin, query).await,
        Route::LiveTopic => return live::topic(admin, parameter, query).await,
        Route::LiveChannel => {
            let (topic, channel) = topic_and_channel();
            return live::channel(admin, topic, channel, query).await;
        }
        // What messages hold is not for everybody.
        Route::Peek if !is_administrator() => return Err(forbidden()),
        Route::Peek => return peek::peek(admin, parameter, query).await,
        Route::Create
        | Route::ActOnTopic
        | Route::ActOnChannel
        | Route::DeleteTopic
        | Route::DeleteChannel
        | Route::Tombstone => route,
        // Answered before.
        Route::Render => return Err(refused(Status::NotFound, "NOT_FOUND")),
    };
    if !is_administrator() {
        return Err(forbidden());
    }
    refuse_foreign(request)?;
    let Some(body) = request.body.as_deref() else {
        return Err(refused(Status::RequestEntityTooLarge, "INVALID_BODY"));
    };
    let outcome = match order {
        Route::Create => change::create(&cluster, body).await,
        Route::ActOnTopic => change::act(&cluster, topic, body).await,
        Route::ActOnChannel => change::act(&cluster, channel(), body).await,
        Route::DeleteTopic => change::delete(&cluster, topic).await,
        Route::DeleteChannel => change::delete(&cluster, channel()).await,
        _ => change::tombstone(&cluster, parameter, body).await,
    };
    let change::Outcome { response, told } = outcome;
    if admin.notifier.is_wanted() {
        let occasion = Occasion {
            headers: &request.headers,
            path: &request.head.path,
            raw_query: query,
            peer: request.peer,
            unix_seconds: unix_seconds(),
        };
        for (action, subject) in told {
            admin.notifier.send(Notification::new(action, subject, &occasion, &admin.hostname));
        }
    }
    Ok(response)
}

/// 403 for an order from a page of another site.
fn refuse_foreign(request: &Request) -> Result<(), Response> {
    match access::is_from_elsewhere(&request.headers) {
        true => Err(forbidden()),
        false => Ok(()),
    }
}

fn forbidden() -> Response {
    refused(Status::Forbidden, "FORBIDDEN")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::http::request::parse_head;

    fn route(base: &str, method: &str, target: &str) -> Result<(Route, Option<String>), u16> {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        match below(base, false).route(&parse_head(head.as_bytes()).unwrap().unwrap().0) {
            Routed::Found(route, parameter) => Ok((route, parameter)),
            Routed::Respond(response) => Err(response.status.code()),
        }
    }

    #[test]
    fn routes_lie_below_the_base_path() {
        for (base, method, target, found) in [
            ("/", "GET", "/", Ok((Route::Page, None))),
            ("/", "GET", "/topics/t/c", Ok((Route::Page, Some("t/c".to_owned())))),
            ("/", "GET", "/api/topics/t/peek", Ok((Route::Channel, Some("t/peek".to_owned())))),
            ("/", "GET", "/api/live/peek/t", Ok((Route::Peek, Some("t".to_owned())))),
            ("/", "GET", "/render", Err(404)),
            ("/", "HEAD", "/", Err(405)),
            ("/admin", "GET", "/admin", Ok((Route::Page, None))),
            ("/admin", "GET", "/admin/", Err(301)),
            ("/admin", "GET", "/admin/api/nodes", Ok((Route::Nodes, None))),
            ("/admin", "GET", "/api/nodes", Err(404)),
            ("/admin", "GET", "/", Err(404)),
            ("/a/b", "DELETE", "/a/b/api/topics/t", Ok((Route::DeleteTopic, Some("t".to_owned())))),
        ] {
            assert_eq!(route(base, method, target), found, "{base} {method} {target}");
        }
    }
}
