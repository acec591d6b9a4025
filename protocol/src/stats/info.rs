//! The body of `GET /info`: who a broker is, and what it allows.

use serde::{Deserialize, Serialize};

/// Who a broker is. The ports are those it really listens on, not those it tells nsqlookupd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// The version of NSQ that it speaks as, such as `1.3.0`.
    pub version: String,
    /// Where clients are told to connect to.
    pub broadcast_address: String,
    /// The machine's name.
    pub hostname: String,
    /// Where it listens for HTTP; -1 when that is a Unix socket.
    pub http_port: i32,
    /// Where it listens for clients; -1 when that is a Unix socket.
    pub tcp_port: i32,
    /// When the process started, in seconds since 1970.
    pub start_time: i64,
    /// In nanoseconds.
    pub max_heartbeat_interval: i64,
    /// In bytes.
    pub max_output_buffer_size: i64,
    /// In nanoseconds.
    pub max_output_buffer_timeout: i64,
    /// 1 to 9.
    pub max_deflate_level: i64,
    /// Where in its region it runs; empty when it was not told.
    pub topology_zone: String,
    /// Where it runs; empty when it was not told.
    pub topology_region: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_go_json;

    #[test]
    fn a_captured_body_is_written_back_byte_for_byte() {
        let body = r#"{"version":"1.3.0","broadcast_address":"127.0.0.1","hostname":"vm","http_port":24151,"tcp_port":24150,"start_time":1795352310,"max_heartbeat_interval":60000000000,"max_output_buffer_size":65536,"max_output_buffer_timeout":30000000000,"max_deflate_level":6,"topology_zone":"","topology_region":""}"#;
        let info: Info = serde_json::from_str(body).unwrap();
        assert_eq!((info.tcp_port, info.start_time), (24150, 1_795_352_310));
        assert_eq!(to_go_json(&info), body);
    }
}
