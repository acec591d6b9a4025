//! How a page looks on a screen of any size.
//!
//! Knows: where everything stands, which columns go when there is no room, and how it looks without
//! colour or without Unicode. Does not know: where the values come from, or the terminal.
//!
//! ```text
//! 3 nodes  12 topics  40 channels  7 clients  backlog 1204  in 90/s  out 88/s
//! [topics] channels nodes > orders > email                          1-15 of 240
//! CHANNEL              DEPTH      TREND ...                        titles
//! ...                                                              rows
//! ! 10.0.0.2:4151 does not answer: connection refused              troubles
//! q quit  ? help  ...                                              keys
//! ```

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;
use ratatui::widgets::{Paragraph, Widget, Wrap};

use super::columns::{Column, Kind, Row, Value};
use super::history::POINTS_MAX;
use super::model::{Mode, Summary, View};
use crate::verbs::figures;

/// A name has at least so much room; columns go until it has.
const NAME_WIDTH_MIN: u16 = 16;
/// Everything but rows and troubles: summary, path, titles, keys.
const FRAME_HEIGHT: u16 = 4;
/// How many lines of a screen one line of troubles needs.
const LINES_PER_TROUBLE: u16 = 8;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) colour: bool,
    /// Whether there are characters beyond ASCII.
    pub(super) unicode: bool,
}

impl Look {
    fn paint(self, style: Style, colour: Color) -> Style {
        if self.colour { style.fg(colour) } else { style }
    }

    fn glyph(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

/// How many rows there is room for on a screen of this height with so many troubles.
pub(super) fn rows_on(height: u16, troubles: usize) -> usize {
    usize::from(height.saturating_sub(FRAME_HEIGHT + trouble_lines(height, troubles)))
}

fn trouble_lines(height: u16, troubles: usize) -> u16 {
    let room = (height / LINES_PER_TROUBLE).max(1);
    u16::try_from(troubles).unwrap_or(u16::MAX).min(room)
}

/// Draws the page; `clock` is the time of day.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View, look: Look, clock: &str) {
    let area = frame.area();
    let pen = &mut Pen { buffer: frame.buffer_mut(), area, look };
    pen.summary(&view.summary, clock);
    let troubles = trouble_lines(area.height, view.troubles.len());
    let rows =
        Rect { y: 2, height: area.height.saturating_sub(FRAME_HEIGHT - 1 + troubles), ..area };
    pen.path(view);
    if view.mode == Mode::Help {
        pen.help(rows);
    } else {
        pen.table(view, rows);
    }
    pen.troubles(&view.troubles, troubles);
    pen.keys(view);
}

struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    look: Look,
}

