//! The results of a fuzz as JUnit's XML, which CI systems show.

use std::{fmt::Write as _, time::Duration};

use super::report::Broken;

/// One seed.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) seed: u64,
    pub(super) took: Duration,
    pub(super) violations: Vec<Broken>,
}

/// The file's text, with the seeds in order and, at last, what went wrong with all of them together.
pub(super) fn text(cases: &[Case], overall: &[String]) -> String {
    let mut cases: Vec<&Case> = cases.iter().collect();
    cases.sort_by_key(|case| case.seed);
    let failed = cases.iter().filter(|case| !case.violations.is_empty());
    let failures = failed.count() + overall.len();
    let seconds: f64 = cases.iter().map(|case| case.took.as_secs_f64()).sum();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tests = cases.len() + overall.len();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "<testsuite name=\"ottla-sim\" tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.3}\">"
    );
    for case in cases {
        let (seed, took) = (case.seed, case.took.as_secs_f64());
        let _ = write!(
            text,
            "  <testcase classname=\"fuzz\" name=\"seed {seed}\" time=\"{took:.3}\""
        );
        match case.violations.split_first() {
            None => text.push_str("/>\n"),
            Some((first, _)) => {
                let again = format!("again: cargo sim replay --seed {seed}");
                let all = case.violations.iter().map(ToString::to_string);
                let all: Vec<String> = all.chain([again]).collect();
                failure(&mut text, &first.invariant, &first.detail, &all.join("\n"));
            }
        }
    }
    for what in overall {
        text.push_str("  <testcase classname=\"fuzz\" name=\"all seeds\"");
        failure(&mut text, "marks", what, what);
    }
    text.push_str("</testsuite>\n");
    text
}

fn failure(text: &mut String, kind: &str, message: &str, all: &str) {
    let (kind, message, all) = (escaped(kind), escaped(message), escaped(all));
    let _ = write!(
        text,
        ">\n    <failure type=\"{kind}\" message=\"{message}\">{all}</failure>\n  </testcase>\n"
    );
}

/// XML takes no control characters but three, not even escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            _ if letter.is_control() => escaped.push('?'),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_stand_in_order_and_a_violation_is_a_failure_with_its_text_escaped() {
        let case = |seed, violations| Case {
            seed,
            took: Duration::from_millis(1500),
            violations,
        };
        let broken = Broken {
            invariant: "lost_write".to_owned(),
            detail: "a < b & \"c\"".to_owned(),
        };
        let text = text(&[case(2, vec![broken]), case(1, Vec::new())], &[]);
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <testsuite name=\"ottla-sim\" tests=\"2\" failures=\"1\" time=\"3.000\">\n  \
            <testcase classname=\"fuzz\" name=\"seed 1\" time=\"1.500\"/>\n  \
            <testcase classname=\"fuzz\" name=\"seed 2\" time=\"1.500\">\n    \
            <failure type=\"lost_write\" message=\"a &lt; b &amp; &quot;c&quot;\">\
            lost_write: a &lt; b &amp; &quot;c&quot;\n\
            again: cargo sim replay --seed 2</failure>\n  </testcase>\n</testsuite>\n";
        assert_eq!(text, expected);
    }
}
