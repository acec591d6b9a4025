//! A server that answers HTTP as a test says, and remembers what it was asked.
//!
//! Knows: heads of requests, and that a connection may carry several. Does not know: what any answer
//! means.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What is answered to one request: the status line behind `HTTP/1.1 `, and the body.
pub type Scripted = (&'static str, String);

/// A running server. It ends with the test's process.
#[derive(Clone, Debug)]
pub struct ScriptedHttp {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ScriptedHttp {
    /// Answers every request by `answer`, which gets its method and target, `GET /stats?format=json`
    /// for instance, and how many like it came before.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start(answer: impl Fn(&str, usize) -> Scripted + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port can be had");
        let address = listener.local_addr().expect("a listener has an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let server = Self { address, asked };
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (server, answer) = (accepting.clone(), Arc::clone(&answer));
                thread::spawn(move || server.serve(stream, &*answer));
            }
        });
        server
    }

    /// What it was asked so far, in order.
    ///
    /// # Panics
    /// When an answer panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no answer panics").clone()
    }

    fn serve(&self, mut stream: TcpStream, answer: &dyn Fn(&str, usize) -> Scripted) {
        while let Some(request) = read_request(&mut stream) {
            let before = {
                let mut asked = self.asked.lock().expect("no answer panics");
                let before = asked.iter().filter(|known| **known == request).count();
                asked.push(request.clone());
                before
            };
            let (status, body) = answer(&request, before);
            let length = body.len();
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// The method and target of the next request without a body; `None` when the client is gone.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    Some(head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned())
}