impl Pen<'_> {
    /// Writes what fits between `x` and `end`, with a mark where the rest was cut off. Returns where
    /// it ended.
    fn write(&mut self, x: u16, y: u16, end: u16, text: &str, style: Style) -> u16 {
        if self.area.bottom() <= y || end <= x {
            return x;
        }
        let room = usize::from(end - x);
        let (after, _) = self.buffer.set_stringn(x, y, text, room, style);
        if room < Span::raw(text).width() {
            let cut = self.look.glyph("…", "~");
            self.buffer.set_stringn(end - 1, y, cut, 1, style);
            return end;
        }
        after
    }

    /// Writes at the right end of the room between `x` and `end`.
    fn write_right(&mut self, x: u16, y: u16, end: u16, text: &str, style: Style) {
        let width = u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX);
        self.write(end.saturating_sub(width).max(x), y, end, text, style);
    }

    fn summary(&mut self, summary: &Summary, clock: &str) {
        let Summary { answering, nodes, topics, channels, clients, backlog, came, left } = *summary;
        let rate = |rate: Option<f64>| {
            rate.map_or("-".to_owned(), |rate| format!("{}/s", figures::rate(rate, 7)))
        };
        let plural = |count: i64, word: &str| {
            format!("{} {word}{}", figures::shortened(count, 7), if count == 1 { "" } else { "s" })
        };
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let brokers = if answering == nodes {
            plural(count(nodes), "node")
        } else {
            format!("{answering} of {}", plural(count(nodes), "node"))
        };
        let parts = [
            brokers,
            plural(count(topics), "topic"),
            plural(count(channels), "channel"),
            plural(clients, "client"),
            format!("backlog {}", figures::shortened(backlog, 7)),
            format!("in {}", rate(came)),
            format!("out {}", rate(left)),
            clock.to_owned(),
        ];
        self.parts(0, &parts.map(|part| vec![(part, BOLD)]));
    }

    /// Writes parts from left to right, as many as fit whole.
    fn parts(&mut self, y: u16, parts: &[Vec<(String, Style)>]) {
        const GAP: u16 = 2;
        let mut x = self.area.x;
        for part in parts {
            let width: usize = part.iter().map(|(text, _)| Span::raw(text).width()).sum();
            let width = u16::try_from(width).unwrap_or(u16::MAX);
            if self.area.right() < x.saturating_add(width) {
                return;
            }
            for (text, style) in part {
                x = self.write(x, y, self.area.right(), text, *style);
            }
            x += GAP;
        }
    }

    fn path(&mut self, view: &View) {
        let Rect { x, .. } = self.area;
        let end = self.area.right();
        let place = if view.count <= view.rows.len() {
            String::new()
        } else {
            format!(" {}-{} of {}", view.first + 1, view.first + view.rows.len(), view.count)
        };
        let room = end.saturating_sub(u16::try_from(place.len()).unwrap_or(0));
        let mut at = x;
        for page in ["topics", "channels", "nodes"] {
            let is_here = view.path.first().is_some_and(|first| first == page);
            let (text, style) = if is_here {
                (format!("[{page}]"), self.look.paint(BOLD, Color::Cyan))
            } else {
                (page.to_owned(), Style::new())
            };
            at = self.write(at, 1, room, &text, style);
            at = self.write(at, 1, room, " ", Style::new());
        }
        for step in &view.path[1..] {
            at = self.write(at, 1, room, self.look.glyph("› ", "> "), Style::new());
            at = self.write(at, 1, room, step, BOLD);
            at = self.write(at, 1, room, " ", Style::new());
        }
        if !view.filter.is_empty() && view.mode != Mode::Filtering {
            let style = self.look.paint(BOLD, Color::Yellow);
            self.write(at, 1, room, &format!("/{}", view.filter), style);
        }
        self.write_right(room, 1, end, &place, Style::new());
    }

    fn table(&mut self, view: &View, area: Rect) {
        let longest = view.rows.iter().map(|row| Span::raw(row_name(row)).width()).max();
        let columns = fit(view.columns, area.width, longest.unwrap_or_default());
        for &Fitted { index, x, width } in &columns {
            let column = &view.columns[index];
            let is_sorted = index == view.sort.column;
            let title = if is_sorted { BOLD.add_modifier(Modifier::UNDERLINED) } else { BOLD };
            let style = self.look.paint(title, Color::Cyan);
            let arrow = match (is_sorted, view.sort.falling) {
                (false, _) => "",
                (true, true) => self.look.glyph("▼", "v"),
                (true, false) => self.look.glyph("▲", "^"),
            };
            match column.kind {
                Kind::Figure => {
                    let text = format!("{arrow}{}", column.title);
                    // The blank in front of a column has room for the arrow.
                    self.write_right(x.saturating_sub(1), area.y, x + width, &text, style);
                }
                // Its points stand on the right.
                Kind::Trend => self.write_right(x, area.y, x + width, column.title, style),
                Kind::Name | Kind::Text => {
                    let text = format!("{}{arrow}", column.title);
                    self.write(x, area.y, x + width, &text, style);
                }
            }
        }
        if let Some(paragraphs) = &view.nothing {
            let text = paragraphs.join("\n\n");
            let area = Rect {
                x: area.x + 2,
                y: area.y + 2,
                width: area.width.saturating_sub(4),
                height: area.height.saturating_sub(2),
            };
            let area = area.intersection(self.area);
            Paragraph::new(text).wrap(Wrap { trim: true }).render(area, self.buffer);
        }
        let ys = area.y + 1..area.bottom();
        for ((place, row), y) in view.rows.iter().enumerate().zip(ys) {
            let is_selected = view.selected == Some(place);
            let style = if is_selected {
                Style::new().add_modifier(Modifier::REVERSED)
            } else if row.trouble.is_some() {
                self.look.paint(Style::new(), Color::Red)
            } else if row.paused {
                self.look.paint(Style::new(), Color::Yellow)
            } else {
                Style::new()
            };
            self.buffer.set_style(Rect { y, height: 1, ..area }, style);
            self.row(row, view.columns, &columns, y, style);
        }
    }

    fn row(&mut self, row: &Row, columns: &[Column], fitted: &[Fitted], y: u16, style: Style) {
        for &Fitted { index, x, width } in fitted {
            let end = x + width;
            match (&row.values[index], columns[index].kind) {
                (_, Kind::Name) => {
                    let paused = if row.paused { PAUSED } else { "" };
                    let room = end.saturating_sub(u16::try_from(paused.len()).unwrap_or(0));
                    let after = self.write(x, y, room, &row.name, style);
                    self.write(after, y, end, paused, style.patch(BOLD));
                }
                _ if row.trouble.is_some() => {}
                (_, Kind::Trend) => {
                    let text = sparks(&row.trend, usize::from(width), self.look.unicode);
                    let style = self.look.paint(style, Color::Green);
                    self.write(x, y, end, &text, style);
                }
                (Value::Text(text), _) => {
                    self.write(x, y, end, text, style);
                }
                (value, _) => {
                    let text = cell(value, usize::from(width));
                    self.write_right(x, y, end, &text, style);
                }
            }
        }
        if let (Some(trouble), Some(second)) = (&row.trouble, fitted.get(1)) {
            self.write(second.x, y, self.area.right(), trouble, style);
        }
    }

    fn troubles(&mut self, troubles: &[String], lines: u16) {
        let Rect { x, .. } = self.area;
        let end = self.area.right();
        let first = self.area.bottom().saturating_sub(1 + lines);
        let style = self.look.paint(BOLD, Color::Red);
        for (trouble, y) in troubles.iter().zip(first..first + lines) {
            let is_last = y + 1 == first + lines;
            let more = troubles.len().saturating_sub(usize::from(lines));
            let more =
                if is_last && 0 < more { format!(" (and {more} more)") } else { String::new() };
            let room = end.saturating_sub(u16::try_from(more.len()).unwrap_or(0));
            let after = self.write(x, y, room, &format!("! {trouble}"), style);
            self.write(after, y, end, &more, style);
        }
    }

    fn keys(&mut self, view: &View) {
        let Some(y) = self.area.height.checked_sub(1) else { return };
        let keys: &[(&str, &str)] = match view.mode {
            Mode::Help => &[("any key", "closes this"), ("q", "quit")],
            Mode::Filtering => &[("Enter", "keep"), ("Esc", "drop"), ("Ctrl-U", "clear")],
            Mode::Browsing if view.is_inside => &[
                ("q", "quit"),
                ("?", "help"),
                ("Esc", "back"),
                ("Enter", "open"),
                ("/", "filter"),
                ("s", "sort"),
                ("r", "reverse"),
                ("1-3", "pages"),
            ],
            Mode::Browsing => &[
                ("q", "quit"),
                ("?", "help"),
                ("Enter", "open"),
                ("/", "filter"),
                ("s", "sort"),
                ("r", "reverse"),
                ("1-3", "pages"),
            ],
        };
        let key = BOLD.add_modifier(Modifier::REVERSED);
        let mut parts = Vec::new();
        if view.mode == Mode::Filtering {
            let style = self.look.paint(BOLD, Color::Yellow);
            parts.push(vec![(format!("/{}_", view.filter), style)]);
        }
        parts.extend(keys.iter().map(|(name, does)| {
            vec![((*name).to_owned(), key), (format!(" {does}"), Style::new())]
        }));
        self.parts(y, &parts);
    }

    fn help(&mut self, area: Rect) {
        const HELP: [(&str, &str); 14] = [
            ("Up Down, k j", "choose a row; PgUp PgDn Home End, g G go further"),
            ("Enter, Right, l", "topic -> its channels -> their clients; node -> its topics"),
            ("Esc, Left, h", "take the filter away, then go back"),
            ("1 2 3, Tab", "topics, channels of all topics, nodes"),
            ("s S", "sort by the next column, by the one before"),
            ("r", "reverse the order"),
            ("/", "show only names that have these letters"),
            ("q, Ctrl-C", "quit; Ctrl-Z suspends, Ctrl-L draws anew"),
            ("", ""),
            ("BACKLOG", "messages that wait in a topic and in all its channels"),
            ("DEPTH, TREND", "messages that wait; how that went, each row by its own scale"),
            ("FLIGHT DEFER", "with a consumer and not yet finished; waiting for their time"),
            ("IN/S OUT/S", "messages that came; that left for good"),
            ("REQ T/O", "given back by consumers; timed out, since nsqd started"),
        ];
        const KEY_WIDTH: u16 = 17;
        for ((key, text), y) in HELP.iter().zip(area.y..area.bottom()) {
            let text_start = (area.x + KEY_WIDTH).min(area.right());
            self.write(area.x, y, text_start, key, BOLD);
            self.write(text_start, y, area.right(), text, Style::new());
        }
    }
}

