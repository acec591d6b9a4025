//! `admin-cli top`: a cluster on a whole screen, live.
//!
//! Knows: what wakes it, and in which order the parts are asked. It only looks: nothing is changed.
//!
//! | Where do I look for | |
//! |---|---|
//! | where the user is, what is selected, empty pages | [`model`] |
//! | what stands in which column | [`columns`] |
//! | sums and rates | [`totals`] |
//! | how depths went | [`history`] |
//! | which key does what | [`keys`] |
//! | how it looks | [`draw`] |
//! | who is asked, and how often | [`watch`] |
//! | the terminal, and giving it back | [`screen`] |

mod columns;
mod draw;
mod history;
mod keys;
mod model;
mod screen;
mod totals;
mod watch;

use std::time::Duration;

use clap::Parser;
use jiff::{Timestamp, Zoned};
use ratatui::crossterm::event::Event;
use startup::duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::cluster_flags::ClusterFlags;
use crate::cluster::Cluster;
use crate::terminal::{Ending, Interrupt};
use draw::Look;
use model::{Model, Outcome};
use screen::Screen;

/// What comes in within this time is drawn together.
const FRAME: Duration = Duration::from_millis(100);

/// The flags of `admin-cli top`.
#[derive(Debug, Parser)]
#[command(name = "admin-cli top")]
pub(crate) struct Flags {
    /// duration between two questions to a broker, and between two points of a trend
    #[arg(long, value_parser = duration::parse, default_value = "2s")]
    interval: Duration,
    #[command(flatten)]
    cluster: ClusterFlags,
}

/// Shows the cluster until the user quits.
pub(crate) async fn run(flags: Flags) -> Result<(), Ending> {
    if flags.interval < FRAME {
        return Err(Ending::Misuse("--interval should be 100ms or more".to_owned()));
    }
    let cluster = flags.cluster.cluster()?;
    let look = screen::look()?;
    let sources = cluster.sources().clone();
    show(cluster, Model::new(sources), look, flags.interval).await
}

async fn show(
    cluster: Cluster,
    mut model: Model,
    look: Look,
    pace: Duration,
) -> Result<(), Ending> {
    let mut interrupt = Interrupt::listen()?;
    let mut hung_up = signal(SignalKind::hangup())
        .map_err(|error| Ending::Failed(format!("cannot hear signals: {error}")))?;
    let (open, opened) = tokio::sync::watch::channel(None);
    let mut news = watch::start(cluster, pace, opened);
    let mut screen = Screen::open()?;
    let mut events = screen::events();
    let mut points = interval(pace);
    points.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first point is of what the first answers say.
    points.reset();
    let mut is_first_answer = true;
    paint(&mut screen, &mut model, look)?;
    let mut drawn = Instant::now();
    let mut is_stale = false;
    loop {
        let is_urgent = tokio::select! {
            event = events.recv() => match event {
                None => return Err(Ending::Failed("the terminal is gone".to_owned())),
                Some(Event::Key(key)) => {
                    let action = keys::action(key, model.mode());
                    match action.map(|action| model.apply(action)) {
                        Some(Outcome::Quit) => return Ok(()),
                        Some(Outcome::Suspend) => screen.suspend()?,
                        Some(Outcome::Redraw) => screen.clear()?,
                        Some(Outcome::Stay) | None => {}
                    }
                    let channel = model.open_channel();
                    open.send_if_modified(|open| *open != channel && { *open = channel; true });
                    true
                }
                Some(_) => true,
            },
            Some(first) = news.recv() => {
                model.learn(first);
                while let Ok(next) = news.try_recv() {
                    model.learn(next);
                }
                if is_first_answer {
                    model.record();
                    is_first_answer = false;
                }
                false
            }
            _ = points.tick() => {
                model.record();
                false
            }
            () = sleep_until(drawn + FRAME), if is_stale => true,
            () = interrupt.wait() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
        };
        is_stale = true;
        if is_urgent || drawn + FRAME <= Instant::now() {
            paint(&mut screen, &mut model, look)?;
            (drawn, is_stale) = (Instant::now(), false);
        }
    }
}

fn paint(screen: &mut Screen, model: &mut Model, look: Look) -> Result<(), Ending> {
    let rows = draw::rows_on(screen.height()?, model.troubles().len());
    let view = model.view(rows, Timestamp::now().as_second());
    let clock = Zoned::now().strftime("%H:%M:%S").to_string();
    screen.draw(|frame| draw::draw(frame, &view, look, &clock))
}
