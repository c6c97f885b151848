//! Kafka's names as Rust's.

/// `LeaderAndIsr` as `leader_and_isr`; `KRaft` is one word.
pub(crate) fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (i, &c) in chars.iter().enumerate() {
        let after_word = i > 0 && !chars[i - 1].is_ascii_uppercase();
        let before_word = i > 0 && chars.get(i + 1).is_some_and(|n| n.is_ascii_lowercase());
        if c.is_ascii_uppercase() && (after_word || before_word) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The name of a field: snake case, with a `_` behind it where it is a word of Rust's.
pub(crate) fn field(name: &str) -> String {
    const KEYWORDS: [&str; 12] = [
        "type", "match", "self", "mod", "ref", "in", "move", "where", "async", "final", "use",
        "impl",
    ];
    let mut name = snake(name);
    if KEYWORDS.contains(&name.as_str()) {
        name.push('_');
    }
    name
}
