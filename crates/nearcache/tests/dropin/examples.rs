//! That moving to the drop-in takes one line, as the example that is there twice says.

const BEFORE: &str = include_str!("../../examples/redis_rs_before.rs");
const AFTER: &str = include_str!("../../examples/redis_rs_after.rs");

#[test]
fn before_and_after_differ_in_how_the_connection_is_opened() {
    let code = |text: &'static str| -> Vec<&str> {
        let lines = text.lines();
        lines.filter(|line| !line.starts_with("//!")).collect()
    };
    let (before, after) = (code(BEFORE), code(AFTER));
    assert_eq!(before.len(), after.len());
    let changed: Vec<_> = before
        .into_iter()
        .zip(after)
        .filter(|(before, after)| before != after)
        .collect();
    let [(before, after)] = changed[..] else {
        panic!("not one line, but {changed:#?}");
    };
    assert!(before.contains("get_multiplexed_async_connection()"));
    assert!(after.contains("nearcache::redis::Connection::open("));
}
