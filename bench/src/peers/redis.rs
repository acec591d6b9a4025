//! Redis: its protocol RESP, and the commands of its streams.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use crate::load::consumers::{Consumed, consume_by};
use crate::load::crowd::Crowd;
use crate::load::publishers::Until;

const KEY: &str = "bench";
const GROUP: &str = "ch";

/// Everything is in the append-only file, and no snapshots are taken beside it.
pub(super) fn arguments(address: SocketAddr, data: &Path, settings: &[String]) -> Vec<String> {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let folder = data.display().to_string();
    let fixed = [
        ["--bind", &host],
        ["--port", &port],
        ["--dir", &folder],
        ["--save", ""],
        ["--appendonly", "yes"],
    ];
    fixed.as_flattened().iter().map(ToString::to_string).chain(settings.iter().cloned()).collect()
}

pub(super) fn make_group(broker: SocketAddr) {
    let mut stream = TcpStream::connect(broker).expect("the broker accepts");
    let request = command(&["XGROUP", "CREATE", KEY, GROUP, "0", "MKSTREAM"].map(str::as_bytes));
    stream.write_all(&request).expect("the broker reads");
    let mut answer = [0; b"+OK\r\n".len()];
    stream.read_exact(&mut answer).expect("the broker answers");
    assert_eq!(&answer, b"+OK\r\n", "{}", String::from_utf8_lossy(&answer));
}

pub(super) fn publish(body: &[u8]) -> Vec<u8> {
    command(&[b"XADD", KEY.as_bytes(), b"*", b"b", body])
}

/// The answer to XADD is the message's id.
pub(super) fn answer(bytes: &[u8]) -> Option<(bool, usize)> {
    let (reply, length) = reply(bytes)?;
    Some((matches!(reply, Reply::Text(_)), length))
}

/// Each reads again when it has acknowledged what it has read, in one go with that.
pub(super) fn consume(broker: SocketAddr, consumers: usize, ready: u32, messages: u64) -> Consumed {
    let crowd = Crowd::connect(broker, consumers, b"");
    let reads: Vec<Vec<u8>> = (0..consumers).map(|number| read(number, ready)).collect();
    consume_by(crowd, &reads, Until::Count(messages), |number, bytes, _, consumed, output| {
        let mut at = 0;
        while let Some((reply, length)) = reply(&bytes[at..]) {
            at += length;
            match reply {
                Reply::List(streams) => {
                    for id in ids(&streams) {
                        output.extend(command(&[b"XACK", KEY.as_bytes(), GROUP.as_bytes(), id]));
                    }
                    output.extend_from_slice(&reads[number]);
                }
                Reply::Number(acknowledged) => consumed.messages += acknowledged,
                // The others have what is left.
                Reply::Nothing => {}
                Reply::Text(_) => panic!("nobody asked for {reply:?}"),
            }
        }
        at
    })
}

fn read(consumer: usize, count: u32) -> Vec<u8> {
    let (name, count) = (consumer.to_string(), count.to_string());
    let words = ["XREADGROUP", "GROUP", GROUP, &name, "COUNT", &count, "STREAMS", KEY, ">"];
    command(&words.map(str::as_bytes))
}

/// The ids in what XREADGROUP answers: for each stream its name and its messages, for each of those
/// its id and its fields.
fn ids<'a>(streams: &[Reply<'a>]) -> Vec<&'a [u8]> {
    let messages = streams.iter().filter_map(|stream| match stream {
        Reply::List(parts) => match parts.as_slice() {
            [_, Reply::List(messages)] => Some(messages),
            _ => None,
        },
        _ => None,
    });
    let ids = messages.flatten().filter_map(|message| match message {
        Reply::List(parts) => match parts.first() {
            Some(Reply::Text(id)) => Some(*id),
            _ => None,
        },
        _ => None,
    });
    ids.collect()
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What a server says, as far as it says it to what is asked here.
#[derive(Debug, PartialEq, Eq)]
enum Reply<'a> {
    Text(&'a [u8]),
    Number(u64),
    List(Vec<Self>),
    Nothing,
}

/// The first reply, and how long it is; `None` while it is not whole.
fn reply(bytes: &[u8]) -> Option<(Reply<'_>, usize)> {
    const END: usize = b"\r\n".len();
    let line = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let (kind, value) = bytes[..line - END].split_first()?;
    let number = || std::str::from_utf8(value).ok().and_then(|digits| digits.parse::<i64>().ok());
    match kind {
        b'+' => Some((Reply::Text(value), line)),
        b':' => Some((Reply::Number(u64::try_from(number()?).ok()?), line)),
        // A length of -1 says that there is none.
        b'$' => Some(match usize::try_from(number()?) {
            Ok(size) => {
                let text = bytes.get(line..line + size + END)?;
                (Reply::Text(&text[..size]), line + size + END)
            }
            Err(_) => (Reply::Nothing, line),
        }),
        b'*' => {
            let Ok(count) = usize::try_from(number()?) else {
                return Some((Reply::Nothing, line));
            };
            let (mut parts, mut at) = (Vec::with_capacity(count), line);
            for _ in 0..count {
                let (part, length) = reply(&bytes[at..])?;
                parts.push(part);
                at += length;
            }
            Some((Reply::List(parts), at))
        }
        _ => panic!("refused: {}", String::from_utf8_lossy(&bytes[..line])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_whole_or_is_waited_for() {
        // The examples of RESP's description.
        let list = || vec![Reply::Text(b"hello"), Reply::Text(b"world")];
        let cases: [(&[u8], Reply<'_>); 7] = [
            (b"+OK\r\n", Reply::Text(b"OK")),
            (b":1000\r\n", Reply::Number(1000)),
            (b"$5\r\nhello\r\n", Reply::Text(b"hello")),
            (b"$0\r\n\r\n", Reply::Text(b"")),
            (b"$-1\r\n", Reply::Nothing),
            (b"*-1\r\n", Reply::Nothing),
            (b"*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n", Reply::List(list())),
        ];
        for (bytes, expected) in cases {
            for length in 0..bytes.len() {
                assert_eq!(reply(&bytes[..length]), None, "{bytes:?} to {length}");
            }
            assert_eq!(reply(&[bytes, b":1\r\n"].concat()), Some((expected, bytes.len())));
        }
    }

    #[test]
    #[should_panic(expected = "ERR unknown command")]
    fn an_error_is_no_acknowledgement() {
        answer(b"-ERR unknown command 'asdf'\r\n");
    }

    #[test]
    fn the_id_of_a_message_is_its_acknowledgement() {
        assert_eq!(answer(b"$15\r\n1526569495631-0\r\n"), Some((true, 22)));
    }

    #[test]
    fn ids_are_found_in_what_was_read() {
        let bytes = b"*1\r\n*2\r\n$5\r\nbench\r\n*2\r\n\
            *2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nb\r\n$2\r\n..\r\n\
            *2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nb\r\n$2\r\n..\r\n";
        let Some((Reply::List(streams), _)) = reply(bytes) else { panic!("it is a list") };
        assert_eq!(ids(&streams), [b"1-0", b"1-1"]);
    }

    #[test]
    fn a_command_is_a_list_of_texts() {
        assert_eq!(command(&[b"LLEN", b"mylist"]), b"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n");
    }
}
