//! A picture as one page that needs nothing beside itself.

use super::{Picture, json};
use crate::{event::Recording, run::Outcome};

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// The script, in the order in which its parts build on each other.
const SCRIPT: [&str; 5] = [
    include_str!("page/model.js"),
    include_str!("page/layout.js"),
    include_str!("page/draw.js"),
    include_str!("page/panel.js"),
    include_str!("page/main.js"),
];

/// The page of a picture; `command` is what repeats the run.
#[must_use]
pub fn page(picture: &Picture, recording: &Recording, outcome: &Outcome, command: &str) -> String {
    let data = json::data(picture, recording, outcome, command);
    fill(&[
        ("{{title}}", &escaped(command)),
        ("{{style}}", STYLE),
        ("{{data}}", &data),
        ("{{script}}", &SCRIPT.concat()),
    ])
}

/// The page with its places filled, in the order in which they stand there. What was filled in is not
/// looked at again.
fn fill(places: &[(&str, &str)]) -> String {
    let mut filled = String::new();
    let mut rest = PAGE;
    for (place, text) in places {
        let (before, after) = rest.split_once(place).unwrap_or((rest, ""));
        filled.push_str(before);
        filled.push_str(text);
        rest = after;
    }
    filled + rest
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{super::fixture, *};

    #[test]
    fn a_page_needs_nothing_beside_itself() {
        let page = fixture::page();
        for outside in ["src=", "href=", "url(", "@import", "fetch(", "XMLHttp"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(!page.contains("{{"));
        assert!(page.trim_end().ends_with("</html>"));
    }

    #[test]
    fn names_and_texts_of_a_run_cannot_end_the_element_that_they_stand_in() {
        let page = fixture::page();
        let hostile = "</script><script>alert(1)</script>";
        assert!(!page.contains(hostile));
        assert!(page.contains("\\u003c/script>\\u003cscript>alert(1)"));
        assert_eq!(escaped("a<b>&c"), "a&lt;b&gt;&amp;c");
    }

    #[test]
    fn the_scripts_hold_nothing_that_would_end_them() {
        assert!(SCRIPT.iter().all(|part| !part.contains("</")));
        assert!(!STYLE.contains("</"));
    }
}
