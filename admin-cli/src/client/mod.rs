//! An NSQ client: one connection, and what a consumer and a producer do with it.
//!
//! Does not know: which utility uses it, and what becomes of messages.
//!
//! Everything here runs on one thread, inside a `tokio::task::LocalSet` (`utilities` and `verbs`
//! open one), so values are shared by `Rc` and nothing is locked. This is what utilities write
//! against; each part lands in the file that is named:
//!
//! ```text
//! options.rs   what --consumer-opt and --producer-opt say, as go-nsq's Config does
//!   Setting                  `key,value` or `key`; FromStr, so a flag is: #[arg(long)] consumer_opt: Vec<Setting>
//!                            a wrong one is refused while flags are read, in go-nsq's words, exit 2
//!   Options::for_utility(name, &[Setting]) -> Result<Options, InvalidOption>
//!                            client id, hostname, `NAME/1.3.0 go-nsq/1.1.0` as user agent, then the settings in order
//!   options.max_in_flight = n; options.user_agent = ...      every option is a public field
//!
//! log.rs       lines on standard error as Go's log package and go-nsq write them
//!   log::line(text)                     `2026/11/22 13:06:52 text`, for a utility's own lines
//!   Log::to_stderr(), Log::silent()     where a consumer's or producer's lines go, from INF on
//!
//! consumer.rs  one topic and channel at many brokers
//!   Consumer::new(topic: &str, channel: &str, Rc<Options>, Log) -> Result<Consumer, String>
//!   consumer.connect_to_nsqds(&[String]).await -> Result<(), String>      the first that fails ends it, as in go-nsq
//!   consumer.connect_to_lookupds(&[String]).await -> Result<(), String>
//!   consumer.next().await -> Option<Batch>     cancel safe; all that came in one read of one connection;
//!                                              None when it was stopped and all is over
//!   consumer.is_starved() -> bool              in flight >= 85 % of RDY on some connection
//!   consumer.set_max_in_flight(n)
//!   consumer.stop()                            CLS to all; next() goes on until what is in flight is answered,
//!                                              30 seconds at most
//!
//!   Batch: IntoIterator<Item = Message>, iter(), len(), is_empty(), finish() (all FINs in one write)
//!   Message { id, timestamp, attempts, body: Bytes }    the body is a slice of the read buffer
//!   message.finish()
//!   message.requeue(None | Some(delay))        REQ with go-nsq's default delay or this one, and backoff
//!   message.requeue_without_backoff(delay)
//!   message.fail(reason)                       what go-nsq does when a handler returns an error: its log line, requeue(None)
//!   message.touch()
//!   message.address() -> &str                  the broker it came from
//!   A message may be kept and answered later, from anywhere on the thread. One that is dropped is
//!   not answered: its broker delivers it again after its timeout.
//!   Messages beyond max_attempts are finished and logged, and never seen.
//!
//! producer.rs  one connection to publish over; connects at the first publish and anew after a failure
//!   Producer::new(address: &str, Rc<Options>, Log) -> Result<Producer, String>
//!   producer.publish(topic: &str, body: &[u8]).await -> Result<(), PublishError>
//!   producer.publish_many(topic, &[impl AsRef<[u8]>]).await                  MPUB
//!   producer.publish_deferred(topic, delay, body).await                      DPUB
//!   producer.publish_each(topic, bodies).await                               PUBs in one write, all their answers
//!   producer.stop().await
//!   All take &self; many publishes may be under way at once, and are answered in order.
//!   PublishError is Refused(text) | NotConnected | Connect(text) | Stopped; Display as go-nsq's errors
//!
//! utilities/mod.rs   main.rs calls utilities::run(name, arguments) by argv[0] or the first argument
//!   a utility is one line there: "nsq_tail" => work(arguments, tail::run), with
//!   async fn run(flags: Flags) -> Result<(), Fatal>
//!   Fatal(text)                         `log.Fatal`: the line, exit 1
//! ```

pub(crate) mod connection;
pub(crate) mod consumer;
pub(crate) mod producer;
