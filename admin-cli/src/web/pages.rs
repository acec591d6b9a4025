//! The page, its files, and the headers that keep it safe.
//!
//! Knows: how the one page is filled in, under which content type a file leaves, and what a browser
//! is told not to do. Does not know: what stands in the page and its files, which is
//! [`assets`](super::assets).
//!
//! NSQ sends none of these security headers.

use std::hash::{DefaultHasher, Hash, Hasher};

use protocol::http::request::Head;
use protocol::http::response::{Response, Status};
use protocol::json::to_go_json;
use serde::Serialize;
use startup::version::{NSQ_VERSION, RINGNSQ_VERSION};

use super::assets::{FILES, SHELL};
use super::server::Request;
use super::{Admin, access};

/// What the page is told about where it is and what it may. Stands in it as JSON, in place of
/// `{{settings}}`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
struct Settings<'a> {
    /// The version of NSQ that is stood for.
    version: &'a str,
    ringnsq_version: &'a str,
    /// What stands before every path of ours: empty, or `/admin`.
    base_path: &'a str,
    /// Whether the user may change anything.
    is_admin: bool,
    /// The header that says who the user is.
    acl_http_header: &'a str,
    /// Empty where nsqds are asked directly.
    nsqlookupd: &'a [String],
    /// Whether there is a graphite.
    graph_enabled: bool,
    /// Where it is; empty when it is asked through `/render`.
    graphite_url: &'a str,
    /// In seconds.
    statsd_interval: u64,
    statsd_counter_format: &'a str,
    statsd_gauge_format: &'a str,
    statsd_prefix: &'a str,
}

/// The page, whatever its path: what is shown is up to its script. `{{base}}` in it becomes the base
/// path without a slash at its end.
pub(super) fn shell(admin: &Admin, request: &Request) -> Response {
    let options = admin.options();
    let base = options.base_path.trim_end_matches('/');
    let settings = Settings {
        version: NSQ_VERSION,
        ringnsq_version: RINGNSQ_VERSION,
        base_path: base,
        is_admin: access::is_administrator(&options, &request.headers),
        acl_http_header: &options.acl_http_header,
        nsqlookupd: &options.nsqlookupd_http_addresses,
        graph_enabled: !options.graphite_url.is_empty(),
        graphite_url: if options.proxy_graphite { "" } else { &options.graphite_url },
        statsd_interval: options.statsd_interval.as_secs(),
        statsd_counter_format: &options.statsd_counter_format,
        statsd_gauge_format: &options.statsd_gauge_format,
        statsd_prefix: &options.statsd_prefix,
    };
    // Go's JSON has no `<`, so nothing in it ends the element that it stands in.
    let page = SHELL
        .replace("{{base}}", &in_attribute(base))
        .replace("{{settings}}", &to_go_json(&settings));
    Response::with_content_type("text/html", page)
        .with_header("Content-Security-Policy", policy(settings.graphite_url))
        .with_header("Cache-Control", "no-store")
}

/// What a browser may load for the page: our own files, data of ours, and pictures of a graphite that
/// the user's browser asks itself.
fn policy(graphite_url: &str) -> String {
    let graphite = match graphite_url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            let fits =
                scheme.chars().all(|c| c.is_ascii_alphanumeric()) && host.chars().all(is_host);
            if fits { format!(" {scheme}://{host}") } else { String::new() }
        }
        None => String::new(),
    };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:{graphite}; \
         connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'self'"
    )
}

/// The same answer with what every answer tells a browser.
pub(super) fn hardened(response: Response) -> Response {
    response
        .with_header("Referrer-Policy", "same-origin")
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("X-Frame-Options", "SAMEORIGIN")
}

/// A file of the page's, from the program or from the folder of `--dev-static-dir`.
pub(super) fn asset(admin: &Admin, name: &str, head: &Head) -> Result<Response, Response> {
    let not_found = || Response::text("NOT_FOUND").with_status(Status::NotFound);
    let folder = &admin.options().dev_static_dir;
    let bytes = if folder.is_empty() {
        let file = FILES.iter().find(|(known, _)| *known == name);
        file.map(|(_, bytes)| bytes.to_vec()).ok_or_else(not_found)?
    } else {
        if name.split('/').any(|part| part.starts_with('.')) {
            return Err(not_found());
        }
        #[expect(clippy::disallowed_methods, reason = "only for those who write the page")]
        std::fs::read(std::path::Path::new(folder).join(name)).map_err(|_| not_found())?
    };
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let etag = format!("\"{:016x}\"", hasher.finish());
    let response = if head.has_content(&etag) {
        Response::not_modified(etag)
    } else {
        Response::with_content_type(content_type(name), bytes).with_etag(etag)
    };
    Ok(response.with_header("Cache-Control", "no-cache"))
}

/// By the end of the name.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}

/// A text as the value of an attribute in quotes.
fn in_attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_graphite_that_the_browser_asks_itself_is_allowed_beside_us() {
        for (url, pictures) in [
            ("", "img-src 'self' data:;"),
            ("http://graphite:8080/x?y", "img-src 'self' data: http://graphite:8080;"),
            ("https://ann:word@g/", "img-src 'self' data: https://g;"),
            ("http://a;script-src *", "img-src 'self' data:;"),
        ] {
            assert!(policy(url).contains(pictures), "{url}: {}", policy(url));
        }
    }

    #[test]
    fn nothing_in_a_base_path_ends_an_attribute() {
        assert_eq!(in_attribute("/a\"<b>&"), "/a&#34;&lt;b&gt;&amp;");
    }
}
