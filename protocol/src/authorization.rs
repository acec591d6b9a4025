//! What a broker asks an authorization server, and what that grants.
//!
//! Knows: the query and the body that carry a question, how an answer's JSON is read, and what a
//! client is told of it. Does not know: connections, regular expressions, time.
//!
//! ```text
//! GET  ?common_name=&remote_ip=127.0.0.1&secret=word&tls=false
//! POST {"common_name":[""],"remote_ip":["127.0.0.1"],"secret":["word"],"tls":["false"]}
//!
//! {"ttl":3600,"identity":"ann","identity_url":"http://...","authorizations":[
//!     {"topic":".*","channels":[".*"],"permissions":["subscribe","publish"]}]}
//! ```

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::url::encode_form;
use crate::identify::text_of;
use crate::json::to_go_json;

/// What a client says about itself with AUTH. Shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// The body of an AUTH.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Who wants to know what it may do.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What it says about itself.
    pub secret: &'a Secret,
    /// Its address without the port; empty on a unix socket.
    pub remote_ip: &'a str,
    /// Whether it speaks over TLS.
    pub tls: bool,
    /// The name in its certificate; empty when it has none.
    pub common_name: &'a str,
}

impl Question<'_> {
    /// As what stands behind the `?` of a GET.
    pub fn query(&self) -> String {
        encode_form([
            ("common_name", self.common_name.as_bytes()),
            ("remote_ip", self.remote_ip.as_bytes()),
            ("secret", &self.secret.0),
            ("tls", self.tls_word().as_bytes()),
        ])
    }

    /// As the body of a POST.
    pub fn json(&self) -> Vec<u8> {
        /// Values are lists since those of a query may be many (NSQ behaviour).
        #[derive(Serialize)]
        struct Body<'a> {
            common_name: [&'a str; 1],
            remote_ip: [&'a str; 1],
            secret: [&'a str; 1],
            tls: [&'a str; 1],
        }
        to_go_json(&Body {
            common_name: [self.common_name],
            remote_ip: [self.remote_ip],
            secret: [&text_of(&self.secret.0)],
            tls: [self.tls_word()],
        })
        .into_bytes()
    }

    fn tls_word(&self) -> &'static str {
        if self.tls { "true" } else { "false" }
    }
}

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// SUB.
    Subscribe,
    /// PUB, MPUB and DPUB.
    Publish,
}

/// One thing that is granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorization {
    /// A regular expression: the topics.
    pub topic: String,
    /// Regular expressions: the channels. A publish has the empty name.
    pub channels: Vec<String>,
    /// What may be done there.
    pub permissions: Vec<Permission>,
}

/// All that is granted to a client, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// For so many seconds; 1 or more.
    pub ttl_seconds: u64,
    /// Who the client is.
    pub identity: String,
    /// Where to read more about that.
    pub identity_url: String,
    /// What it may do.
    pub authorizations: Vec<Authorization>,
}

impl Grants {
    /// Reads a server's answer by the rules of NSQ's decoder: keys in any case, unknown ones
    /// skipped, `null` the same as no value, no conversion between types.
    ///
    /// # Errors
    /// What is wrong with it, for the operator.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        let answer: Value = serde_json::from_str(&text_of(body))
            .map_err(|error| format!("the answer is not JSON: {error}"))?;
        let mut grants = Self::default();
        let mut ttl = 0;
        for (key, value) in object(answer)? {
            match key.to_ascii_lowercase().as_str() {
                "ttl" => ttl = integer(&value, "ttl")?.unwrap_or(ttl),
                "identity" => take(&mut grants.identity, text(value, "identity")?),
                "identity_url" => take(&mut grants.identity_url, text(value, "identity_url")?),
                "authorizations" => {
                    let all = list(value, "authorizations")?;
                    grants.authorizations =
                        all.into_iter().map(authorization).collect::<Result<_, _>>()?;
                }
                _ => {}
            }
        }
        grants.ttl_seconds = u64::try_from(ttl)
            .ok()
            .filter(|&ttl| 0 < ttl)
            .ok_or_else(|| format!("invalid TTL {ttl} (must be >0)"))?;
        Ok(grants)
    }

    /// What the client is told: the data of the response to AUTH.
    pub fn answer(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Told<'a> {
            identity: &'a str,
            identity_url: &'a str,
            permission_count: usize,
        }
        to_go_json(&Told {
            identity: &self.identity,
            identity_url: &self.identity_url,
            permission_count: self.authorizations.len(),
        })
        .into_bytes()
    }
}

