//! Which route a request names, and what it gets when it names none.
//!
//! Rule (NSQ behaviour), in this order: an exact path of the right method is found; a path that
//! would fit this method with or without a trailing slash, in other case, or without doubled
//! slashes and dots, is redirected there (301 for `GET`, 307 otherwise); `OPTIONS` on a known path
//! tells what is allowed there; a known path with another method is 405; all else is 404.
//!
//! Does not know: what the routes do.

use super::percent;
use super::request::{Head, Method};
use super::response::{Response, Status};

/// All routes of a server. Each path is spelled out, or has parameters, each a whole piece between
/// two slashes: `/config/:opt`.
#[derive(Debug)]
pub struct Table<R: 'static> {
    routes: &'static [(Method, &'static str, R)],
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Routed<R> {
    /// This route, with its path parameter if it has one; several are joined by `/`, which no
    /// parameter contains.
    Found(R, Option<String>),
    /// No route; this is the answer.
    Respond(Response),
}

impl<R: Copy> Table<R> {
    /// A table of these routes.
    pub const fn new(routes: &'static [(Method, &'static str, R)]) -> Self {
        Self { routes }
    }

    /// Finds the route a request names.
    pub fn route(&self, head: &Head) -> Routed<R> {
        let path = head.path.as_str();
        for (_, pattern, route) in self.of_method(&head.method) {
            if let Some(parameter) = match_path(pattern, path) {
                return Routed::Found(*route, parameter);
            }
        }
        Routed::Respond(self.answer_without_route(head))
    }

    fn answer_without_route(&self, head: &Head) -> Response {
        if let Some(path) = self.redirected_path(head) {
            let mut location = percent::encode_path(&path);
            if !head.raw_query.is_empty() {
                location.push('?');
                location.push_str(&head.raw_query);
            }
            return match head.method {
                Method::Get => Response::moved_permanently(location),
                _ => Response::temporary_redirect(location),
            };
        }
        if head.path == "*" && head.method == Method::Options {
            return Response::options_of_everything();
        }
        match (self.allowed(head), &head.method) {
            (Some(allow), Method::Options) => Response::options(allow),
            (Some(allow), _) => Response::method_not_allowed(allow),
            (None, _) => Response::error(Status::NotFound, "NOT_FOUND"),
        }
    }

    fn of_method(&self, method: &Method) -> impl Iterator<Item = &(Method, &'static str, R)> {
        self.routes.iter().filter(move |(offered, _, _)| offered == method)
    }

    /// The path as a route of this method spells it, when it was only spelled differently.
    fn redirected_path(&self, head: &Head) -> Option<String> {
        let path = head.path.as_str();
        if path == "/" || !path.starts_with('/') {
            return None;
        }
        let toggled = toggle_trailing_slash(path);
        let fits = |(_, pattern, _): &(Method, &str, R)| match_path(pattern, &toggled).is_some();
        if self.of_method(&head.method).any(fits) {
            return Some(toggled);
        }
        let clean = clean_path(path);
        let candidates = [clean.clone(), toggle_trailing_slash(&clean)];
        candidates.iter().find_map(|candidate| {
            self.of_method(&head.method).find_map(|(_, pattern, _)| spelling(pattern, candidate))
        })
    }

    /// The `Allow` header for a known path; `None` when no method knows it.
    fn allowed(&self, head: &Head) -> Option<String> {
        let everywhere = head.path == "*";
        let mut methods: Vec<&str> = self
            .routes
            .iter()
            .filter(|(_, pattern, _)| everywhere || match_path(pattern, &head.path).is_some())
            .map(|(method, _, _)| method.as_str())
            .collect();
        if methods.is_empty() {
            return None;
        }
        methods.push(Method::Options.as_str());
        methods.sort_unstable();
        methods.dedup();
        Some(methods.join(", "))
    }
}

/// The parameters' values if `path` is what `pattern` says; the inner `None` is a pattern without.
fn match_path(pattern: &str, path: &str) -> Option<Option<String>> {
    if !pattern.contains(':') {
        return (pattern == path).then_some(None);
    }
    let pieces = pair_pieces(pattern, path)?;
    let fits = |&(wanted, given): &(&str, &str)| wanted.starts_with(':') || wanted == given;
    if !pieces.iter().all(fits) {
        return None;
    }
    let values = pieces.into_iter().filter(|(wanted, _)| wanted.starts_with(':'));
    let values: Vec<&str> = values.map(|(_, value)| value).collect();
    Some(Some(values.join("/")))
}

/// The pattern's own spelling of `path`, if they differ in nothing but case.
fn spelling(pattern: &str, path: &str) -> Option<String> {
    let mut spelled = Vec::new();
    for (wanted, given) in pair_pieces(pattern, path)? {
        spelled.push(match wanted.starts_with(':') {
            true => given,
            false if wanted.eq_ignore_ascii_case(given) => wanted,
            false => return None,
        });
    }
    Some(spelled.join("/"))
}

