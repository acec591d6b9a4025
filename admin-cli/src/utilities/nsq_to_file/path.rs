//! Paths as text, by the rules of Go's `path` package: names of files come out as NSQ's do.
//!
//! Does not know: what is on the disk.

/// The shortest path that means the same, without looking at links: no empty and no `.` elements, no
/// `..` behind a name, no slash at the end. Nothing is `.`.
pub(super) fn clean(path: &str) -> String {
    let is_rooted = path.starts_with('/');
    let mut elements: Vec<&str> = Vec::new();
    for element in path.split('/') {
        match element {
            "" | "." => {}
            ".." if elements.last().is_some_and(|last| *last != "..") => {
                elements.pop();
            }
            // Nothing lies above the root.
            ".." if is_rooted => {}
            element => elements.push(element),
        }
    }
    let elements = elements.join("/");
    match (is_rooted, elements.is_empty()) {
        (true, _) => format!("/{elements}"),
        (false, true) => ".".to_owned(),
        (false, false) => elements,
    }
}

/// `name` inside `folder`, cleaned; of two that are empty, nothing.
pub(super) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", "") => String::new(),
        ("", name) => clean(name),
        (folder, name) => clean(&format!("{folder}/{name}")),
    }
}

/// The folder, with its slash, and the name behind it. Either may be empty.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        for (path, cleaned) in [
            ("", "."),
            ("abc", "abc"),
            ("./abc", "abc"),
            ("abc/", "abc"),
            ("a//b///c", "a/b/c"),
            ("/abc//", "/abc"),
            ("abc/./../def", "def"),
            ("abc/../../def", "../def"),
            ("../../abc", "../../abc"),
            ("/../abc", "/abc"),
            ("/abc/../..", "/"),
            ("abc/..", "."),
            ("/", "/"),
            ("//", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }

    #[test]
    fn a_name_is_put_into_a_folder() {
        for (folder, name, joined) in [
            ("/out", "f.log", "/out/f.log"),
            ("/out/", "f.log", "/out/f.log"),
            ("./work/", "a/f.log", "work/a/f.log"),
            ("/out", "/a//f.log", "/out/a/f.log"),
            ("", "f.log", "f.log"),
            ("", "/f.log", "/f.log"),
            ("/out", "", "/out"),
            ("", "", ""),
        ] {
            assert_eq!(join(folder, name), joined, "{folder} {name}");
        }
    }

    #[test]
    fn a_path_is_split_behind_its_last_slash() {
        assert_eq!(split("/out/a/f.log"), ("/out/a/", "f.log"));
        assert_eq!(split("f.log"), ("", "f.log"));
        assert_eq!(split("/out/"), ("/out/", ""));
    }
}
