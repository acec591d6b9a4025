//! The paths that are served, and what each of them is.

use protocol::http::request::Method::{Get, Post};
use protocol::http::route::Table;

/// What a request can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Whether all is well.
    Ping,
    /// Who this broker is.
    Info,
    /// What it counts.
    Stats,
    /// One message.
    Publish,
    /// Several messages.
    PublishMany,
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
    /// (NSQ behaviour).
    pub(super) fn is_logged(self) -> bool {
        !matches!(self, Self::Publish | Self::PublishMany)
    }
}

/// All routes.
pub(super) const ROUTES: Table<Route> = Table::new(&[
    (Get, "/ping", Route::Ping),
    (Get, "/info", Route::Info),
    (Get, "/stats", Route::Stats),
    (Post, "/pub", Route::Publish),
    (Post, "/mpub", Route::PublishMany),
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
