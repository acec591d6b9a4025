//! The page and its files, which are built into the program.
//!
//! The page may load nothing else, and has neither scripts nor styles of its own between its lines:
//! the browser is told so (`pages`). `{{base}}` and `{{settings}}` in it are filled in when it is
//! asked for.
//!
//! | Where do I look for | |
//! |---|---|
//! | what is on a page, and what its buttons do | `pages/`, a file each |
//! | what stands around it, and what is asked when | `main.js`, `refresh.js`, `keys.js` |
//! | what is asked of the server | `api.js`, and `live.js` for what NSQ lacks |
//! | when something is stuck | `health.js` |
//! | how things are drawn | `tree.js`, `table.js`, `chart.js`, `dialog.js`, `style.css` |

/// The one page; its script shows what the path names.
pub(super) const SHELL: &str = include_str!("index.html");

/// Names and contents of files that lie in this folder.
macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_bytes!($name))),*] };
}

/// What is served below `/static/`.
pub(super) const FILES: &[(&str, &[u8])] = files![
    "api.js",
    "body.js",
    "chart.js",
    "dialog.js",
    "favicon.svg",
    "figures.js",
    "health.js",
    "keys.js",
    "live.js",
    "main.js",
    "pages/actions.js",
    "pages/channel.js",
    "pages/clients.js",
    "pages/counter.js",
    "pages/graphite.js",
    "pages/latency.js",
    "pages/lookup.js",
    "pages/node.js",
    "pages/nodes.js",
    "pages/peek.js",
    "pages/queue.js",
    "pages/state.js",
    "pages/tombstone.js",
    "pages/topic.js",
    "pages/topics.js",
    "refresh.js",
    "route.js",
    "series.js",
    "settings.js",
    "style.css",
    "table.js",
    "theme.js",
    "tree.js",
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_of_the_page_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets");
        let not_served = ["index.html", "mod.rs", "package.json", "pages"];
        let mut wanted = Vec::new();
        for (below, before) in [(folder.clone(), ""), (folder.join("pages"), "pages/")] {
            for entry in below.read_dir().unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if !not_served.contains(&name.as_str()) {
                    wanted.push(format!("{before}{name}"));
                }
            }
        }
        wanted.sort();
        let built_in: Vec<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(built_in, wanted);
    }

    #[test]
    fn nothing_in_the_page_is_a_script_or_a_style_of_its_own() {
        assert!(!SHELL.contains("<style") && !SHELL.contains(" style=") && !SHELL.contains(" on"));
        for script in SHELL.split("<script").skip(1) {
            let is_data = script.starts_with(" type=\"application/json\"");
            assert!(is_data || script.contains("src=\"{{base}}/static/"), "{script}");
        }
    }
}
