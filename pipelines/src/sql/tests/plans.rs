use super::*;

#[test]
fn try_out() {
    println!("{}", describe(""));
    let text = [TABLES, VIEWS].concat();
    for v in plan(&text).unwrap().views.values() {
        println!(
            "== {}\n{}\n{}{}",
            v.name,
            v.sql,
            v.core.as_ref().map(explain::core).unwrap_or_default(),
            explain::rel(&v.tail)
        );
    }
    for v in std::fs::read_to_string("/tmp/try_views.sql").unwrap().split("----\n") {
        println!(">> {v}{}", describe(v));
    }
    for v in std::fs::read_to_string("/tmp/try_queries.sql").unwrap().split("----\n") {
        println!(">> {v}{}", query(v.trim_end()));
    }
}