/// What stands behind the name of what is paused.
const PAUSED: &str = " (paused)";

/// The name as it is shown.
fn row_name(row: &Row) -> String {
    format!("{}{}", row.name, if row.paused { PAUSED } else { "" })
}

/// A column in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fitted {
    index: usize,
    x: u16,
    width: u16,
}

/// Which columns there is room for, and where. What is left goes to names as long as `longest`, then
/// to the trend.
fn fit(columns: &[Column], width: u16, longest: usize) -> Vec<Fitted> {
    let mut chosen: Vec<usize> = (0..columns.len()).collect();
    let taken = |chosen: &[usize]| -> u16 {
        chosen.iter().skip(1).map(|&index| columns[index].width + 1).sum()
    };
    while 1 < chosen.len() && width < taken(&chosen) + NAME_WIDTH_MIN {
        let (place, _) = chosen
            .iter()
            .enumerate()
            .skip(1)
            .max_by_key(|&(_, &index)| columns[index].rank)
            .expect("there is more than the name");
        chosen.remove(place);
    }
    let longest = u16::try_from(longest).unwrap_or(u16::MAX).max(NAME_WIDTH_MIN);
    let spare = width.saturating_sub(taken(&chosen));
    let points = u16::try_from(POINTS_MAX).expect("they are few");
    let mut x = 0;
    let trend = chosen.iter().map(|&index| &columns[index]).find(|c| c.kind == Kind::Trend);
    let growth = trend
        .map_or(0, |trend| spare.saturating_sub(longest).min(points.saturating_sub(trend.width)));
    let mut fitted = Vec::new();
    for index in chosen {
        let column = &columns[index];
        let width = match column.kind {
            Kind::Name => spare - growth,
            Kind::Trend => column.width + growth,
            Kind::Figure | Kind::Text => column.width,
        };
        fitted.push(Fitted { index, x, width });
        x += width + 1;
    }
    fitted
}

