//! What black-box tests of whole processes need: starting and stopping programs, speaking to them
//! over a socket byte by byte, and running other people's clients against them.
//!
//! It knows NSQ's wire formats on its own account and uses none of the code under test. The tests
//! themselves lie in `tests/`, one file a theme.

pub mod auth_server;
pub mod broker;
pub mod browser;
pub mod client;
pub mod conformance;
pub mod crew;
pub mod dice;
pub mod http;
pub mod layers;
pub mod ledger;
pub mod library;
pub mod lookup_server;
pub mod nsqadmin;
pub mod patience;
pub mod port;
pub mod process;
pub mod programs;
pub mod register;
pub mod relay;
pub mod scripted_http;
pub mod simulated_cluster;
pub mod sink;
pub mod small_disk;
pub mod suite;
pub mod terminal;
pub mod turn;
pub mod utility;
pub mod web_server;
pub mod words;
