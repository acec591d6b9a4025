//! HTTP/1.1 as NSQ's programs speak it: heads, bodies and answers, byte by byte.
//!
//! Knows: how a request is cut from bytes, how a query is read, which route a path names, and in
//! which order an answer's headers stand; and how a request of ours is written and its answer read.
//! Does not know: sockets, clocks (the date is an argument), TLS, or what any route does. The broker
//! and the discovery daemon serve through it on different runtimes and so answer alike.
//!
//! ```
//! use protocol::http::body::BodyReader;
//! use protocol::http::request::{Method, parse_head};
//! use protocol::http::response::Response;
//! use protocol::http::route::{Routed, Table};
//!
//! #[derive(Clone, Copy)]
//! enum Route {
//!     Ping,
//! }
//! const ROUTES: Table<Route> = Table::new(&[(Method::Get, "/ping", Route::Ping)]);
//!
//! let input = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n";
//! let (head, head_bytes) = parse_head(input).expect("well formed").expect("complete");
//! let body = BodyReader::new(head.body, 1 << 20).expect("an absent body is not too big");
//! assert!(body.is_complete() && head_bytes == input.len());
//! let response = match ROUTES.route(&head) {
//!     Routed::Found(Route::Ping, _) => Response::text("OK"),
//!     Routed::Respond(response) => response,
//! };
//! let mut output = Vec::new();
//! response.encode(&mut output, "Thu, 01 Jan 1970 00:00:00 GMT", head.exchange());
//! assert!(output.ends_with(b"\r\n\r\nOK"));
//! ```

pub mod body;
pub mod client;
pub mod date;
pub mod headers;
pub mod percent;
pub mod query;
pub mod request;
pub mod response;
pub mod route;
pub mod url;
