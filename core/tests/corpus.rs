//! The corpora of the fuzz targets for files, replayed: whatever a fuzzer once found stays found.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/files.rs"]
#[expect(
    unreachable_pub,
    reason = "it is shared with the fuzz targets, where it is a module too"
)]
mod files;

#[test]
fn every_input_that_a_fuzzer_kept_passes() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, _) in files::TARGETS {
        let inputs = fs::read_dir(corpus.join(target)).expect("each target has a corpus");
        let mut count = 0;
        for input in inputs {
            let data = fs::read(input.expect("an entry").path()).expect("a readable input");
            files::run(target, &data);
            // Damage of the simplest kinds, since the corpus is small.
            for cut in 0..data.len() {
                files::run(target, &data[..cut]);
                let mut flipped = data.clone();
                flipped[cut] ^= 0x81;
                files::run(target, &flipped);
            }
            count += 1;
        }
        assert!(count > 0, "{target} has no inputs");
    }
}