fn cell(value: &Value, width: usize) -> String {
    match value {
        Value::Count(count) => figures::shortened(*count, width),
        Value::Rate(Some(rate)) => figures::rate(*rate, width),
        Value::Rate(None) => "-".to_owned(),
        Value::Age(seconds) => figures::age(*seconds),
        Value::Text(text) => text.clone(),
        Value::OfRow => String::new(),
    }
}

/// The last points, as many as there is room for, on the right: the lowest mark is nothing, the
/// highest the largest of them.
fn sparks(points: &[i64], width: usize, unicode: bool) -> String {
    const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
    let marks = if unicode { UNICODE } else { ASCII };
    let points = &points[points.len().saturating_sub(width)..];
    let top = points.iter().copied().max().unwrap_or(0).max(1);
    let blank = std::iter::repeat_n(' ', width - points.len());
    let mark = |point: i64| {
        let steps = i128::from(point.max(0)) * 7;
        let height = (steps + i128::from(top) - 1) / i128::from(top);
        marks[usize::try_from(height).expect("a point is at most the top")]
    };
    blank.chain(points.iter().map(|&point| mark(point))).collect()
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::verbs::top::columns;
    use crate::verbs::top::model::tests::{channel, fail, model_of, small, stats, tell, topic};
    use crate::verbs::top::model::{Action, Model, Page};

    const PLAIN: Look = Look { colour: false, unicode: false };
    const RICH: Look = Look { colour: true, unicode: true };

    fn buffer(model: &mut Model, width: u16, height: u16, look: Look) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let rows = rows_on(height, model.troubles().len());
        let view = model.view(rows, 1_000);
        terminal.draw(|frame| draw(frame, &view, look, "12:34:56")).unwrap();
        terminal.backend().buffer().clone()
    }

    /// The lines of a screen, without blanks at their ends.
    fn screen(model: &mut Model, width: u16, height: u16) -> Vec<String> {
        lines(&buffer(model, width, height, PLAIN))
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let width = usize::from(buffer.area.width);
        let rows = buffer.content.chunks(width);
        let rows = rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
        rows.map(|row| row.trim_end().to_owned()).collect()
    }

    /// Two nodes of which one fails, with two readings two seconds apart.
    fn cluster() -> Model {
        let mut model = model_of(&["10.0.0.1:4151", "10.0.0.2:4151"]);
        let at = |messages: u64| {
            let mut email = channel("email", 4 * messages as i64 / 10, messages);
            email.in_flight_count = 20;
            let mut audit = channel("audit", 0, messages);
            audit.paused = true;
            let mut orders = topic("orders", vec![email, audit]);
            orders.depth = 3;
            let mut paused = topic("a-topic-with-a-long-name#ephemeral", vec![]);
            paused.paused = true;
            stats(vec![orders, paused])
        };
        tell(&mut model, "10.0.0.1:4151", 1, at(1_000));
        model.record();
        tell(&mut model, "10.0.0.1:4151", 3, at(2_000));
        model.record();
        fail(&mut model, "10.0.0.2:4151");
        model
    }

    #[test]
    fn topics_at_80_by_24() {
        let screen = screen(&mut cluster(), 80, 24);
        assert_eq!(screen.len(), 24);
        let expected = "\
1 of 2 nodes  2 topics  2 channels  2 clients  backlog 803  in 500/s  out 800/s
[topics] channels nodes
TOPIC                   vBACKLOG      TREND   DEPTH    IN/S   OUT/S CHAN CLIENTS
orders                       803         =#       3     500     800    2       2
a-topic-with-~ (paused)        0         __       0       0       0    0       0";
        assert_eq!(screen[..5].join("\n"), expected);
        assert_eq!(screen[22], "! 10.0.0.2:4151 does not answer: connection refused");
        assert_eq!(
            screen[23],
            "q quit  ? help  Enter open  / filter  s sort  r reverse  1-3 pages"
        );
    }

    #[test]
    fn a_wide_screen_has_every_column_and_a_longer_trend() {
        let screen = screen(&mut cluster(), 120, 40);
        assert!(screen[0].ends_with("12:34:56"), "{}", screen[0]);
        for column in columns::of(Page::Topics) {
            assert!(screen[2].contains(column.title), "{}", screen[2]);
        }
        assert!(screen[4].starts_with("a-topic-with-a-long-name#ephemeral (paused) "));
        assert_eq!(screen.len(), 40);
    }

    #[test]
    fn a_small_screen_keeps_what_matters() {
        let screen = screen(&mut cluster(), 40, 10);
        let expected = "\
1 of 2 nodes  2 topics  2 channels
[topics] channels nodes
TOPIC                   vBACKLOG    IN/S
orders                       803     500
a-topic-with-~ (paused)        0       0



! 10.0.0.2:4151 does not answer: connec~
q quit  ? help  Enter open  / filter";
        assert_eq!(screen.join("\n"), expected);
    }

    #[test]
    fn no_size_is_too_small_to_draw() {
        let mut model = cluster();
        for mode in [Action::CloseHelp, Action::OpenHelp] {
            model.apply(mode);
            for width in [1, 2, 5, 17, 80] {
                for height in 1..9 {
                    screen(&mut model, width, height);
                }
            }
        }
        let mut empty = model_of(&["a:1"]);
        for (width, height) in [(1, 1), (3, 4), (5, 6)] {
            screen(&mut empty, width, height);
        }
    }

    #[test]
    fn channels_show_what_is_in_flight_and_what_is_paused() {
        let mut model = cluster();
        model.apply(Action::Open);
        let screen = screen(&mut model, 80, 24);
        let expected = "\
[topics] channels nodes > orders
CHANNEL           vDEPTH      TREND FLIGHT  DEFER    IN/S   OUT/S    REQ CLIENTS
email                800         =#     20      0     500     300      0       1
audit (paused)         0         __      0      0     500     500      0       1";
        assert_eq!(screen[1..5].join("\n"), expected);
    }

    #[test]
    fn a_node_that_fails_says_why_in_its_row() {
        let mut model = cluster();
        model.apply(Action::Show(Page::Nodes));
        let screen = screen(&mut model, 80, 24);
        assert!(screen[3].starts_with("10.0.0.1:4151         803 "), "{}", screen[3]);
        assert!(screen[4].starts_with("10.0.0.2:4151 "), "{}", screen[4]);
        assert!(screen[4].contains(" does not answer: connection refused"), "{}", screen[4]);
    }

    #[test]
    fn what_is_selected_is_reversed_also_without_colour() {
        for look in [PLAIN, RICH] {
            let buffer = buffer(&mut cluster(), 80, 24, look);
            let is_reversed = |y: u16| buffer[(0, y)].modifier.contains(Modifier::REVERSED);
            assert!(is_reversed(3) && !is_reversed(4));
        }
    }

    #[test]
    fn without_colour_nothing_is_coloured_and_without_unicode_all_is_ascii() {
        let plain = buffer(&mut cluster(), 80, 24, PLAIN);
        assert!(plain.content.iter().all(|cell| {
            (cell.fg, cell.bg) == (Color::Reset, Color::Reset) && cell.symbol().is_ascii()
        }));
        let rich = buffer(&mut cluster(), 80, 24, RICH);
        assert!(rich.content.iter().any(|cell| cell.fg == Color::Red));
        assert!(lines(&rich)[2].contains("▼BACKLOG"), "{}", lines(&rich)[2]);
    }

    #[test]
    fn more_troubles_than_lines_are_counted() {
        let nodes = ["a:1", "b:1", "c:1", "d:1", "e:1"];
        let mut model = model_of(&nodes);
        nodes.iter().for_each(|node| fail(&mut model, node));
        let screen = screen(&mut model, 80, 24);
        assert!(screen[20].starts_with("! a:1 does not"), "{screen:?}");
        assert_eq!(screen[22], "! c:1 does not answer: connection refused (and 2 more)");
    }

    #[test]
    fn a_long_list_says_where_in_it_we_are() {
        let mut model = model_of(&["a:1"]);
        let topics = (0..50).map(|n| topic(&format!("t{n:02}"), vec![])).collect();
        tell(&mut model, "a:1", 1, stats(topics));
        model.apply(Action::Last);
        let screen = screen(&mut model, 80, 24);
        assert!(screen[1].ends_with(" 31-50 of 50"), "{}", screen[1]);
        assert!(screen[22].starts_with("t49"), "{}", screen[22]);
    }

    #[test]
    fn the_filter_stands_where_it_is_typed_and_then_in_the_path() {
        let mut model = small();
        for action in [Action::BeginFilter, Action::Type('b')] {
            model.apply(action);
        }
        let typing = screen(&mut model, 80, 24);
        assert!(typing[23].starts_with("/b_  Enter keep  Esc drop"), "{}", typing[23]);
        model.apply(Action::KeepFilter);
        assert_eq!(screen(&mut model, 80, 24)[1], "[topics] channels nodes /b");
    }

    #[test]
    fn help_tells_every_key_and_fits_at_80_by_24() {
        let mut model = small();
        model.apply(Action::OpenHelp);
        let screen = screen(&mut model, 80, 24);
        let text = screen.join("\n");
        for word in ["Up Down", "Enter", "Esc", "Tab", "reverse", "q, Ctrl-C", "BACKLOG", "REQ T/O"]
        {
            assert!(text.contains(word), "{word} is not in\n{text}");
        }
        assert!(!text.contains('~'), "{text}");
        assert!(screen[23].starts_with("any key closes this"));
    }

    #[test]
    fn what_other_programs_call_themselves_cannot_disturb_the_screen() {
        let mut model = model_of(&["a:1"]);
        tell(&mut model, "a:1", 1, stats(vec![topic("a\u{1b}[2Jb\nc", vec![])]));
        let screen = screen(&mut model, 80, 24);
        assert!(screen[3].starts_with("a[2Jbc "), "{}", screen[3]);
    }

    #[test]
    fn a_trend_is_scaled_by_its_own_largest_point() {
        for (points, width, expected) in [
            (&[][..], 3, "   "),
            (&[0, 0], 3, " __"),
            (&[0, 1, 100], 3, "_.#"),
            (&[0, 1, 2, 3, 4, 5, 6, 7], 8, "_.:-=+*#"),
            (&[9, 9, 1, 7], 2, ".#"),
            (&[-5, 7], 2, "_#"),
            (&[i64::MAX, 0], 2, "#_"),
        ] {
            assert_eq!(sparks(points, width, false), expected, "{points:?}");
        }
        assert_eq!(sparks(&[0, 1, 2, 3, 4, 5, 6, 7], 8, true), "▁▂▃▄▅▆▇█");
    }
}