fn authorization(value: Value) -> Result<Authorization, String> {
    let mut found = Authorization::default();
    for (key, value) in object(value)? {
        match key.to_ascii_lowercase().as_str() {
            "topic" => take(&mut found.topic, text(value, "topic")?),
            "channels" => {
                let all = list(value, "channels")?.into_iter();
                let all = all.map(|name| Ok(text(name, "channels")?.unwrap_or_default()));
                found.channels = all.collect::<Result<_, String>>()?;
            }
            "permissions" => {
                let all = list(value, "permissions")?.into_iter();
                found.permissions = all.map(permission).collect::<Result<_, _>>()?;
            }
            _ => {}
        }
    }
    Ok(found)
}

fn permission(value: Value) -> Result<Permission, String> {
    match text(value, "permissions")?.unwrap_or_default().as_str() {
        "subscribe" => Ok(Permission::Subscribe),
        "publish" => Ok(Permission::Publish),
        other => Err(format!("unknown permission {other}")),
    }
}

fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Null => Ok(Map::new()),
        Value::Object(object) => Ok(object),
        _ => Err("the answer has something else where an object belongs".to_owned()),
    }
}

fn list(value: Value, key: &str) -> Result<Vec<Value>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => Ok(list),
        _ => Err(format!("{key} is not a list")),
    }
}

fn text(value: Value, key: &str) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(format!("{key} is not a text")),
    }
}

fn integer(value: &Value, key: &str) -> Result<Option<i64>, String> {
    match value {
        Value::Null => Ok(None),
        value => value.as_i64().map(Some).ok_or_else(|| format!("{key} is not an integer")),
    }
}

fn take<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(secret: &Secret) -> Question<'_> {
        Question { secret, remote_ip: "127.0.0.1", tls: false, common_name: "" }
    }

    #[test]
    fn a_question_is_a_query_or_json_in_the_order_of_the_alphabet() {
        let secret = Secret::new(b"sek ret&x\"<");
        assert_eq!(
            question(&secret).query(),
            "common_name=&remote_ip=127.0.0.1&secret=sek+ret%26x%22%3C&tls=false"
        );
        assert_eq!(
            String::from_utf8(question(&secret).json()).unwrap(),
            r#"{"common_name":[""],"remote_ip":["127.0.0.1"],"secret":["sek ret\u0026x\"\u003c"],"tls":["false"]}"#
        );
        let bytes = Secret::new(b"\xff\n");
        let over_tls = Question { tls: true, common_name: "ann b", ..question(&bytes) };
        assert_eq!(
            over_tls.query(),
            "common_name=ann+b&remote_ip=127.0.0.1&secret=%FF%0A&tls=true"
        );
        assert_eq!(
            String::from_utf8(over_tls.json()).unwrap(),
            "{\"common_name\":[\"ann b\"],\"remote_ip\":[\"127.0.0.1\"],\"secret\":[\"\u{fffd}\\n\"],\"tls\":[\"true\"]}"
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new(b"hidden");
        assert!(!format!("{secret:?} {:?}", question(&secret)).contains("hidden"));
    }

    #[test]
    fn an_answer_grants_and_the_client_is_told_how_many() {
        let grants = Grants::parse(
            br#"{"TTL":60,"identity":"ann","identity_url":"http://id?a&b","more":{},"authorizations":[
                {"topic":"^t$","channels":["c",null],"permissions":["publish","subscribe"]},
                {"topic":null,"channels":null}]}"#,
        )
        .unwrap();
        let first = Authorization {
            topic: "^t$".to_owned(),
            channels: vec!["c".to_owned(), String::new()],
            permissions: vec![Permission::Publish, Permission::Subscribe],
        };
        assert_eq!(
            grants,
            Grants {
                ttl_seconds: 60,
                identity: "ann".to_owned(),
                identity_url: "http://id?a&b".to_owned(),
                authorizations: vec![first, Authorization::default()],
            }
        );
        assert_eq!(
            String::from_utf8(grants.answer()).unwrap(),
            r#"{"identity":"ann","identity_url":"http://id?a\u0026b","permission_count":2}"#
        );
        let nothing = Grants::parse(br#"{"ttl":1}"#).unwrap();
        assert_eq!(nothing.answer(), br#"{"identity":"","identity_url":"","permission_count":0}"#);
    }

    #[test]
    fn an_answer_of_another_form_is_refused() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"ttl":0}"#,
            r#"{"ttl":-1}"#,
            r#"{"ttl":1.0}"#,
            r#"{"ttl":"1"}"#,
            r#"{"ttl":9223372036854775808}"#,
            r#"{"ttl":1} x"#,
            r#"{"ttl":1,"identity":7}"#,
            r#"{"ttl":1,"authorizations":{}}"#,
            r#"{"ttl":1,"authorizations":["t"]}"#,
            r#"{"ttl":1,"authorizations":[{"topic":1}]}"#,
            r#"{"ttl":1,"authorizations":[{"channels":"c"}]}"#,
            r#"{"ttl":1,"authorizations":[{"permissions":["admin"]}]}"#,
            r#"{"ttl":1,"authorizations":[{"permissions":[null]}]}"#,
        ] {
            assert!(Grants::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
