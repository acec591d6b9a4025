//! The paths that are served, and what each of them is.

use protocol::http::request::Method::{Get, Post, Put};
use protocol::http::route::Table;
use startup::debug::Page;

/// What a request can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Whether all is well.
    Ping,
    /// Who this broker is.
    Info,
    /// What it counts.
    Stats,
    /// Whether it lives.
    Live,
    /// Whether clients should come.
    Ready,
    /// What it counts and measures, for Prometheus.
    Metrics,
    /// Take nothing new, and end when all is delivered.
    Drain,
    /// How far that came.
    DrainProgress,
    /// How it was started: one option.
    Option,
    /// The same, to be another from now on.
    SetOption,
    /// What the process knows of itself.
    Debug(Page),
    /// How often Go's runtime looks at waits for locks.
    SetBlockRate,
    /// Has Go's runtime collect its garbage.
    FreeMemory,
    /// One message.
    Publish,
    /// Several messages.
    PublishMany,
    /// The newest messages of a topic.
    Peek,
    /// Something about a topic.
    Topic(Verb),
    /// Something about a channel.
    Channel(Verb),
}

/// What an operator can do with a topic or a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Make it, unless it exists.
    Create,
    /// Remove it with all it has.
    Delete,
    /// Drop what it has.
    Empty,
    /// Hold messages back.
    Pause,
    /// Let them go again.
    Unpause,
}

impl Route {
    /// Whether each request is worth a line in the log. Publishes are the traffic itself, and not
    /// (NSQ behaviour); neither is what machines ask for every few seconds.
    pub(super) fn is_logged(self) -> bool {
        !matches!(
            self,
            Self::Publish | Self::PublishMany | Self::Live | Self::Ready | Self::Metrics
        )
    }
}

/// All routes.
pub(super) const ROUTES: Table<Route> = Table::new(&[
    (Get, "/ping", Route::Ping),
    (Get, "/info", Route::Info),
    (Get, "/stats", Route::Stats),
    (Get, "/livez", Route::Live),
    (Get, "/readyz", Route::Ready),
    (Get, "/metrics", Route::Metrics),
    (Post, "/drain", Route::Drain),
    (Get, "/drain", Route::DrainProgress),
    (Get, "/config/:opt", Route::Option),
    (Put, "/config/:opt", Route::SetOption),
    (Get, "/debug/pprof/", Route::Debug(Page::Index)),
    (Get, "/debug/pprof/cmdline", Route::Debug(Page::CommandLine)),
    (Get, "/debug/pprof/symbol", Route::Debug(Page::Symbol)),
    (Post, "/debug/pprof/symbol", Route::Debug(Page::Symbol)),
    (Get, "/debug/pprof/profile", Route::Debug(Page::Profile)),
    (Get, "/debug/pprof/heap", Route::Debug(Page::Heap)),
    (Get, "/debug/pprof/goroutine", Route::Debug(Page::Goroutine)),
    (Get, "/debug/pprof/block", Route::Debug(Page::Block)),
    (Get, "/debug/pprof/threadcreate", Route::Debug(Page::Threads)),
    (Put, "/debug/setblockrate", Route::SetBlockRate),
    (Post, "/debug/freememory", Route::FreeMemory),
    (Post, "/pub", Route::Publish),
    (Post, "/mpub", Route::PublishMany),
    (Get, "/topic/peek", Route::Peek),
    (Post, "/topic/create", Route::Topic(Verb::Create)),
    (Post, "/topic/delete", Route::Topic(Verb::Delete)),
    (Post, "/topic/empty", Route::Topic(Verb::Empty)),
    (Post, "/topic/pause", Route::Topic(Verb::Pause)),
    (Post, "/topic/unpause", Route::Topic(Verb::Unpause)),
    (Post, "/channel/create", Route::Channel(Verb::Create)),
    (Post, "/channel/delete", Route::Channel(Verb::Delete)),
    (Post, "/channel/empty", Route::Channel(Verb::Empty)),
    (Post, "/channel/pause", Route::Channel(Verb::Pause)),
    (Post, "/channel/unpause", Route::Channel(Verb::Unpause)),
]);

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::http::request::parse_head;
    use protocol::http::route::Routed;

    #[test]
    fn a_path_names_its_route_and_what_comes_often_is_not_logged() {
        for (request, route, is_logged) in [
            ("GET /ping", Route::Ping, true),
            ("GET /info", Route::Info, true),
            ("GET /stats", Route::Stats, true),
            ("GET /livez", Route::Live, false),
            ("GET /readyz", Route::Ready, false),
            ("GET /metrics", Route::Metrics, false),
            ("POST /drain", Route::Drain, true),
            ("GET /drain", Route::DrainProgress, true),
            ("POST /pub", Route::Publish, false),
            ("POST /mpub", Route::PublishMany, false),
            ("GET /topic/peek", Route::Peek, true),
            ("POST /topic/create", Route::Topic(Verb::Create), true),
            ("POST /topic/delete", Route::Topic(Verb::Delete), true),
            ("POST /topic/empty", Route::Topic(Verb::Empty), true),
            ("POST /topic/pause", Route::Topic(Verb::Pause), true),
            ("POST /topic/unpause", Route::Topic(Verb::Unpause), true),
            ("POST /channel/create", Route::Channel(Verb::Create), true),
            ("POST /channel/delete", Route::Channel(Verb::Delete), true),
            ("POST /channel/empty", Route::Channel(Verb::Empty), true),
            ("POST /channel/pause", Route::Channel(Verb::Pause), true),
            ("POST /channel/unpause", Route::Channel(Verb::Unpause), true),
        ] {
            let head = format!("{request}?topic=t HTTP/1.1\r\nHost: x\r\n\r\n");
            let (head, _) = parse_head(head.as_bytes()).unwrap().unwrap();
            assert_eq!(ROUTES.route(&head), Routed::Found(route, None), "{request}");
            assert_eq!(route.is_logged(), is_logged, "{request}");
        }
    }
}
