//! The node id when none is given: NSQ's own function of the host name, so that a broker keeps the
//! id that nsqd had on the same machine.

use md5::{Digest, Md5};

/// Node ids are below this.
pub const NODE_ID_LIMIT: u16 = 1024;

/// CRC-32 (IEEE) over the 16 raw bytes of the host name's MD5, modulo [`NODE_ID_LIMIT`].
pub fn default_node_id(hostname: &str) -> u16 {
    let checksum = crc32fast::hash(&Md5::digest(hostname));
    u16::try_from(checksum % u32::from(NODE_ID_LIMIT)).expect("below the limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_one_nsqd_gives_itself() {
        assert_eq!(default_node_id("vm"), 617);
    }
}
