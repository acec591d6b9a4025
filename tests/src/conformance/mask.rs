//! What no two runs agree on, replaced by a word: times, ports, the sizes of a heap.
//!
//! Knows the keys and lines of NSQ's answers that hold such values. Everything else is compared.

/// Keys of JSON answers whose number is masked.
const NUMBERS: [&str; 16] = [
    "start_time",
    "connect_ts",
    "tcp_port",
    "http_port",
    "heap_objects",
    "heap_idle_bytes",
    "heap_in_use_bytes",
    "heap_released_bytes",
    "gc_pause_usec_100",
    "gc_pause_usec_99",
    "gc_pause_usec_95",
    "next_gc_bytes",
    "gc_total_runs",
    "gc_runs",
    "bytes",
    "log_bytes",
];

/// A text with everything masked.
fn masked(text: &str, topic: &str) -> String {
    let mut text = text.replace(topic, "$t");
    for key in NUMBERS {
        text = digits_behind(&text, &format!("\"{key}\":"));
    }
    text = digits_behind(&text, "127.0.0.1:");
    // Which of the suites of TLS 1.3 is taken is a matter of taste.
    text = digits_behind(&text, r#""tls_cipher_suite":"Unknown "#);
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// What ours says behind NSQ's keys, and NSQ's own newer releases say, too.
const ADDITIONS: [&str; 2] =
    [r#","topology_region":"","topology_zone":"""#, r#","topology_zone":"","topology_region":"""#];

/// A line without what ours adds to NSQ's answers on purpose: the place of a broker or a client,
/// deliveries by place, and what a topic and a channel keep on disk. Cases that say how the two
/// differ show these things.
fn without_additions(line: &str) -> String {
    let mut line = line.to_owned();
    for addition in ADDITIONS {
        line = line.replace(addition, "");
    }
    line = without_each(&line, r#","log":{"#, '}');
    for key in ["log_bytes", "global_msg_count"] {
        line = without_each(&line, &format!(r#","{key}":"#), ',');
    }
    line
}

/// The line without each piece that begins with `begin`, and goes to `end`: a brace, which goes,
/// too, or whatever follows a number, which stays.
fn without_each(line: &str, begin: &str, end: char) -> String {
    let mut pieces = line.split(begin);
    let mut kept = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = if end == '}' {
            piece.split_once(end).map_or("", |(_, rest)| rest)
        } else {
            piece.trim_start_matches(|c: char| c.is_ascii_digit())
        };
        kept.push_str(rest);
    }
    kept
}

/// The lines of an HTTP answer with everything masked. Where that changes the body, the length in
/// the head goes, too; that it is the length of the body was looked at before.
/// `differs`: what ours adds is shown.
pub(super) fn masked_answer(lines: &[String], topic: &str, differs: bool) -> Vec<String> {
    let mask = |line: &String| {
        let line = if differs { line.clone() } else { without_additions(line) };
        masked(&line, topic)
    };
    let masked: Vec<_> = lines.iter().map(mask).collect();
    let end = lines.iter().position(String::is_empty).unwrap_or(lines.len());
    let changed = lines[end..].iter().zip(&masked[end..]).any(|(line, masked)| {
        // The name of a topic is as long with both.
        line.replace(topic, "$t") != *masked
    });
    let named = |line: String| {
        let is_length = changed && line.starts_with("Content-Length: ");
        if is_length { "Content-Length: $n".into() } else { line }
    };
    masked.into_iter().map(named).collect()
}

/// The digits behind each `mark`, as `$n`.
fn digits_behind(text: &str, mark: &str) -> String {
    let mut pieces = text.split(mark);
    let mut masked = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        let number = if rest.len() < piece.len() { "$n" } else { "" };
        masked.push_str(mark);
        masked.push_str(number);
        masked.push_str(rest);
    }
    masked
}

/// One line: of a head, or of `/stats` as text.
fn line(line: &str) -> String {
    for (begin, mask) in [("Date: ", "$date"), ("start_time ", "$time"), ("uptime ", "$time")] {
        if line.starts_with(begin) {
            return format!("{begin}{mask}");
        }
    }
    if line.starts_with("nsqd v1.3.0 (built w/") {
        return "nsqd v1.3.0 (built w/$maker)".into();
    }
    let memory = line.trim_start();
    if let Some((key, number)) = memory.split_once("\\t")
        && NUMBERS.contains(&key.trim_end())
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        let indent = &line[..line.len() - memory.len()];
        return format!("{indent}{key}\\t$n");
    }
    match line.split_once(" connected: ") {
        Some((client, _)) => format!("{} connected: $time", port_of_client(client)),
        None => line.to_owned(),
    }
}

/// The port in `[V2 host:port agent   ]`, masked together with the blanks that fill up.
fn port_of_client(text: &str) -> String {
    let Some((client, rest)) = text.split_once(']') else { return text.to_owned() };
    let Some((host, behind)) = client.split_once(':') else { return text.to_owned() };
    let digits = behind.trim_start_matches(|c: char| c.is_ascii_digit());
    let agent = behind.strip_prefix("$n").unwrap_or(digits).trim_end();
    format!("{host}:$n{agent}$fill]{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ports_and_times_are_masked_and_nothing_else() {
        let text = r#"{"start_time":17,"depth":3,"remote_address":"127.0.0.1:40","topic":"top"}"#;
        let expected =
            r#"{"start_time":$n,"depth":3,"remote_address":"127.0.0.1:$n","topic":"$t"}"#;
        assert_eq!(masked(text, "top"), expected.replace("topic", "$tic"));
        let memory = r"   heap_objects             \t";
        assert_eq!(masked(&format!("{memory}2996"), "-"), format!("{memory}$n"));
        let client = "        [V2 chost:60682 conslib/2] state: 3 inflt: 2    connected: 0s";
        let shown = "        [V2 chost:$n conslib/2$fill] state: 3 inflt: 2    connected: $time";
        assert_eq!(masked(client, "-"), shown);
    }
}
