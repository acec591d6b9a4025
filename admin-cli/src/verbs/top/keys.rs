//! What each key means.
//!
//! Does not know: what an action does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::model::{Action, Mode, Page};

/// What a key asks for; `None` for one that means nothing here.
pub(super) fn action(key: KeyEvent, mode: Mode) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c') => Some(Action::Quit),
            KeyCode::Char('l') => Some(Action::Redraw),
            KeyCode::Char('z') => Some(Action::Suspend),
            KeyCode::Char('u') if mode == Mode::Filtering => Some(Action::EraseAll),
            _ => None,
        };
    }
    match mode {
        Mode::Browsing => while_browsing(key.code),
        Mode::Filtering => while_filtering(key.code),
        Mode::Help => match key.code {
            KeyCode::Char('q') => Some(Action::Quit),
            _ => Some(Action::CloseHelp),
        },
    }
}

fn while_browsing(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Up | KeyCode::Char('k') => Action::Up,
        KeyCode::Down | KeyCode::Char('j') => Action::Down,
        KeyCode::PageUp => Action::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => Action::PageDown,
        KeyCode::Home | KeyCode::Char('g') => Action::First,
        KeyCode::End | KeyCode::Char('G') => Action::Last,
        KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => Action::Open,
        KeyCode::Esc | KeyCode::Left | KeyCode::Backspace | KeyCode::Char('h') => Action::Back,
        KeyCode::Tab => Action::NextPage,
        KeyCode::Char('1') => Action::Show(Page::Topics),
        KeyCode::Char('2') => Action::Show(Page::Channels),
        KeyCode::Char('3') => Action::Show(Page::Nodes),
        KeyCode::Char('s' | '>') => Action::SortNext,
        KeyCode::Char('S' | '<') => Action::SortPrevious,
        KeyCode::Char('r') => Action::Reverse,
        KeyCode::Char('/') => Action::BeginFilter,
        KeyCode::Char('?') | KeyCode::F(1) => Action::OpenHelp,
        _ => return None,
    })
}

fn while_filtering(code: KeyCode) -> Option<Action> {
    Some(match code {
        KeyCode::Char(letter) => Action::Type(letter),
        KeyCode::Backspace => Action::Erase,
        KeyCode::Enter => Action::KeepFilter,
        KeyCode::Esc => Action::DropFilter,
        KeyCode::Up => Action::Up,
        KeyCode::Down => Action::Down,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, mode: Mode) -> Option<Action> {
        action(KeyEvent::new(code, KeyModifiers::NONE), mode)
    }

    #[test]
    fn letters_are_commands_while_browsing_and_text_while_filtering() {
        assert_eq!(press(KeyCode::Char('q'), Mode::Browsing), Some(Action::Quit));
        assert_eq!(press(KeyCode::Char('q'), Mode::Filtering), Some(Action::Type('q')));
        assert_eq!(press(KeyCode::Char('s'), Mode::Browsing), Some(Action::SortNext));
        assert_eq!(press(KeyCode::Char('S'), Mode::Browsing), Some(Action::SortPrevious));
        assert_eq!(press(KeyCode::Char('x'), Mode::Browsing), None);
    }

    #[test]
    fn ctrl_c_ends_it_wherever_it_is() {
        for mode in [Mode::Browsing, Mode::Filtering, Mode::Help] {
            let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert_eq!(action(key, mode), Some(Action::Quit));
        }
    }

    #[test]
    fn escape_goes_back_drops_the_filter_or_closes_the_help() {
        assert_eq!(press(KeyCode::Esc, Mode::Browsing), Some(Action::Back));
        assert_eq!(press(KeyCode::Esc, Mode::Filtering), Some(Action::DropFilter));
        assert_eq!(press(KeyCode::Esc, Mode::Help), Some(Action::CloseHelp));
    }

    #[test]
    fn a_key_that_is_let_go_means_nothing() {
        let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(action(key, Mode::Browsing), None);
    }
}