/// What stands between the slashes of a pattern and of a path, side by side; `None` when there are
/// not as many pieces, or nothing stands where a parameter should.
fn pair_pieces<'a>(pattern: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let count = |text: &str| text.bytes().filter(|&byte| byte == b'/').count();
    if count(pattern) != count(path) {
        return None;
    }
    let pieces = pattern.split('/').zip(path.split('/'));
    let is_filled = |(wanted, given): (&str, &str)| !wanted.starts_with(':') || !given.is_empty();
    pieces.clone().all(is_filled).then(|| pieces.collect())
}

fn toggle_trailing_slash(path: &str) -> String {
    path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned)
}

/// The path without doubled slashes, `.` and `..`; a trailing slash stays.
fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    let trailing = path.ends_with('/') || path.ends_with("/.");
    let slash = if trailing && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::request::parse_head;
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Route {
        Ping,
        Create,
        Read,
        Write,
        Index,
        Channel,
    }

    const TABLE: Table<Route> = Table::new(&[
        (Method::Get, "/ping", Route::Ping),
        (Method::Post, "/topic/create", Route::Create),
        (Method::Get, "/config/:opt", Route::Read),
        (Method::Put, "/config/:opt", Route::Write),
        (Method::Get, "/debug/pprof/", Route::Index),
        (Method::Get, "/api/topics/:topic/:channel", Route::Channel),
    ]);

    fn route(method: &str, target: &str) -> Routed<Route> {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        TABLE.route(&parse_head(head.as_bytes()).unwrap().unwrap().0)
    }

    #[test]
    fn a_route_is_found_by_method_and_path() {
        for (method, target, found, parameter) in [
            ("GET", "/ping", Route::Ping, None),
            ("GET", "/ping?x=y", Route::Ping, None),
            ("GET", "/%70ing", Route::Ping, None),
            ("POST", "/topic/create?topic=t", Route::Create, None),
            ("GET", "/config/log_level", Route::Read, Some("log_level")),
            ("PUT", "/config/a%20b", Route::Write, Some("a b")),
            ("GET", "/debug/pprof/", Route::Index, None),
            ("GET", "/api/topics/t/c%23ephemeral", Route::Channel, Some("t/c#ephemeral")),
        ] {
            let expected = Routed::Found(found, parameter.map(str::to_owned));
            assert_eq!(route(method, target), expected, "{method} {target}");
        }
    }

    #[test]
    fn other_spellings_are_redirected_within_the_method() {
        for (method, target, location) in [
            ("GET", "/ping/", "/ping"),
            ("GET", "/PING?a=b", "/ping?a=b"),
            ("GET", "//ping", "/ping"),
            ("GET", "/Ping/", "/ping"),
            ("GET", "/x/../ping", "/ping"),
            ("GET", "/./debug/pprof", "/debug/pprof/"),
            ("GET", "/config/id/", "/config/id"),
            ("GET", "/CONFIG/Id", "/config/Id"),
            ("POST", "/topic/create/?topic=t", "/topic/create?topic=t"),
            ("POST", "/Topic/Create", "/topic/create"),
        ] {
            let location = location.to_owned();
            let response = match method {
                "GET" => Response::moved_permanently(location),
                _ => Response::temporary_redirect(location),
            };
            assert_eq!(route(method, target), Routed::Respond(response), "{method} {target}");
        }
    }

    #[test]
    fn a_known_path_with_another_method_says_what_is_allowed() {
        for (method, target, allow) in [
            ("POST", "/ping", "GET, OPTIONS"),
            ("HEAD", "/ping", "GET, OPTIONS"),
            ("BREW", "/ping", "GET, OPTIONS"),
            ("GET", "/topic/create", "OPTIONS, POST"),
            ("POST", "/config/id", "GET, OPTIONS, PUT"),
        ] {
            let response = Response::method_not_allowed(allow.to_owned());
            assert_eq!(route(method, target), Routed::Respond(response), "{method} {target}");
        }
        let options = Response::options("GET, OPTIONS, PUT".to_owned());
        assert_eq!(route("OPTIONS", "/config/id"), Routed::Respond(options));
        let everywhere = Response::options_of_everything();
        assert_eq!(route("OPTIONS", "*"), Routed::Respond(everywhere));
        let everything = Response::method_not_allowed("GET, OPTIONS, POST, PUT".to_owned());
        assert_eq!(route("GET", "*"), Routed::Respond(everything));
    }

    #[test]
    fn an_unknown_path_is_not_found() {
        for (method, target) in [
            ("GET", "/"),
            ("GET", "/nothing"),
            ("GET", "/config/"),
            ("GET", "/config"),
            ("GET", "/config/a/b"),
            ("POST", "/PING"),
            ("OPTIONS", "/nothing"),
            ("GET", "/pinge\u{301}"),
        ] {
            let response = Response::error(Status::NotFound, "NOT_FOUND");
            assert_eq!(route(method, target), Routed::Respond(response), "{method} {target}");
        }
    }
}
